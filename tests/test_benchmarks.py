"""The benchmarks' arithmetic, table, JSON and choices; what they time is no unit test."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import drag, plain_llama, report, subject, sweep, timing
from benchmarks.report import Goal, Row
from benchmarks.timing import Sample, Spread
from model.locality.dial import Dial
from model.training.presets import preset
from tests.factories import lively_decoder, tiny_case

BUSY = [Sample(4.0, 1.0), Sample(2.0, 1.0), Sample(30.0, 1.5)]
IDLE = [Sample(2.0, 1.0), Sample(2.0, 2.0), Sample(10.0, 1.0)]


def test_ratios_are_taken_turn_by_turn_and_then_their_median() -> None:
    spread, each = timing.ratios(BUSY, IDLE)
    assert each == [2.0, 1.0, 3.0]
    assert spread == Spread(2.0, 1.5, 2.5)
    assert timing.ratios(BUSY, IDLE, "cpu")[1] == [1.0, 0.5, 1.5]
    assert timing.milliseconds(BUSY) == 4000.0
    with pytest.raises(ValueError, match="shorter"):
        timing.ratios(BUSY, IDLE[:2])


def test_quantiles_lie_between_neighbours() -> None:
    assert timing.quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert timing.quantile([0.0, 10.0], 0.95) == pytest.approx(9.5)
    assert timing.quantile([7.0], 0.95) == 7.0
    with pytest.raises(ValueError, match="no values"):
        Spread.of([])


def test_calls_run_in_turn_and_the_first_turn_is_thrown_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, order = 0.0, []

    def call(name: str, takes: list[float]) -> None:
        nonlocal now
        order.append(name)
        now += takes.pop(0)

    monkeypatch.setattr(timing.time, "perf_counter", lambda: now)
    slow, quick = [100.0] + 7 * [2.0], 8 * [0.5]
    taken = timing.in_turn(
        {"slow": lambda: call("slow", slow), "quick": lambda: call("quick", quick)}
    )
    assert order == 8 * ["slow", "quick"]
    assert [sample.wall for sample in taken["slow"]] == 7 * [2.0]
    assert [sample.wall for sample in taken["quick"]] == 7 * [0.5]
    with pytest.raises(ValueError, match="at least 7"):
        timing.in_turn({}, 6)


def test_a_goal_is_a_limit_from_above_or_from_below() -> None:
    assert [Goal(1.1).met(x) for x in (1.0, 1.1, 1.2)] == [True, True, False]
    assert [Goal(1.5, at_most=False).met(x) for x in (1.4, 1.5)] == [False, True]
    assert str(Goal(1.1)) == "≤ 1.1"
    assert str(Goal(300.0, at_most=False)) == "≥ 300"


def test_rows_say_what_was_measured_and_whether_the_goal_is_met() -> None:
    row = report.ratio_row("b", "dial / plain", "1 x 256", BUSY, IDLE, Goal(1.1))
    assert (row.figure, row.low, row.high, row.runs, row.met) == (2.0, 1.5, 2.5, 3, False)
    assert row.details["ratio_of_cpu_times"] == 1.0
    assert "NOT MET" in report.line(row)
    assert "2.000 x" in report.line(row)
    nothing = Row("d", "drag frame", "", "ms", goal=Goal(8.0), note="there is no app.py yet")
    assert nothing.met is None
    assert "no app.py yet" in report.line(nothing)
    assert Row("e", "paint", "", "s", 1.5).met is None


def test_the_document_is_json_and_names_no_machine(tmp_path: Path) -> None:
    rows = [report.ratio_row("b", "dial / plain", "1 x 256", BUSY, IDLE, Goal(1.1))]
    path = tmp_path / "new" / "latest.json"
    report.write(path, report.document(rows, "random weights", 0.25, "Chromium 1"))
    found = json.loads(path.read_text("utf-8"))
    assert set(found) == {
        "format", "subject", "cpu", "cores", "torch_threads", "load_average", "versions", "rows",
    }  # fmt: skip
    assert found["versions"]["torch"] == importlib.metadata.version("torch")
    assert found["rows"][0]["details"]["ratios"] == [2.0, 1.0, 3.0]
    assert {k: found["rows"][0][k] for k in ("suite", "figure", "goal", "met")} == {
        "suite": "b", "figure": 2.0, "goal": "≤ 1.1", "met": False,
    }  # fmt: skip


def test_the_processor_is_named_as_it_names_itself(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nmodel name\t: Some CPU @ 2 GHz\n", "utf-8")
    assert report.cpu_name(info) == "Some CPU @ 2 GHz"
    assert report.cpu_name(tmp_path / "none")


def test_suites_are_chosen_by_their_letters(capsys: pytest.CaptureFixture[str]) -> None:
    every = command.arguments([])
    assert every.suites == ["a", "b", "c", "d", "e", "f"]
    assert every.json == command.LATEST
    some = command.arguments(["c", "a"])
    assert (some.suites, some.json) == (["a", "c"], None)
    for wrong, message in ((["g"], "no such suite: g"), (["--runs", "6"], "at least 7")):
        with pytest.raises(SystemExit):
            command.arguments(wrong)
        assert message in capsys.readouterr().err


def test_a_run_prints_every_row_and_writes_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    class Stub:
        label = "a stub"

    def rows(_: object, runs: int) -> list[Row]:
        return [Row("a", "something", "1 x 2", "ms", float(runs), goal=Goal(8.0))]

    monkeypatch.setattr(command, "subject", Stub)
    monkeypatch.setitem(command.SUITES, "a", rows)
    threads = torch.get_num_threads()
    try:
        assert command.main(["a", "--runs", "9", "--json", str(tmp_path / "out.json")]) == 0
    finally:
        torch.set_num_threads(threads)
    said = capsys.readouterr().out
    assert "a stub" in said
    assert "NOT MET" in said
    assert json.loads((tmp_path / "out.json").read_text("utf-8"))["rows"][0]["figure"] == 9.0


def test_the_plain_module_has_our_decoders_loss() -> None:
    decoder, ids, _ = tiny_case(batch=3, length=20)
    same, other = (plain_llama.plain_copy(each) for each in (decoder, lively_decoder(seed=7)))
    with torch.no_grad():
        expected = decoder.loss(ids)
        assert float((same(ids) - expected).abs()) <= 1e-5
        assert float((other(ids) - expected).abs()) > 1e-2


def test_a_model_of_the_recipes_size_stands_in_for_the_bundled_one() -> None:
    recipe = preset("bundled").with_changes({"n_layers": 1, "d_mlp": 16})
    found = subject.Subject(subject.random_model(recipe), subject.RANDOM)
    assert found.label.startswith("random weights, 1 layers of 9 heads, d_model 144")
    for length in (17, 64):
        assert len(found.model.tokenizer.encode(found.text(length))) == length - 1
        ids, classes = found.prompt(length)
        assert ids.shape == classes.shape == (1, length)
        assert int(ids[0, 0]) == found.model.tokenizer.bos_id
        assert int(classes[0, 0]) == found.model.partition.bos_id
    first, second = found.batches(4, 33, 2)
    assert first.ids.shape == second.classes.shape == (4, 33)
    assert not torch.equal(first.ids, second.ids)


def test_the_hooked_calls_measure_what_the_sweep_does() -> None:
    decoder, ids, relevance = tiny_case(length=15)
    dials = [Dial(value) for value in (0.0, 0.5, 1.0)]
    hooked = sweep.hooked(decoder, ids, relevance, dials)
    found = sweep.sweep_dials(decoder, ids, relevance, dials)
    assert sweep.largest_difference(hooked, found) <= sweep.TOLERANCE
    others = sweep.sweep_dials(decoder, ids, relevance, [Dial(0.1), *dials[1:]])
    assert sweep.largest_difference(hooked, others) > 10 * sweep.TOLERANCE


def test_frames_and_answers_become_rows() -> None:
    session = drag.Session([[3.0, 5.0, 7.0], [4.0, 40.0, 6.0]], [900.0], [100.0, 200.0])
    median, slowest, warm, fresh = drag.told(session, 128, 8.0)
    assert (median.figure, median.met) == (5.5, True)
    assert slowest.figure == pytest.approx(31.75)
    assert (slowest.goal, slowest.met) == (Goal(16.0), False)
    assert (warm.figure, warm.met) == (pytest.approx(195.0), True)
    assert (fresh.figure, fresh.met) == (900.0, None)

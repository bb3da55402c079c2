"""The batch audit: equal to single audits, resumed without a trace, in constant memory."""

from __future__ import annotations

import csv
import gc
import io
import json
import tracemalloc
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from model.errors import AuditError
from model.locality.dial import Dial
from tests.model_dirs import TEXTS, store_of_one
from workbench import audit_batch, audit_batch_files
from workbench.audit_batch import batch_rows
from workbench.audit_batch_files import MATRIX, ROWS, SUMMARY, read_rows, run_batch
from workbench.audit_batch_input import Asked, read_asked
from workbench.audit_firing import FIRED, firing
from workbench.cli import main
from workbench.inference import prepare, run
from workbench.models import open_model

DIALS = (Dial(0.8), Dial(0.0), Dial(1.0))
HEADER = "id,prompt,paraphrase\n"
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(audit_batch, "CHUNK", 4)
    monkeypatch.setattr(audit_batch_files, "CHUNK", 4)
    return store_of_one(tmp_path, monkeypatch, "")


def write_csv(store: Path, rows: list[list[str]]) -> Path:
    out = io.StringIO()
    csv.writer(out).writerows([["id", "prompt", "paraphrase"], *rows])
    path = store / "prompts.csv"
    path.write_text(out.getvalue(), "utf-8")
    return path


def test_a_row_is_what_the_single_audit_says(store: Path) -> None:
    model = open_model("tiny", "cpu")
    asked = [
        Asked(number, text, f"p{number}", TEXTS[number - 2])
        for number, text in enumerate(TEXTS, start=1)
    ]
    rows = [row for part in batch_rows(model, asked, DIALS) for row in part]
    assert [row["number"] for row in rows] == list(range(1, len(TEXTS) + 1))
    for row, each in zip(rows, asked, strict=True):
        prompt = prepare(model, each.prompt)
        found = firing(model, prompt)
        fires = {b.block: len(b.fired) for b in found.blocks if b.status == FIRED}
        assert row["id"] == each.id and row["blocks"] == fires
        assert row["coverage"] == pytest.approx(found.coverage, abs=1e-6)
        passes = [run(model, prompt, dial) for dial in DIALS]
        bits = [float(each.surprisal_bits[1:].mean()) for each in passes]
        assert row["bits"] == pytest.approx(bits, abs=1e-5)
        other = prepare(model, each.paraphrase)
        fires_there = {b.block for b in firing(model, other).blocks if b.status == FIRED}
        overlap = len(fires.keys() & fires_there) / len(fires.keys() | fires_there)
        assert row["paraphrase"]["overlap"] == pytest.approx(overlap, abs=1e-6)
        there = float(run(model, other, DIALS[0]).surprisal_bits[1:].mean())
        assert row["paraphrase"]["bits_change"] == pytest.approx(there - bits[0], abs=1e-5)
        assert row["steady"][0] == 1.0 and all(0 <= share <= 1 for share in row["steady"])
    assert any(row["steady"][2] < 1 for row in rows)
    same = [row for part in batch_rows(model, asked, [DIALS[0]] * 2) for row in part]
    assert all(row["steady"] == [1.0, 1.0] for row in same)


def test_an_interrupted_audit_goes_on_and_leaves_no_trace(store: Path) -> None:
    model, rows = open_model("tiny", "cpu"), [[str(i), TEXTS[i % 6], ""] for i in range(10)]
    prompts = write_csv(store, rows)
    assert list(run_batch(store / "whole", prompts, model, DIALS)) == [0, 4, 8, 10]
    assert list(islice(run_batch(store / "cut", prompts, model, DIALS), 3)) == [0, 4, 8]
    assert not (store / "cut" / SUMMARY).exists()
    with (store / "cut" / ROWS).open("ab") as file:
        file.write(b'{"number":9}\n{"numb')  # a killed writer, in the middle of a chunk
    assert list(run_batch(store / "cut", prompts, model, DIALS)) == [8, 10]
    assert list(run_batch(store / "cut", prompts, model, DIALS)) == [8, 10]  # and once more
    for name in (ROWS, SUMMARY, MATRIX, "batch.json"):
        assert (store / "cut" / name).read_bytes() == (store / "whole" / name).read_bytes()
    for other in (run_batch(store / "cut", prompts, model, DIALS[:1]),):
        with pytest.raises(AuditError, match="something else"):
            next(other)
    write_csv(store, rows[:9])
    with pytest.raises(AuditError, match="something else"):
        next(run_batch(store / "cut", prompts, model, DIALS))


def test_the_summary_and_the_matrix_are_sums_of_the_rows(store: Path) -> None:
    model = open_model("tiny", "cpu")
    rows = [["=1+1", TEXTS[i % 6], TEXTS[(i + 1) % 6] if i % 2 else ""] for i in range(9)]
    rows += [["long", "cat " * 300, ""], ["empty", "", ""]]
    list(run_batch(store / "out", write_csv(store, rows), model, DIALS))
    found = list(read_rows(store / "out"))
    summary = json.loads((store / "out" / SUMMARY).read_text("utf-8"))
    whole = [row for row in found if "error" not in row]
    assert (summary["prompts"], summary["errors"]) == (9, 2)
    assert "Shorten it" in found[9]["error"] and "nothing to read" in found[10]["error"]
    tokens = sum(row["tokens"] for row in whole)
    bits = sum(row["bits"][1] * row["tokens"] for row in whole) / tokens
    assert summary["dials"][1]["bits_per_token"] == pytest.approx(bits)
    assert summary["blocks"]["ANIMAL"]["prompts"] == sum("ANIMAL" in r["blocks"] for r in whole)
    assert summary["paraphrases"]["pairs"] == 4
    text = (store / "out" / MATRIX).read_text("utf-8")
    matrix = list(csv.DictReader(io.StringIO(text)))
    assert len(matrix) == 11 and matrix[0]["id"] == '"=1+1"'
    for row, cells in zip(found, matrix, strict=True):
        if "error" not in row:
            assert int(cells["FOOD [tokens]"]) == row["blocks"].get("FOOD", 0)


def test_memory_does_not_grow_with_the_number_of_prompts(store: Path) -> None:
    model = open_model("tiny", "cpu")

    def peak(keep: bool) -> int:
        asked: Iterator[Asked] = (Asked(i, TEXTS[i % 6]) for i in range(1, 161))
        kept = []
        gc.collect()
        tracemalloc.start()
        try:
            for part in batch_rows(model, asked, [Dial(0.0)]):
                kept = [*kept, part] if keep else [part]
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(keep=False)
    assert peak(keep=False) < 0.5 * peak(keep=True)  # what it is to keep all rows is seen


def read_all(path: Path, text: str | bytes) -> list[Asked]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_asked(path))


def test_rows_are_read_from_csv_and_json_lines(tmp_path: Path) -> None:
    lines = '{"prompt":"a\\nb","id":7}\n\n[1]\n{"id":"x"}\n{"prompt":"\\ud800"}\n{"prompt":"c"}'
    found = read_all(tmp_path / "a.jsonl", lines)
    assert [(each.prompt, each.id) for each in found[:1]] == [("a\nb", "7")]
    assert ["object" in found[1].error, "no text" in found[2].error] == [True, True]
    assert "half a character" in found[3].error and found[4].prompt == "c"
    found = read_all(tmp_path / "a.csv", '\ufeffPrompt,other\n"a, ""b""\nc",1\n\nd\n')
    assert [each.prompt for each in found] == ['a, "b"\nc', "d"]
    assert [each.number for each in found] == [1, 2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "x", "must be called"),
        ("a.csv", "id\n1\n", "column prompt"),
        ("a.csv", "prompt,prompt\n1,2\n", "each column once"),
        ("a.csv", "", "column prompt"),
        ("a.csv", b"prompt\n\xff\n", "UTF-8"),
        ("a.csv", 'prompt\n"open', "is no CSV"),
        ("a.csv", "prompt\n" + "x" * 200_000, "is no CSV"),
        ("a.jsonl", '{"prompt":"' + "x" * 2**21 + '"}', "has a line beyond"),
    ],
)
def test_files_that_are_none_are_refused(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(AuditError, match=message):
        read_all(tmp_path / name, content)


def test_the_command_writes_and_goes_on(store: Path, capsys: Captured) -> None:
    prompts = write_csv(store, [["a", text, ""] for text in TEXTS])
    asked = ["audit-batch", "--model", "tiny", "--prompts", str(prompts)]
    asked += ["--out", str(store / "out"), "--device", "cpu", "--dials"]
    for _ in range(2):
        assert main([*asked, "1,0"]) == 0
        assert json.loads(capsys.readouterr().out)["prompts"] == len(TEXTS)
    for dials, message in (("0", "something else"), ("2", "must lie in"), ("x", "a number")):
        assert main([*asked, dials]) == 2
        assert message in capsys.readouterr().err
    write_csv(store, [])
    assert main([*asked[:5], "--out", str(store / "none"), "--device", "cpu"]) == 2
    assert "holds no prompt" in capsys.readouterr().err

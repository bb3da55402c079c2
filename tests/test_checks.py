"""Checks of a model: joined rightly, and failing where a bound, a model or a measure is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.errors import DialError, TextError
from model.locality import bounds, margins
from model.locality.dial import LARGEST_STRENGTH, Dial, Schedule
from model.locality.reads import Reads
from model.locality.relevance import Relevance
from model.transformer.checkpoint import LoadedModel, load_model
from tests import naive_bounds
from tests.model_dirs import TEXTS, write_tiny_model
from tests.naive_dial import dial_pattern
from workbench import check_rows, checks
from workbench.checks import FAILS, HOLDS, NOT_APPLICABLE, Check, check_texts, check_windows
from workbench.sweep import cut

DIALS = [0.0, 0.5, 0.9, 1.0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Tiny, with heads that rest on the sink and heads that have rows without a relevant key."""
    directory = tmp_path_factory.mktemp("checks") / "tiny"
    write_tiny_model(directory, seed=4)
    loaded = load_model(directory)
    reads = loaded.reads
    allowances = reads.allowances.clone()
    allowances[1] = False
    blocks = reads.blocks.clone()
    blocks[1, :2] = False
    return replace(loaded, reads=Reads(blocks, allowances, reads.class_names, 0.5))


def without_rest(model: LoadedModel) -> LoadedModel:
    return replace(model, reads=replace(model.reads, rest=0.0))


def of(found: list[Check], name: str) -> list[Check]:
    return [check for check in found if check.name == name]


def test_every_bound_holds_in_every_row(model: LoadedModel) -> None:
    for case in (model, without_rest(model)):
        found = check_texts(case, TEXTS, DIALS, window=12)
        assert [check.name for check in found[::32]] == list(check_rows.UNITS)
        assert [(c.dial, c.layer, c.head) for c in of(found, "entropy")] == [
            (dial, layer, head) for dial in DIALS for layer in range(2) for head in range(4)
        ]
        assert {check.status for check in found} <= {HOLDS, NOT_APPLICABLE}
        rows = sum(len(window.ids) for window in cut(case, TEXTS, 12))
        for check in found:
            assert check.rows + check.rows_not_applicable == rows
            assert 0 <= check.rows_trivial <= check.rows
            assert check.unit == check_rows.UNITS[check.name]
            if check.rows:
                assert check.slack is not None and check.tolerance is not None
                assert check.slack >= -check.tolerance
                assert check.tolerance <= (1e-2 if check.name == "score range" else 1e-10)
        for check in of(found, "rounding") + of(found, "score range"):
            assert check.status == HOLDS and check.rows == rows


def test_rows_without_a_relevant_key_are_not_applicable(model: LoadedModel) -> None:
    """In the second layer two heads read nothing: with rest they rest on the sink, else never."""
    for case, mute in ((model, False), (without_rest(model), True)):
        found = check_texts(case, TEXTS, [0.0, 1.0], window=12)
        for name in ("fidelity", "entropy"):
            for check in of(found, name):
                if check.layer == 1 and check.head < 2:
                    assert (check.status == NOT_APPLICABLE) == (mute or check.rows == 0)
                    assert (check.bound is None) == (check.rows == 0)
                    assert check.tightness is None or not mute
                    if not mute and name == "fidelity":
                        assert check.rows_not_applicable == 0
    local = [c for c in of(check_texts(model, TEXTS, [1.0]), "fidelity") if c.layer == 1]
    assert all(check.bound == 1.0 and check.measured == pytest.approx(1.0) for check in local)


def naive_rows(model: LoadedModel, dial: float, window: int, layer: int, head: int):
    """(n, m, Delta', fidelity, bits) of each row by loops, one window at a time, in float64."""
    names = [f"blocks.{each}.attn.hook_attn_scores" for each in range(2)]  # one path for all
    force = LARGEST_STRENGTH if dial == 1 else -4 * math.log1p(-dial)
    for each in cut(model, TEXTS, window):
        classes = torch.from_numpy(each.classes)[None]
        relevance = Relevance.compile(classes, model.reads)
        ids = torch.from_numpy(each.ids)[None]
        _, cache = model.decoder.run_with_cache(ids, Dial(dial), relevance, names_filter=names)
        scores = cache[names[layer]][0, head : head + 1].double().numpy()
        r = relevance.raw(layer)[0, head : head + 1].double().numpy()
        pattern = dial_pattern(scores, r, dial, np.ones(1))[0]
        for i in range(len(each.ids)):
            seen, row, p = r[0, i, : i + 1], scores[0, i, : i + 1], pattern[i, : i + 1]
            top = float(seen.max())
            keys = (seen == top) & (top > 0)
            m, others = int(keys.sum()), np.unique(seen[seen < top])
            weights = 0.0
            for value in others if m else ():
                margin = row[keys].min() - row[seen == value].max() + force * (top - value)
                weights += (seen == value).sum() * math.exp(-min(margin, 700.0))
            some = m and len(others) and weights > 0
            after = math.log((i + 1 - m) / weights) if some else 700.0
            bits = -sum(x * math.log2(x) for x in p if x > 0)
            yield i + 1, m, after, float(p[keys].sum()), bits


@pytest.mark.parametrize("dial", [0.0, 0.6, 1.0])
def test_checks_are_those_of_loops_over_rows(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch, dial: float
) -> None:
    monkeypatch.setattr(checks, "_LARGEST_BATCH", 1)  # float32 scores depend on the batch
    found = check_texts(model, TEXTS, [dial], window=9)
    for layer, head in ((0, 1), (1, 0), (1, 3)):
        rows = list(naive_rows(model, dial, 9, layer, head))
        for name, formula, sign in (
            ("fidelity", naive_bounds.off_mass, -1.0),
            ("entropy", naive_bounds.entropy_bits, 1.0),
        ):
            [check] = [c for c in of(found, name) if (c.layer, c.head) == (layer, head)]
            joined = []
            for n, m, after, fidelity, bits in rows:
                bound = formula(n, m, after)
                if bound is not None:
                    bound = 1 - bound if sign < 0 else bound
                    measured = fidelity if sign < 0 else bits
                    slack = sign * (bound - measured)
                    joined.append((n == m and sign < 0, slack, bound, measured))
            assert check.rows == len(joined)
            assert check.rows_not_applicable == len(rows) - len(joined)
            assert check.rows_trivial == sum(each[0] for each in joined)
            assert check.slack == pytest.approx(min(joined)[1], abs=1e-12)
            means = np.mean([each[2:] for each in joined], axis=0)
            if means[1] == 0:  # at dial 1, a head that rests has nothing to divide by
                assert check.tightness is None
            else:
                assert check.tightness == pytest.approx(means[0] / means[1], rel=1e-9)
            worst = [each for each in joined if abs(each[1] - check.slack) < 1e-12]
            assert any(
                check.bound == pytest.approx(each[2], abs=1e-10)
                and check.measured == pytest.approx(each[3], abs=1e-10)
                for each in worst
            )


def wrong_mass(n, m, margin) -> bounds.Bound:
    """Promises what one key less outside would."""
    return true_mass((n - 1).maximum(m).clamp(min=1), m, margin)


def wrong_bits(n, m, margin) -> bounds.Bound:
    found = true_bits(n, m, margin)
    return bounds.Bound(found.value - 1e-9, found.applies)


def wrong_margin(margins, strength, tau=1.0, gap=1.0) -> torch.Tensor:
    """Forgets that the sink rests: every key loses the whole strength."""
    return true_margin(margins, strength, tau, 1.0)


true_mass, true_bits, true_margin = bounds.in_mass, bounds.entropy_bits, bounds.margin_after


@pytest.mark.parametrize(
    ("function", "wrong", "name"),
    [
        ("in_mass", wrong_mass, "fidelity"),
        ("entropy_bits", wrong_bits, "entropy"),
        ("margin_after", wrong_margin, "fidelity"),
    ],
)
def test_a_wrong_bound_is_caught(
    model: LoadedModel,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    wrong: Callable[..., object],
    name: str,
) -> None:
    monkeypatch.setattr(bounds, function, wrong)
    found = check_texts(model, TEXTS, [0.5], window=12)
    failing = [check for check in of(found, name) if check.status == FAILS]
    assert failing
    for check in failing:
        assert check.slack is not None and check.tolerance is not None
        assert check.slack < -check.tolerance
    assert {check.status for check in of(found, "score range")} == {HOLDS}


def test_a_wrong_range_of_scores_is_caught(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = checks.score_limits
    monkeypatch.setattr(checks, "score_limits", lambda *a: tuple(each / 20 for each in limits(*a)))
    found = of(check_texts(model, TEXTS, [0.0], window=12), "score range")
    assert any(check.status == FAILS for check in found)


def test_a_model_that_leaves_the_dial_is_caught(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One part in a thousand of each weight lies one key further than the scores say."""
    found = check_texts(model, TEXTS, [0.5], window=12)
    assert {check.status for check in of(found, "rounding")} == {HOLDS}
    exact = check_rows.exact_pattern

    def moved(each: check_rows.Attention) -> torch.Tensor:
        pattern = exact(each)
        return pattern + 1e-3 * (pattern.roll(1, dims=-1) - pattern)

    monkeypatch.setattr(check_rows, "exact_pattern", moved)
    found = check_texts(model, TEXTS, [0.5], window=12)
    assert any(check.status == FAILS for check in of(found, "rounding"))


def test_a_measurement_that_is_no_number_fails(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        margins, "row_bits", lambda pattern: torch.full(pattern.shape[:-1], math.nan).double()
    )
    found = of(check_texts(model, TEXTS, [1.0], window=12), "entropy")
    assert {check.status for check in found} == {FAILS}


def test_batches_and_fillers_change_nothing(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = check_texts(model, TEXTS, [0.5], window=13)
    assert together == check_texts(model, TEXTS, [0.5], window=13)  # bit for bit
    monkeypatch.setattr(checks, "_LARGEST_BATCH", 1)
    alone = check_texts(model, TEXTS, [0.5], window=13)
    for one, other in zip(together, alone, strict=True):
        assert (one.status, one.rows, one.rows_trivial) == (
            other.status,
            other.rows,
            other.rows_trivial,
        )
        if one.name in ("fidelity", "entropy"):
            # float32 scores of another batch differ in their last digits; slack stays what it was.
            assert one.slack == pytest.approx(other.slack, abs=1e-5)
            assert one.tightness == pytest.approx(other.tightness, rel=1e-4)


def test_schedules_and_temperatures_are_joined_too(model: LoadedModel) -> None:
    for schedule in (
        Schedule("progressive", 3.0),
        Schedule("hand", weights=((0.3, 0, 1, 0.9),) * 2),
    ):
        found = check_texts(
            model, TEXTS, [0.4, 1.0], window=12, gain=2.0, temperature=0.4, schedule=schedule
        )
        assert {check.status for check in found} <= {HOLDS, NOT_APPLICABLE}
    flat = check_texts(model, TEXTS, [0.9], window=12)
    late = check_texts(model, TEXTS, [0.9], window=12, schedule=Schedule("progressive"))
    first = [c for c in of(late, "fidelity") if c.layer == 0]
    plain = [c for c in of(check_texts(model, TEXTS, [0.0], window=12), "fidelity") if c.layer == 0]
    assert [c.tightness for c in first] == [c.tightness for c in plain]
    assert [c.tightness for c in first] != [c.tightness for c in of(flat, "fidelity")[:4]]


def test_progress_and_bad_input(model: LoadedModel, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    check_texts(model, TEXTS, [0.5], window=8, progress=lambda *each: told.append(each))
    assert told[-1] == (len(cut(model, TEXTS, 8)),) * 2
    with pytest.raises(TextError, match="needs both"):
        check_windows(model, [], [Dial(0.5)])
    with pytest.raises(TextError, match="needs both"):
        check_texts(model, TEXTS, [])
    with pytest.raises(DialError):
        check_texts(model, TEXTS, [1.5])
    with pytest.raises(TextError, match="Window"):
        check_texts(model, TEXTS, [0.5], window=1)

"""Guarantees on held-out texts, and one row filled in: the same numbers as the curves show."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from model.errors import BoundError, TextError
from pages import _theory_formulas as formulas
from tests import page_models
from workbench import lessons, theory, theory_figures, theory_texts
from workbench.choices import Choices
from workbench.inference import prepare
from workbench.lessons import Sandbox
from workbench.models import open_model
from workbench.theory_row import KeyClass, worked_rows

TEXTS = (
    "a small furry animal that eats the seeds of trees",
    "the fruit of an orchard, eaten by many",
    "to move a thing from one place to another in a day",
)
DIALS = (0.0, 0.5, 1.0)
CHOICES = Choices()


@pytest.fixture(scope="module")
def model(own_store):
    page_models.add_model("theory-texts", seed=4)
    yield open_model("theory-texts", "cpu")
    page_models.remove("theory-texts")


@pytest.fixture(scope="module")
def found(model):
    return theory_texts.measure(model, TEXTS, CHOICES, DIALS)


def heads():
    return [(la, he) for la in range(page_models.N_LAYERS) for he in range(page_models.N_HEADS)]


def test_the_rows_are_those_of_each_text_by_itself(model, found):
    for layer, head in heads():
        for index, dial in enumerate(DIALS):
            rows = []
            for text in TEXTS:
                try:
                    rows += worked_rows(model, prepare(model, text), CHOICES, layer, head, dial)
                except BoundError:
                    continue
            assert len(rows) == found.rows[layer, head]
            for quantity, (key, _, _) in enumerate(theory_texts._QUANTITIES):
                each = np.array([getattr(row, key) for row in rows])
                mean, low, high = found.values[quantity, :, index, layer, head]
                assert mean == pytest.approx(each.mean(), abs=1e-9)
                edges = np.quantile(each, [theory_texts.EDGE, 1 - theory_texts.EDGE])
                assert (low, high) == pytest.approx(tuple(edges), abs=1e-6)
    assert found.all_rows == sum(prepare(model, text).n_tokens - 1 for text in TEXTS)


def test_no_row_passes_a_bound_and_so_no_edge_of_the_band_does(found):
    assert not found.violations.any()
    for table in (
        theory_texts.heads_table(found),
        *(theory_texts.head_table(found, *place) for place in heads()),
    ):
        cells = {column.key: np.array(column.cells) for column in table.columns}
        assert (cells["fidelity_bound_low"] <= cells["fidelity_low"] + 1e-9).all()
        assert (cells["entropy_high"] <= cells["entropy_bound_high"] + 1e-9).all()
        assert (cells["fidelity_low"] <= cells["fidelity_high"]).all()
        assert cells["fidelity"][-1] == pytest.approx(1.0)
        json.loads(table.to_json())


def test_a_row_that_passes_its_bound_is_counted_and_marked(model, monkeypatch):
    from workbench import check_rows

    honest = check_rows.row_checks

    def lying(attention):
        for each in honest(attention):
            wrong = (
                each.slack - 2.0 if attention.layer == 1 and each.name == "fidelity" else each.slack
            )
            yield replace(each, slack=wrong)

    monkeypatch.setattr(check_rows, "row_checks", lying)
    found = theory_texts.measure(model, TEXTS[:1], CHOICES, (0.0, 0.5))
    assert not found.violations[:, 0].any()
    assert (found.violations[:, 1] == found.rows[1]).all()
    table = theory_texts.head_table(found, 1, 0)
    assert theory_figures.set_figure(table)["data"][-1]["name"] == "bound passed"
    assert theory_figures.set_figure(table)["data"][-1]["x"] == list(theory_texts.DIALS[:2])


def test_all_heads_are_the_mean_the_least_and_the_most_of_their_means(found):
    table = theory_texts.heads_table(found)
    means = np.stack([
        np.array(theory_texts.head_table(found, *place).column("fidelity").cells)
        for place in heads()
    ])  # fmt: skip
    assert list(table.column("fidelity").cells) == pytest.approx(means.mean(axis=0).tolist())
    assert list(table.column("fidelity_low").cells) == means.min(axis=0).tolist()
    assert list(table.column("fidelity_high").cells) == means.max(axis=0).tolist()


def test_the_figure_draws_the_table(found):
    table = theory_texts.head_table(found, 0, 0)
    drawn = theory_figures.set_figure(table)["data"]
    keys = [
        name
        for key, edge in (("fidelity", "low"), ("entropy", "high"))
        for name in (f"{key}_low", f"{key}_high", key, f"{key}_bound", f"{key}_bound_{edge}")
    ]
    assert [list(trace["y"]) for trace in drawn] == [list(table.column(k).cells) for k in keys]


def test_held_out_glosses_are_measured_once_and_progress_is_told(model, monkeypatch):
    monkeypatch.setattr(theory_texts, "held_out_texts", lambda: TEXTS)
    theory_texts.forget_sets()
    assert theory_texts.known(model, CHOICES) is None
    told: list[float] = []
    found = theory_texts.set_guarantees(model, CHOICES, told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    assert theory_texts.known(model, CHOICES) is found
    assert theory_texts.set_guarantees(model, CHOICES) is found
    assert theory_texts.known(model, Choices(gain=2.0)) is None
    theory_texts.forget_sets()
    with pytest.raises(TextError):
        theory_texts.measure(model, [], CHOICES, DIALS)


@pytest.mark.parametrize("dial", [0.0, 0.5, 0.95, 1.0])
def test_a_worked_row_is_the_one_of_the_curve_and_its_formulas_come_out(model, dial):
    prompt = prepare(model, TEXTS[0])
    for layer, head in heads():
        rows = worked_rows(model, prompt, CHOICES, layer, head, dial)
        table = theory.guarantee_table(model, prompt, CHOICES, layer, head)
        at = theory.DIALS.index(dial)
        for key in ("fidelity_bound", "fidelity", "entropy_bound", "entropy"):
            values = [getattr(row, key) for row in rows]
            assert table.column(key).cells[at] == pytest.approx(np.mean(values), abs=1e-12)
        least = min(row.fidelity_bound for row in rows)
        assert table.column("fidelity_bound_worst").cells[at] == least
        for row in rows:
            assert sum(each.keys for each in row.classes) == row.n - row.m
            outside = sum(each.keys * math.exp(-each.after) for each in row.classes)
            assert row.fidelity_bound == pytest.approx(row.m / (row.m + outside), abs=1e-12)
            for each in row.classes:
                if dial == 1:
                    assert each.after > 1e15
                    continue
                turn = -math.log1p(-dial)
                assert each.after == pytest.approx(each.margin + 4 * each.gap * turn)
            margin, fidelity, entropy = formulas.worked(row)
            assert f"**{row.fidelity_bound:.4f}**; measured **{row.fidelity:.4f}**" in fidelity
            assert f"{row.m} / ({row.m} + " in fidelity
            assert ("not applicable" in entropy) == (not row.entropy_applies)
            assert f"measured **{row.entropy:.3f}**" in entropy
            assert "Δ′" in margin
            assert "000000" not in margin + fidelity + entropy  # no endless number in digits


def test_the_needed_dial_is_told_with_the_numbers_that_give_it(model):
    prompt = prepare(model, TEXTS[0])
    kinds = set()
    for layer, head in heads():
        found = theory.needed_dial(model, prompt, CHOICES, layer, head, 0.95)
        margin, dial = formulas.needed(found, CHOICES.gain)
        assert f"ln({found.n - found.m} · 0.95 / ({found.m} · 0.05))" in margin
        assert f"**{found.every:.4f}**" in dial
        total = sum(keys for keys, _, _ in found.classes)
        assert total == found.n - found.m
        if found.turn > 0:  # the equation that is shown holds
            left = sum(k / total * math.exp(-(d + 4 * g * found.turn)) for k, d, g in found.classes)
            assert left == pytest.approx(math.exp(-found.needed_margin), rel=1e-6)
        kinds.add(len(found.classes))
    two = replace(found, classes=((3, -1.0, 0.5), (2, 0.5, 1.0)))
    assert (
        "3/5 · e^−((−1.000) + 4 · 0.5 t) + 2/5 · e^−(0.500 + 4 · 1 t)"
        in (formulas.needed(two, 4.0)[1])
    )
    assert 1 in kinds


def test_a_row_of_two_kinds_of_keys_and_the_sandbox_are_filled_in(model):
    prompt = prepare(model, TEXTS[0])
    row = worked_rows(model, prompt, CHOICES, 0, 0, 0.5)[0]
    both = replace(
        row, n=7, m=2, margin=1.25, strength=4.0, tau=1.0,
        classes=(KeyClass(4, -1.0, 0.5, 1.0), KeyClass(1, 0.5, 1.0, 4.5)),
    )  # fmt: skip
    told = formulas.worked(both)[0]
    assert "Δ′₁ = Δ / τ − gain · g · ln(1 − λ) = −1.000 / 1 + 4 · 0.5 · 1.000" in told
    assert "Together Δ′ = −ln(4/5 · e^−1.000 + 1/5 · e^−4.500) = **1.250 nats**" in told
    alone = replace(row, n=2, m=2, classes=(), margin=math.inf)
    assert "Δ′ = ∞" in formulas.worked(alone)[0]
    for dial, power in ((0.5, "e^−3.473"), (1.0, "0")):
        sandbox = Sandbox(12, 3, 0.7, 0.0)
        [now], _ = lessons.outcomes(sandbox, (dial,))
        margin, mass, entropy = formulas.sandbox(sandbox, now)
        assert f"9 · {power} / (3 + 9 · {power}) = **{now.off_bound:.4f}**" in mass
        assert f"= **{now.bits_bound:.3f} bits**; it is **{now.bits:.3f}**" in entropy
        assert "0.7 + 4 · " in margin

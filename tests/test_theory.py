"""Guarantees beside measurements on a prompt, the sandbox that meets its bounds, and the traps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from model.errors import BoundError, DialError, LocalistError
from tests import page_models
from workbench import lessons, theory, theory_figures
from workbench.choices import Choices
from workbench.inference import dial_of, prepare, relevance_of, run
from workbench.lessons import Sandbox
from workbench.models import open_model
from workbench.tables import Table

TEXT = "a small furry animal that eats the seeds of trees, and hides them in autumn"
DIALS = (0.0, 0.3, 0.9, 1.0)


@pytest.fixture(scope="module")
def model(own_store):
    page_models.add_model("theory", seed=4)
    yield open_model("theory", "cpu")
    page_models.remove("theory")


@pytest.fixture(scope="module")
def prompt(model):
    return prepare(model, TEXT)


def column(table: Table, key: str) -> np.ndarray:
    return np.array(table.column(key).cells)


def heads():
    return [(la, he) for la in range(page_models.N_LAYERS) for he in range(page_models.N_HEADS)]


@pytest.mark.parametrize("place", heads())
def test_the_measured_curves_are_those_of_the_model_and_lie_within_the_bounds(model, prompt, place):
    layer, head = place
    table = theory.guarantee_table(model, prompt, Choices(), layer, head)
    assert not column(table, "violations").any()
    assert (column(table, "fidelity_bound") <= column(table, "fidelity") + 1e-9).all()
    assert (column(table, "fidelity_bound_worst") <= column(table, "fidelity_worst") + 1e-9).all()
    assert (column(table, "entropy") <= column(table, "entropy_bound") + 1e-9).all()
    assert column(table, "fidelity_bound_worst")[-1] == 1.0
    assert column(table, "fidelity_worst")[-1] == pytest.approx(1.0, abs=1e-12)
    # A second route: the hooked pass that the Dial page shows, whose measures are float32.
    lost = relevance_of(model, prompt).fallback(layer)[0, head].numpy()
    kept = ~lost & (np.arange(prompt.n_tokens) > 0)
    assert table.about["rows"] == kept.sum()
    assert table.about["rows_not_applicable"] == prompt.n_tokens - 1 - kept.sum()
    for index in (0, 7, 20):
        found = run(model, prompt, dial_of(theory.DIALS[index], Choices())).measures
        for key in ("fidelity", "entropy"):
            name = "entropy_bits" if key == "entropy" else key
            mean = found[name][layer, head][kept].mean()
            assert column(table, key)[index] == pytest.approx(mean, abs=2e-5)


def test_the_needed_dial_keeps_its_promise_and_no_smaller_one_is_promised(model, prompt):
    for layer, head in heads():
        found = theory.needed_dial(model, prompt, Choices(), layer, head, 0.95)
        assert found.exact == (layer == 0)
        assert 0.0 <= found.half <= found.every <= 1.0
        if found.exact:
            assert found.fidelity_there >= 0.95 - 1e-6
        # The worst row's own numbers, by the formula of the docstrings.
        need = math.log((found.n - found.m) * 0.95 / (found.m * 0.05))
        assert found.needed_margin == pytest.approx(need, abs=1e-9)
        if found.turn > 0:
            assert found.every == pytest.approx(1 - math.exp(-found.turn), abs=1e-12)
    weaker = theory.needed_dial(model, prompt, Choices(gain=2.0), 0, 0, 0.95)
    stronger = theory.needed_dial(model, prompt, Choices(gain=8.0), 0, 0, 0.95)
    assert weaker.turn == pytest.approx(4 * stronger.turn)


def test_what_cannot_be_promised_is_refused_with_the_reason(model, prompt):
    with pytest.raises(BoundError, match=r"Temperature.*must be 1"):
        theory.needed_dial(model, prompt, Choices(temperature=0.8), 0, 0, 0.9)
    with pytest.raises(BoundError, match="takes none of the dial"):
        theory.needed_dial(model, prompt, Choices("progressive"), 0, 0, 0.9)
    rows = ((0.01,) * page_models.N_HEADS,) * page_models.N_LAYERS
    with pytest.raises(BoundError, match=r"takes 0\.01 of it"):
        theory.needed_dial(model, prompt, Choices("hand", weights=rows), 0, 0, 0.999)
    with pytest.raises(DialError, match="Fidelity"):
        theory.needed_dial(model, prompt, Choices(), 0, 0, 1.5)
    lone = prepare(model, "a")
    with pytest.raises(BoundError, match="needs a row"):
        for (
            layer,
            head,
        ) in heads():  # some head reads neither itself, the token before, nor the sink
            theory.guarantee_table(model, lone, Choices(), layer, head)
            theory.needed_dial(model, lone, Choices(), layer, head, 0.9)


def test_a_two_valued_row_meets_its_bounds_and_a_spread_one_stays_below():
    tight, _ = lessons.outcomes(Sandbox(12, 3, 0.7, 0.0), DIALS)
    loose, _ = lessons.outcomes(Sandbox(12, 3, 0.7, 2.0), DIALS)
    for each in tight:
        assert each.off_mass == pytest.approx(each.off_bound, abs=1e-12)
        assert each.bits == pytest.approx(each.bits_bound, abs=1e-12)
        odds = 9 * math.exp(-0.7) * (1 - each.dial) ** 4 / 3  # by hand
        assert each.off_mass == pytest.approx(odds / (1 + odds), abs=1e-12)
    for each in loose[:-1]:
        assert each.off_mass < each.off_bound
        assert each.bits < each.bits_bound
    below, _ = lessons.outcomes(Sandbox(12, 3, -3.0, 0.0), (0.0, 0.9))
    assert [each.entropy_applies for each in below] == [False, True]
    alone, [pattern] = lessons.outcomes(Sandbox(1, 1), (0.5,))
    assert (alone[0].off_mass, alone[0].bits, pattern) == (0.0, 0.0, [1.0])


@pytest.mark.parametrize(
    ("wrong", "subject"),
    [
        ({"n": 0}, "Keys"), ({"n": 65}, "Keys"), ({"n": 3, "m": 4}, "Relevant keys"),
        ({"m": 0}, "Relevant keys"), ({"margin": math.nan}, "Margin"), ({"gain": 0.0}, "Gain"),
        ({"spread": -1.0}, "Spread"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_is_refused(wrong, subject):
    with pytest.raises(LocalistError, match=subject):
        Sandbox(**wrong)


def test_each_lesson_says_the_numbers_of_its_table():
    dead, zero, blind = lessons.lessons()
    weights = dead.table.column("weight").cells
    assert f"{sum(weights[2:]):.0%}" in dead.truth
    assert all(x == pytest.approx(math.log(2)) for x in zero.table.column("from_zero").cells)
    assert zero.table.column("from_small").cells[-1] < 0.5
    assert len({round(x, 12) for x in blind.table.column("penalty").cells}) == 1
    assert len({round(x, 12) for x in blind.table.column("bits").cells}) == 3


def test_figures_draw_what_the_tables_hold_and_mark_a_passed_bound(model, prompt):
    table = theory.guarantee_table(model, prompt, Choices(), 0, 0)
    drawn = theory_figures.guarantee_figure(table)["data"]
    assert [list(trace["y"]) for trace in drawn] == [
        list(table.column(key).cells)
        for key in ("fidelity", "fidelity_bound", "entropy", "entropy_bound")
    ]
    broken = Table(
        table.name,
        table.title,
        tuple(
            c if c.key != "violations" else type(c)(c.key, c.title, c.unit, [0, 2] + [0] * 19)
            for c in table.columns
        ),
    )
    crosses = theory_figures.guarantee_figure(broken)["data"][-1]
    assert crosses["x"] == [theory.DIALS[1]]
    assert crosses["name"] == "bound passed"
    row = Sandbox(5, 2, 1.0, 0.5)
    bars = theory_figures.row_figure(lessons.row_table(row, 0.5))["data"]
    assert [sum(trace["y"]) for trace in bars] == [pytest.approx(1.0)] * 2
    lines = theory_figures.sandbox_figure(lessons.sandbox_table(row, DIALS), 0.5)
    assert len(lines["data"]) == 4
    assert all(shape["x0"] == 0.5 for shape in lines["layout"]["shapes"])

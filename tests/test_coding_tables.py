"""Tables and figures of the Coding page: the same cells drawn, shown and saved; cases that hold."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from workbench import coding_cases, coding_figures, coding_tables
from workbench.coding import MEASURES, Asked, Coding, Lesion
from workbench.coding_texts import TextSet

NAMES = ("FOOD", "PLANT", "PERSON")
N_TEXTS, LENGTH, UNITS = 60, 8, 10


def texts(rng: np.random.Generator) -> TextSet:
    """Texts without words: category 2 has no token, class 3 is of no block."""
    classes = [np.concatenate(([4], rng.choice([0, 1, 3], LENGTH))) for _ in range(N_TEXTS)]
    return TextSet(
        tuple("x" for _ in classes),
        tuple(tuple(range(LENGTH + 1)) for _ in classes),
        tuple(("<bos>", *(f"␣w{p}<b>" for p in range(LENGTH))) for _ in classes),
        tuple(classes),
        NAMES,
        ("food", "plants", "people"),
        N_TEXTS - 1,
    )


@pytest.fixture
def coding(rng) -> Coding:
    """Noise, but: unit 0 is food itself, unit 1 is strong at twenty food tokens and blind else."""
    import torch

    from model.locality.units import measure_units

    read = texts(rng)
    activations = np.abs(rng.normal(size=(read.n_tokens, UNITS))).astype(np.float32)
    food = np.flatnonzero(read.category == 0)
    activations[:, 0] = (read.category == 0) + 0.01 * activations[:, 0]
    activations[:, 1] = 0.0
    activations[food[:20], 1] = 50.0
    found = measure_units(torch.tensor(activations), torch.tensor(read.category), 3)
    return Coding(
        "ours", "0" * 64, "cpu", Asked(0), read,
        {key: getattr(found, key).numpy() for key in (*MEASURES, "threshold")},
        found.best.numpy(), np.full(UNITS, 0.55), np.array([0, 1, 0]),
        np.array([0.9, 0.8, np.nan]), np.array([1.0, 0.9, np.nan]),
        activations, activations.mean(axis=0),
    )  # fmt: skip


def test_the_matrix_holds_every_unit_and_present_category(coding):
    table = coding_tables.matrix_table([coding, coding], "auc")
    assert len(table) == 2 * UNITS
    assert [c.key for c in table.columns[3:]] == ["auc_FOOD", "auc_PLANT"]
    for row in table.rows():
        assert row["auc_FOOD"] == coding.measures["auc"][row["unit"], 0]
    best = table.column("best").cells[:UNITS]
    assert list(best) == sorted(best)
    figure = coding_figures.matrix_figure(table, "auc")
    assert len(figure["data"]) == 1  # one model's name, one panel: names are what tells them apart
    drawn = figure["data"][0]
    assert drawn["z"][0] == list(table.column("auc_FOOD").cells)
    assert drawn["y"] == ["food", "plants"]


@pytest.mark.parametrize("measure", MEASURES)
def test_every_measure_is_drawn_within_its_colours(coding, measure):
    table = coding_tables.matrix_table([coding], measure)
    figure = coding_figures.matrix_figure(table, measure)
    trace = figure["data"][0]
    assert trace["zmin"] < trace["zmax"]
    assert np.nanmax(np.array(trace["z"], dtype=float)) <= trace["zmax"]
    json.dumps(figure, allow_nan=False)


def test_files_hold_what_is_shown_and_never_a_nan(coding):
    lesions = [Lesion(u, 0, float("nan"), 0.5, 0, 9) for u in range(UNITS)]
    table = coding_tables.units_table(coding, lesions)
    rows = json.loads(table.to_json())["rows"]
    saved = list(csv.DictReader(io.StringIO(table.to_csv())))
    shown = table.frame()
    assert [row["unit"] for row in rows] == shown["unit"].tolist()
    assert [float(row["auc [fraction]"]) for row in saved] == [row["auc"] for row in rows]
    assert {row["lesion_own"] for row in rows} == {None}
    assert json.loads(table.to_json())["about"]["layer"] == 0
    assert rows[0]["auc"] == max(row["auc"] for row in rows)


def test_counts_are_of_the_measures(coding):
    row = coding_tables.summary_table([coding]).rows()[0]
    assert row["strong"] == int((coding.best_auc > 0.9).sum()) >= 1
    assert row["single"] == pytest.approx(0.85)
    assert row["together"] == pytest.approx(0.95)
    both = coding_tables.categories_table([coding])
    assert both.column("category").cells == ("food", "plants")
    assert both.column("together_0").cells == (1.0, 0.9)
    figure = coding_figures.categories_figure(both, ["ours"])
    assert figure["data"][1]["x"] == [1.0, 0.9]


def test_the_histogram_holds_every_token_once(coding):
    table = coding_tables.histogram_table(coding, 3, 0)
    assert sum(table.column("on").cells) == pytest.approx(1.0)
    assert sum(table.column("off").cells) == pytest.approx(1.0)
    assert table.column("from").cells[0] == pytest.approx(coding.activations[:, 3].min())
    assert table.about["threshold"] == coding.measures["threshold"][3, 0]
    flat = coding_tables.histogram_table(coding, 1, 1)
    assert sum(flat.column("on").cells) == pytest.approx(1.0)
    json.dumps(coding_figures.histogram_figure(table, 0.5), allow_nan=False)


def test_the_strongest_tokens_come_in_their_text(coding):
    table = coding_tables.strongest_table(coding, 5)
    activations = table.column("activation").cells
    assert list(activations) == sorted(coding.activations[:, 5].tolist(), reverse=True)[:20]
    at = int(coding.activations[:, 5].argmax())
    position = int(coding.texts.place[at, 1])
    assert table.column("token").cells[0] == f"w{position - 1}<b>"
    assert table.column("category").cells[0] == coding.texts.title_of(
        int(coding.texts.category[at])
    )
    own = coding_tables.own_text_table(coding, 5)
    assert own is not None
    assert len(own) == LENGTH
    figure = coding_figures.tokens_figure(own, 0.1)
    assert "<b>" not in "".join(figure["data"][0]["x"])  # no token is markup


def test_cases_are_what_they_say(coding):
    cases = coding_cases.misleading_cases(coding)
    last = cases[-1]
    assert (last.unit, last.category) == (0, 0)
    table = coding_cases.cases_table(
        coding, cases, [Lesion(c.unit, c.category, 0.1, 0.0, 5, 9) for c in cases]
    )
    for row, case in zip(table.rows(), cases, strict=True):
        assert row["auc"] == coding.measures["auc"][case.unit, case.category]
    scatter = coding_cases.scatter_table(coding)
    blind = scatter.rows()[1]
    assert (blind["precision"], blind["precision_category"]) == (1.0, "food")
    assert blind["ccmas"] == 1.0
    assert blind["precision_auc"] < 0.65  # though both measures are at their largest
    json.dumps(coding_figures.scatter_figure(scatter, table), allow_nan=False)


def test_over_the_dial_each_value_has_its_row(coding):
    table = coding_tables.dial_table([coding, coding])
    assert len(table) == 2
    assert "dial" not in table.about
    json.dumps(coding_figures.dial_figure(table, ["ours"], 0.5), allow_nan=False)
    one = coding_tables.unit_over_dial_table([coding, coding], 0, 0)
    assert one.column("auc").cells == (coding.measures["auc"][0, 0],) * 2

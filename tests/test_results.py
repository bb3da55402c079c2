"""Tables of the Dial page hold what the model gave; figures and files hold what the tables hold."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from model.errors import DialError, TextError
from model.locality.dial import Dial
from model.locality.measures import Masks, row_measures
from model.locality.relevance import Relevance
from tests import page_models
from workbench import curves, figures, results
from workbench.choices import Choices
from workbench.models import open_model
from workbench.tables import Column, Table, TableError

TEXT = "a doctor ate 12 red apples, 🍓"


@pytest.fixture(scope="module")
def model(own_store):
    page_models.add_model("small")
    yield open_model("small", "cpu")
    page_models.remove("small")


@pytest.fixture(scope="module")
def found(model):
    return results.answer(model, "small", TEXT, 0.33, 1, Choices(gain=3.0))


def test_curves_equal_one_hooked_call_a_dial(model, found):
    import torch

    choices = Choices("progressive", beta=2.0, gain=3.0, temperature=1.3)
    prompt = found.prompt
    swept = curves.dial_curves(model, prompt.ids, prompt.classes.tolist(), choices)
    ids = torch.tensor(prompt.ids)[None]
    relevance = Relevance.compile(torch.tensor(prompt.classes)[None], model.reads)
    for at in (0, 7, 40):
        dial = Dial(curves.DIALS[at], 3.0, 1.3, choices.schedule())
        logits, cache = model.decoder.run_with_cache(ids, dial, relevance)
        nats = torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:])
        assert swept.nats[at] == pytest.approx(float(nats), abs=1e-5)
        for layer in range(page_models.N_LAYERS):
            pattern = cache[f"blocks.{layer}.attn.hook_pattern"]
            measured = row_measures(pattern, Masks.of(relevance, layer))
            for name in curves.MEASURED:
                mean = measured[name][0, :, 1:].mean(dim=-1)
                np.testing.assert_allclose(swept.measures[name][at, layer], mean, atol=2e-5)


def test_curves_are_computed_once(model, found):
    first = results.curves_of(model, found)
    assert results.curves_of(model, found) is first
    assert results.curves_of(model, replace(found, choices=Choices(gain=2.0))) is not first


def test_curves_of_a_long_text_come_in_parts_and_are_the_same(model, found, monkeypatch):
    whole = results.curves_of(model, found)
    monkeypatch.setattr(curves, "_LARGEST_BATCH", 3 * len(found.prompt.ids) ** 2 * 4)
    monkeypatch.setattr(curves, "_memo", type(curves._memo)(1, lambda each: each.nbytes))
    parts = results.curves_of(model, found)
    assert parts is not whole
    np.testing.assert_allclose(parts.nats, whole.nats, atol=1e-6)
    np.testing.assert_allclose(parts.mean("fidelity"), whole.mean("fidelity"), atol=1e-6)


def test_curves_of_no_token_say_so(model):
    with pytest.raises(TextError, match="no token to predict"):
        curves.dial_curves(model, [0], [0], Choices())


@pytest.mark.parametrize("place", [None, (1, 2)])
def test_the_present_dial_stands_in_the_curves_as_its_own_pass_measured_it(model, found, place):
    table = results.curves_table(results.curves_of(model, found), found, place)
    dials = list(table.column("dial").cells)
    assert dials == sorted(dials)
    assert len(dials) == curves.POINTS + 1
    at = dials.index(0.33)
    measured = [h.measures["fidelity"] for h in found.heads if place in (None, (h.layer, h.head))]
    assert table.column("fidelity").cells[at] == pytest.approx(np.mean(measured))
    neighbours = table.column("fidelity").cells[at - 1 : at + 2 : 2]
    assert min(neighbours) - 0.02 <= table.column("fidelity").cells[at] <= max(neighbours) + 0.02
    assert table.column("bits_per_token").cells[at] * results.LN2 == pytest.approx(found.nats)


def test_a_dial_on_the_grid_is_not_doubled(model):
    on_grid = results.answer(model, "small", TEXT, 0.5, 0, Choices())
    table = results.curves_table(results.curves_of(model, on_grid), on_grid)
    assert len(table) == curves.POINTS


def test_next_tokens_stand_beside_dial_0(model, found):
    table = results.next_table(found)
    plain = results.answer(model, "small", TEXT, 0.0, 0, Choices(gain=3.0))
    same = results.next_table(plain)
    np.testing.assert_allclose(same.column("change").cells, 0.0, atol=1e-5)
    np.testing.assert_allclose(
        same.column("probability").cells, same.column("probability_dial_0").cells, rtol=1e-5
    )
    p, p0 = (np.array(table.column(k).cells) for k in ("probability", "probability_dial_0"))
    np.testing.assert_allclose(table.column("change").cells, np.log2(p0 / p), atol=1e-5)


def test_masses_of_a_head_sum_to_one(found):
    table = results.heads_table(found)
    assert len(table) == page_models.N_LAYERS * page_models.N_HEADS
    masses = [c.cells for c in table.columns if c.unit == "mean mass"]
    np.testing.assert_allclose(np.sum(masses, axis=0), 1.0, atol=1e-6)
    assert set(results.heads_table(found, 1).column("layer").cells) == {1}


def test_another_model_stands_beside_at_equal_dials(model, found):
    page_models.add_model("other", seed=5)
    table = results.beside_table(model, found, open_model("other", "cpu"), "other")
    ours, theirs = table.column("bits_per_token").cells, table.column("other_bits_per_token").cells
    np.testing.assert_allclose(table.column("difference").cells, np.subtract(ours, theirs))
    assert table.about["other_model"] == "other"
    page_models.remove("other")


def test_figures_draw_their_tables_and_nothing_else(model, found):
    table = results.curves_table(results.curves_of(model, found), found)
    traces = figures.dial_figure(table, 0.33)["data"]
    drawn = {trace["name"]: trace["y"] for trace in traces if "name" in trace}
    lines = (*figures.MASSES, *figures.LINES, figures.COST)
    assert drawn == {name: list(table.column(key).cells) for key, name, *_ in lines}
    assert [t["x"] for t in traces if t["mode"] == "markers"] == [[0.33]] * 4
    heads = results.heads_table(found)
    assert figures.heads_figure(heads)["data"][0]["z"] == [
        list(c.cells) for c in heads.columns if c.unit == "mean mass"
    ]
    tokens = results.next_table(found)
    assert [bar["x"] for bar in figures.next_token_figure(tokens, 0.33)["data"]] == [
        list(tokens.column(key).cells) for key in ("probability", "probability_dial_0")
    ]
    beside = results.beside_table(model, found, model, "itself")
    ours, theirs = figures.beside_figure(beside, "small", 0.33)["data"]
    assert ours["y"] == theirs["y"] == list(beside.column("bits_per_token").cells)


def test_a_token_is_no_markup_in_a_figure(found):
    token = replace(found.tokens[0], token="<b>&")
    table = results.next_table(replace(found, tokens=(token, *found.tokens[1:])))
    assert figures.next_token_figure(table, 0.33)["data"][0]["y"][0] == "“&lt;b&gt;&amp;”"


def test_figures_are_ones_that_plotly_knows(model, found):
    import plotly.graph_objects as go

    table = results.curves_table(results.curves_of(model, found), found)
    for figure in (
        figures.dial_figure(table, 0.33),
        figures.heads_figure(results.heads_table(found)),
        figures.next_token_figure(results.next_table(found), 0.33),
        figures.beside_figure(results.beside_table(model, found, model, "itself"), "small", 0.33),
    ):
        assert len(go.Figure(figure).data) == len(figure["data"])


def test_files_hold_what_the_table_holds(found):
    table = results.heads_table(found)
    document = json.loads(table.to_json())
    assert document["units"]["entropy_bits"] == "bits"
    assert document["about"]["model_hash"] == found.view.model_hash
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert len(rows) == len(document["rows"]) == len(table)
    for row, kept, entropy in zip(
        rows, document["rows"], table.column("entropy_bits").cells, strict=True
    ):
        assert float(row["entropy_bits [bits]"]) == kept["entropy_bits"] == entropy
        assert json.loads(row["reads"]) == kept["reads"]


def test_no_two_columns_of_a_file_have_one_heading(model, found):
    for table in (
        results.curves_table(results.curves_of(model, found), found),
        results.next_table(found),
        results.heads_table(found),
    ):
        headings = next(csv.reader(io.StringIO(table.to_csv())))
        assert len(set(headings)) == len(headings)
        assert len(table.frame().columns) == len(table.columns)


def test_no_cell_is_a_formula_to_a_spreadsheet():
    table = Table("t", "T", (Column("a", "A", "", ("=1+1", "\n,", '"')),))
    assert table.to_csv() == 'a\n"""=1+1"""\n"""\\n,"""\n"""\\"""""\n'


def test_columns_that_make_no_table_are_refused():
    with pytest.raises(TableError, match="columns of one length"):
        Table("t", "T", (Column("a", "A", "", (1,)), Column("b", "B", "", ())))
    with pytest.raises(TableError, match="Use one of a"):
        Table("t", "T", (Column("a", "A", "", (1,)),)).column("b")


@pytest.mark.parametrize("dial", [float("nan"), -0.1, 1.1, "0.5", True])
def test_a_bad_dial_is_refused(model, dial):
    with pytest.raises(DialError):
        results.answer(model, "small", TEXT, dial, 0, Choices())

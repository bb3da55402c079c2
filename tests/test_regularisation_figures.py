"""Figures of a regularisation path draw their tables, and never an exact zero as a small number."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest

from tests.model_dirs import tiny_config
from tests.regularisation_paths import BLOCKS, STRENGTHS, made_up
from workbench import regularisation_figures as figures
from workbench import regularisation_tables as tables
from workbench.regularisation_file import path_from

CONFIG = tiny_config()


@pytest.fixture
def path(rng):
    return path_from(made_up(CONFIG, rng), CONFIG)


def test_the_path_is_drawn_as_it_stands_and_the_chosen_point_is_marked(path):
    table = tables.path_table(path)
    drawn = figures.path_figure(table, 2)
    keys = ["zero_share", "pool_score_share", *(f"perplexity_dial_{d}" for d in ("0", "0.5", "1"))]
    for trace, key in zip(drawn["data"], keys, strict=True):
        assert trace["x"] == list(STRENGTHS)
        assert trace["y"] == list(table.column(key).cells)
        assert trace["marker"]["symbol"] == ["circle"] * 3 + ["circle-open"]
    alive = table.column("groups_alive").cells
    assert drawn["data"][0]["text"] == [f"{each} alive" for each in alive]
    assert all(shape["x0"] == STRENGTHS[2] for shape in drawn["layout"]["shapes"])
    assert drawn["layout"]["xaxis"]["type"] == "log"
    zero = made_up(CONFIG, np.random.default_rng(1), strengths=(1.0, 0.0))
    drawn = figures.path_figure(tables.path_table(path_from(zero, CONFIG)), 0)
    assert drawn["layout"]["xaxis"]["type"] == "linear"


def test_each_cell_of_the_map_is_either_an_exact_zero_or_a_norm(path):
    for at in range(len(path.points)):
        table = tables.support_table(path, at, "key")
        zero, alive = figures.support_figure(table, 2.0)["data"]
        norms = path.points[at].key
        for column, name in enumerate(alive["x"]):
            layer, head = divmod(column, CONFIG.n_kv_heads)
            assert name == f"L{layer} H{head}"
            for row, block in enumerate(alive["y"]):
                norm = norms[layer, head, BLOCKS.index(block)]
                assert (zero["z"][row][column] is None) == (norm > 0)
                assert alive["z"][row][column] == (norm if norm > 0 else None)
                told = alive["text"][row][column]
                assert told == tables.group_words(layer, head, block, "key", norm)
        assert (alive["zmin"], alive["zmax"]) == (0, 2.0)
        colours = {colour for _, colour in alive["colorscale"]}
        assert not colours & {colour for _, colour in zero["colorscale"]}


def test_colours_of_norms_grow_darker_all_the_way():
    def lightness(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        return sum(w * p**2.2 for w, p in zip((0.2126, 0.7152, 0.0722), parts, strict=True))

    steps = [lightness(colour) for _, colour in figures.NORMS]
    assert all(a > b + 0.05 for a, b in pairwise(steps))
    assert lightness("#ffffff") > lightness("#111111")  # the helper can tell


def test_the_graph_draws_the_largest_groups_and_says_how_many_it_leaves_out(path):
    norms = path.points[-1].key
    total = int((norms > 0).sum())
    found = tables.support_graph(path, 3, "key", most=5)
    assert found.left_out == total - 5 > 0
    assert sorted(norms.flatten())[-5:][::-1] == list(found.table.column("norm").cells)
    assert nx.is_bipartite(found.graph)
    assert found.graph.number_of_edges() == 5
    assert all(0 < each["y"] < 1 for _, each in found.graph.nodes(data=True))
    drawn = figures.graph_figure(found, 2.0)["data"]
    assert len(drawn) == 5 + 2
    for trace, row in zip(drawn, found.table.rows(), strict=False):
        head = found.graph.nodes["head", f"L{row['layer']} H{row['head']}"]
        block = found.graph.nodes["block", row["block"]]
        assert (trace["y"][0], trace["y"][-1]) == (head["y"], block["y"])
    widths = [trace["line"]["width"] for trace in drawn[:5]]
    assert widths == sorted(widths, reverse=True)
    assert tables.support_graph(path, 3, "key").left_out == 0
    assert len(tables.support_graph(path, 0, "key").table) == 0


def test_a_name_that_spells_a_tag_is_seen_and_not_obeyed(rng):
    data = made_up(CONFIG, rng, ("<b>X</b>", "PLANT"), (4, 3))
    path = path_from(data, CONFIG)
    _, alive = figures.support_figure(tables.support_table(path, 3, "key"), 1.0)["data"]
    assert alive["y"][0] == "&lt;b&gt;X&lt;/b&gt;"
    assert not any("<b>" in text for line in alive["text"] for text in line)
    drawn = figures.graph_figure(tables.support_graph(path, 3, "key"), 1.0)["data"]
    assert not any("<b>" in text for trace in drawn for text in trace["text"])

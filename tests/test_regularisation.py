"""Regularisation paths: what the reader takes and refuses, and what its tables say."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest

from model.errors import CheckpointError, LocalistError, ModelNotFoundError, PenaltyError
from model.locality import stationarity
from model.locality.penalties import Groups
from tests import page_models
from tests.model_dirs import tiny_config, write_tiny_model
from tests.regularisation_paths import BLOCKS, RANKS, STRENGTHS, add_path, made_up
from workbench import regularisation, regularisation_tables
from workbench.paths import own_models
from workbench.regularisation_file import path_from, path_of, read_path

CONFIG = tiny_config()  # four query heads share two key heads


@pytest.fixture
def data(rng):
    return made_up(CONFIG, rng)


@pytest.fixture
def path(data):
    return path_from(data, CONFIG)


def edited(data, place, value):
    """A copy with one entry changed; `place` is a tuple of keys."""
    found = copy.deepcopy(data)
    inner = found
    for key in place[:-1]:
        inner = inner[key]
    if value is None:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return found


def test_what_is_read_is_what_was_written(data, path):
    assert path.blocks == BLOCKS
    assert path.ranks == RANKS
    assert [each.strength for each in path.points] == list(STRENGTHS)
    for point, row in zip(path.points, data["points"], strict=True):
        assert point.query.tolist() == row["norms"]["query"]
        assert point.key.tolist() == row["norms"]["key"]
        assert point.kkt_residual == row["kkt_residual"]
        assert [each.fidelity for each in point.measured] == [e["fidelity"] for e in row["dials"]]
        with pytest.raises(ValueError, match="read-only"):
            point.key[0, 0, 0] = 1.0
    assert path.groups == Groups.of(CONFIG, RANKS).count


def test_weights_thresholds_and_penalty_are_those_of_the_method(path, rng):
    groups = Groups.of(CONFIG, RANKS)
    assert [path.weight(block) for block in range(3)] == pytest.approx(groups.weights.tolist())
    assert regularisation.TOLERANCE == stationarity.TOLERANCE
    point = path.points[-1]
    norms = np.concatenate((point.query, point.key), axis=1)
    by_hand = sum(
        math.sqrt(RANKS[block] * CONFIG.d_head) * norms[..., block].sum() for block in range(3)
    )
    assert path.penalty(point) == pytest.approx(point.alpha * by_hand, rel=1e-12)
    assert path.penalty(path.points[0]) == 0.0
    assert path.threshold(point, 1) == pytest.approx(point.alpha * math.sqrt(3 * CONFIG.d_head))


NAN, INF = math.nan, math.inf
WRONG = [
    (("format",), 2, "Format"),
    (("alpha_max",), NAN, "alpha_max"),
    (("alpha_max",), 0.0, "alpha_max"),
    (("alpha_max",), 10**400, "alpha_max"),
    (("layers",), 3, "layers"),
    (("heads",), True, "heads"),
    (("kv_heads",), 4, "kv_heads"),
    (("blocks",), ["FOOD", "FOOD", "ANIMAL"], "Blocks"),
    (("blocks", 0), " ", "Blocks"),
    (("ranks",), [4, 3], "Ranks"),
    (("ranks", 0), 0, "Ranks"),
    (("ranks", 0), 14, "Ranks"),
    (("objective",), None, "objective"),
    (("objective", "sha256"), "ab", "Objective sha256"),
    (("objective", "tokens"), 0, "tokens"),
    (("objective", "dials", 0), 1.5, "Objective dial"),
    (("objective", "weights", 0), -1.0, "Objective weight"),
    (("objective", "weights"), [1.0], "Objective weights"),
    (("points",), [], "Strengths"),
    (("points", 1), 7, "Point 1"),
    (("points", 1, "strength"), 1.0, "Point 1, alpha"),
    (("points", 1, "strength"), NAN, "Point 1, strength"),
    (("points", 2, "kkt_residual"), NAN, "Point 2, kkt_residual"),
    (("points", 2, "kkt_residual"), None, "Point 2, kkt_residual"),
    (("points", 2, "stationary"), "yes", "Point 2, stationary"),
    (("points", 3, "stationary"), True, "Point 3, stationary"),
    (("points", 3, "groups_alive"), 1, "Point 3, groups_alive"),
    (("points", 3, "zero_share"), 0.99, "Point 3, zero_share"),
    (("points", 3, "pool_score_share"), 1.1, "Point 3, pool_score_share"),
    (("points", 3, "objective_nats"), INF, "Point 3, objective_nats"),
    (("points", 3, "norms", "key", 0, 0, 0), NAN, "Point 3, key norms"),
    (("points", 3, "norms", "key", 0, 0, 0), -0.1, "Point 3, key norms"),
    (("points", 3, "norms", "key", 0, 0, 0), "0.1", "Point 3, key norms"),
    (("points", 3, "norms", "key", 0, 0), [0.1], "Point 3, key norms"),
    (("points", 3, "norms", "query"), [], "Point 3, query norms"),
    (("points", 3, "dials"), [], "Point 3, dials"),
    (("points", 3, "dials", 0), 1, "Point 3, dials"),
    (("points", 3, "dials", 0, "dial"), 0.1, "Dials of the points"),
    (("points", 3, "dials", 0, "dial"), 0.5, "Point 3, dials"),
    (("points", 3, "dials", 0, "fidelity"), NAN, "Point 3, fidelity"),
    (("points", 3, "dials", 0, "perplexity"), 3.0, "Point 3, perplexity"),
]


@pytest.mark.parametrize(("place", "value", "subject"), WRONG)
def test_a_file_that_cannot_be_is_refused_with_what_is_wrong(data, place, value, subject):
    with pytest.raises(PenaltyError, match=f"^{subject}|^Path, {subject}") as caught:
        path_from(edited(data, place, value), CONFIG)
    assert "path.json" in caught.value.subject
    assert caught.value.remedy


def test_a_residual_may_be_missing_where_there_is_no_penalty(data):
    for key, value in (("strength", 0.0), ("alpha", 0.0), ("stationary", False)):
        data = edited(data, ("points", 3, key), value)
    found = path_from(edited(data, ("points", 3, "kkt_residual"), None), CONFIG)
    assert found.points[3].kkt_residual is None
    json.loads(regularisation_tables.path_table(found).to_json())


def test_a_directory_with_and_without_a_path_and_one_that_was_altered(tmp_path, rng, own_store):
    directory = tmp_path / "tiny"
    write_tiny_model(directory)
    assert read_path(directory) is None
    add_path(directory, rng)
    found = read_path(directory)
    assert found is not None
    assert read_path(directory) is found
    manifest = json.loads((directory / "manifest.json").read_text("utf-8"))
    for named in ("0" * 64, None):
        manifest["files"]["path.json"] = named
        (directory / "manifest.json").write_text(json.dumps(manifest), "utf-8")
        with pytest.raises(CheckpointError, match="was altered"):
            read_path(directory)
    (directory / "path.json").write_text("{", "utf-8")
    with pytest.raises(CheckpointError, match=r"path\.json"):
        read_path(directory)
    page_models.add_model("path-less")
    try:
        assert path_of("path-less") is None
        add_path(own_models() / "path-less", rng)
        assert path_of("path-less") is not None
        with pytest.raises(ModelNotFoundError, match="nobody"):
            path_of("nobody")
        with pytest.raises(LocalistError, match="Model name"):
            path_of("../path-less")
    finally:
        page_models.remove("path-less")


def test_the_point_to_begin_with_is_the_strongest_of_nearly_the_least_cost(data):
    costs = (5.0, 4.051, 4.049, 4.0)  # 4.0 + ln 1.05 = 4.0488
    for at, nats in enumerate(costs):
        data["points"][at]["dials"][0] |= {"nats_per_token": nats, "perplexity": math.exp(nats)}
    assert path_from(data, CONFIG).likely() == 3
    data["points"][2]["dials"][0] |= {"nats_per_token": 4.048, "perplexity": math.exp(4.048)}
    assert path_from(data, CONFIG).likely() == 2
    own = path_from({**data, "own_strength": STRENGTHS[1]}, CONFIG)
    assert own.own == own.likely() == 1
    for wrong in (0.3, NAN, "1"):
        with pytest.raises(PenaltyError, match="own_strength"):
            path_from({**data, "own_strength": wrong}, CONFIG)


def test_the_path_table_has_a_row_a_point_with_units(data, path):
    table = regularisation_tables.path_table(path)
    assert len(table) == len(STRENGTHS)
    for key in ("strength", "groups_alive", "zero_share", "kkt_residual", "stationary"):
        assert list(table.column(key).cells) == [row[key] for row in data["points"]]
    for at, dial in enumerate(("0", "0.5", "1")):
        cells = list(table.column(f"perplexity_dial_{dial}").cells)
        assert cells == [row["dials"][at]["perplexity"] for row in data["points"]]
    assert table.column("alpha").unit == "nats per unit of weight"
    assert table.about["objective_sha256"] == "ab" * 32
    assert json.loads(table.to_json())["rows"] == table.rows()


@pytest.mark.parametrize("side", regularisation.SIDES)
def test_the_support_table_holds_every_group_of_its_side(data, path, side):
    for at in range(len(path.points)):
        table = regularisation_tables.support_table(path, at, side)
        norms = data["points"][at]["norms"][side]
        heads = CONFIG.n_heads if side == "query" else CONFIG.n_kv_heads
        assert len(table) == CONFIG.n_layers * heads * len(BLOCKS)
        for row in table.rows():
            norm = norms[row["layer"]][row["head"]][BLOCKS.index(row["block"])]
            assert row["norm"] == norm
            assert row["zero"] == (norm == 0.0)
            assert row["threshold"] == path.points[at].alpha * row["weight"]


def test_heads_are_told_in_words(data):
    keys = np.zeros((2, 2, 3))
    keys[1, 0] = (0.2, 0.42, 0.0)
    keys[1, 1] = (1.0, 2.0, 3.0)
    queries = np.zeros((2, 4, 3))
    queries[0, 3, 2] = 1e-9  # small is not zero
    point = data["points"][2]
    point["norms"] = {"query": queries.tolist(), "key": keys.tolist()}
    point |= {"groups_alive": 6, "zero_share": 1 - 6 / 36}
    table = regularisation_tables.heads_table(path_from(data, CONFIG), 2)
    reads = list(table.column("reads").cells)
    assert reads[:4] == ["reads no block"] * 4
    assert reads[4:] == ["reads PLANT and FOOD"] * 2 + ["reads all 3 blocks"] * 2  # keys are shared
    assert list(table.column("asks").cells)[3] == "asks from ANIMAL"
    assert list(table.column("keys_alive").cells) == [0] * 4 + [2, 2, 3, 3]
    told = regularisation_tables.group_words(1, 3, "FOOD", "key", 0.42)
    assert told == "layer 1 head 3 reads FOOD on the key side, norm 0.42"
    told = regularisation_tables.group_words(1, 3, "FOOD", "key", 0.0)
    assert told == "layer 1 head 3 does not read FOOD on the key side, exactly zero"

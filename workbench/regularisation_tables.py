"""Tables and sentences of a regularisation path: the whole path, and the support at one point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np

from workbench.regularisation import Point, RegularisationPath
from workbench.tables import Column, Table

MOST_EDGES = 120
_MEASURES = (  # key, title, unit
    ("perplexity", "perplexity", ""),
    ("nats_per_token", "cost", "nats/token"),
    ("entropy_bits", "entropy", "bits"),
    ("entropy_normalised", "entropy / log₂ n", "fraction"),
    ("fidelity", "fidelity", "fraction"),
    ("relevant_share", "keys relevant", "fraction"),
)


def label(point: Point) -> str:
    """A point's strength, as its slider shows it."""
    return f"{point.strength:.3g}"


def path_table(path: RegularisationPath) -> Table:
    """A row a point, from strong to weak; measures in a column for each dial."""
    points = path.points
    columns = [
        _column(points, "strength", "strength α / α_max", "fraction"),
        _column(points, "alpha", "α", "nats per unit of weight"),
        _column(points, "groups_alive", "groups alive", "groups"),
        _column(points, "zero_share", "groups exactly zero", "fraction"),
        _column(points, "pool_score_share", "score variance through the pool", "fraction"),
        _column(points, "kkt_residual", "KKT residual", ""),
        _column(points, "stationary", "stationary", ""),
        _column(points, "objective_nats", "objective F", "nats"),
        Column("penalty", "of it penalty", "nats", [path.penalty(each) for each in points]),
    ]
    for at, dial in enumerate(each.dial for each in points[0].measured):
        measured = [point.measured[at] for point in points]
        columns += [
            _column(measured, key, f"{title} at dial {dial:g}", unit, f"_dial_{dial:g}")
            for key, title, unit in _MEASURES
        ]
    about = {
        "model_hash": path.model_hash,
        "alpha_max": path.alpha_max,
        "groups": path.groups,
        "objective_tokens": path.tokens,
        "objective_sha256": path.text_sha256,
        "objective_dials": " ".join(f"{each:g}" for each in path.dials),
        "objective_weights": " ".join(f"{each:g}" for each in path.dial_weights),
    }
    return Table("path", "The regularisation path", tuple(columns), about)


def support_table(path: RegularisationPath, at: int, side: str) -> Table:
    """Every group of one side at one point: its norm, and whether it is exactly zero.

    A row a layer, head and block; on the key side heads are key heads.
    """
    point = path.points[at]
    norms = point.norms(side)
    places = list(np.ndindex(*norms.shape))
    values = [float(norms[place]) for place in places]
    blocks = [path.blocks[block] for _, _, block in places]
    columns = (
        Column("layer", "layer", "", [layer for layer, _, _ in places]),
        Column("head", "head", "", [head for _, head, _ in places]),
        Column("block", "block", "", blocks),
        Column("norm", "norm ‖W_g‖", "units of weight", values),
        Column("zero", "exactly zero", "", [value == 0.0 for value in values]),
        Column("weight", "w_g", "", [path.weight(block) for _, _, block in places]),
        Column("threshold", "α w_g", "nats per unit of weight",
               [path.threshold(point, block) for _, _, block in places]),
    )  # fmt: skip
    title = f"Groups of the {side} side at strength {label(point)}"
    return Table(f"support-{side}", title, columns, _about(path, point, side))


def sentence(names: Sequence[str], verb: str = "reads", most: int = 0) -> str:
    """reads FOOD and PLANT; a head in words. most: how many blocks there are, 0 where unknown."""
    if not names:
        return f"{verb} no block"
    if len(names) == most > 1:
        return f"{verb} all {most} blocks"
    first, last = ", ".join(names[:-1]), names[-1]
    return f"{verb} {first} and {last}" if first else f"{verb} {last}"


def heads_table(path: RegularisationPath, at: int) -> Table:
    """A row a query head: what its keys read, largest norm first, and what its queries look from.

    Where several query heads share a key head, its blocks stand with each of them.
    """
    point = path.points[at]
    shared = path.heads // path.kv_heads
    rows = []
    for layer in range(path.layers):
        for head in range(path.heads):
            keys = _alive(path, point.key[layer, head // shared])
            queries = _alive(path, point.query[layer, head])
            n = len(path.blocks)
            words = sentence(keys, "reads", n), sentence(queries, "asks from", n)
            rows.append((layer, head, *words, len(keys), len(queries)))
    columns = (
        ("layer", "layer", ""),
        ("head", "head", ""),
        ("reads", "keys", ""),
        ("asks", "queries", ""),
        ("keys_alive", "key groups alive", "groups"),
        ("queries_alive", "query groups alive", "groups"),
    )
    cells = zip(*rows, strict=True)
    table = (Column(*names, list(each)) for names, each in zip(columns, cells, strict=True))
    title = f"What each head reads at strength {label(point)}"
    return Table("heads-read", title, tuple(table), _about(path, point, "both"))


@dataclass(frozen=True)
class Graph:
    """Heads and blocks with a line for each living group, in the order of `table`.

    graph: bipartite, nodes "L0 H1" and block names, each with `x` and `y` in [0, 1]. left_out: how
    many weaker groups are not drawn.
    """

    graph: nx.Graph
    table: Table
    left_out: int


def support_graph(path: RegularisationPath, at: int, side: str, most: int = MOST_EDGES) -> Graph:
    """The strongest living groups of one side as a graph.

    Heads and blocks without one are left out. Heads stand in their order; blocks at the mean place
    of the heads that they are tied to.
    """
    point = path.points[at]
    norms = point.norms(side)
    alive = [place for place in np.ndindex(*norms.shape) if norms[place] > 0.0]
    alive.sort(key=lambda place: (-norms[place], place))
    drawn = alive[:most]
    graph = nx.Graph()
    heads = sorted({place[:2] for place in drawn})
    for at_y, (layer, head) in enumerate(heads):
        graph.add_node(_node(layer, head), kind="head", x=0.0, y=_even(at_y, len(heads)))
    for layer, head, block in drawn:
        graph.add_edge(
            _node(layer, head), ("block", path.blocks[block]), norm=norms[layer, head, block]
        )
    blocks = [node for node in graph if node[0] == "block"]
    middle = {
        node: sum(graph.nodes[each]["y"] for each in graph[node]) / graph.degree[node]
        for node in blocks
    }
    for at_y, node in enumerate(sorted(blocks, key=lambda each: (middle[each], each))):
        graph.nodes[node].update(kind="block", x=1.0, y=_even(at_y, len(blocks)))
    columns = (
        Column("layer", "layer", "", [place[0] for place in drawn]),
        Column("head", "head", "", [place[1] for place in drawn]),
        Column("block", "block", "", [path.blocks[place[2]] for place in drawn]),
        Column("norm", "norm ‖W_g‖", "units of weight", [float(norms[each]) for each in drawn]),
    )
    title = f"Heads and blocks, {side} side, at strength {label(point)}"
    table = Table(f"support-graph-{side}", title, columns, _about(path, point, side))
    return Graph(graph, table, len(alive) - len(drawn))


def group_words(layer: int, head: int, block: str, side: str, norm: float) -> str:
    """layer 1 head 3 reads FOOD on the key side, norm 0.42."""
    verb = "reads" if norm > 0.0 else "does not read"
    size = f"norm {norm:.3g}" if norm > 0.0 else "exactly zero"
    return f"layer {layer} head {head} {verb} {block} on the {side} side, {size}"


def _node(layer: int, head: int) -> tuple[str, str]:
    return "head", f"L{layer} H{head}"


def _even(at: int, count: int) -> float:
    return 1.0 - (at + 0.5) / count


def _alive(path: RegularisationPath, norms: np.ndarray) -> list[str]:
    order = sorted(range(len(path.blocks)), key=lambda block: (-norms[block], block))
    return [path.blocks[block] for block in order if norms[block] > 0.0]


def _column(rows: Sequence[Any], key: str, title: str, unit: str, suffix: str = "") -> Column:
    return Column(key + suffix, title, unit, [getattr(each, key) for each in rows])


def _about(path: RegularisationPath, point: Point, side: str) -> dict[str, Any]:
    return {
        "model_hash": path.model_hash,
        "strength": point.strength,
        "alpha": point.alpha,
        "alpha_max": path.alpha_max,
        "kkt_residual": point.kkt_residual,
        "stationary": point.stationary,
        "side": side,
    }

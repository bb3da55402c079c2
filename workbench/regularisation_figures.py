"""Figures of a regularisation path: the path itself, the support as a map, and as a graph.

Each draws its table's values. An exact zero is a grey cell with a 0 in it and never a colour of the
scale, so that it cannot be taken for a small number; lightness alone orders the norms.
"""

from __future__ import annotations

from html import escape
from typing import Any

from workbench.figures import (
    BLUE,
    GREYS,
    LEGEND,
    MARGIN,
    ORANGE,
    PINK,
    TEAL,
    Figure,
    panel_title,
)
from workbench.regularisation_tables import Graph, group_words
from workbench.tables import Table

# From light to dark, apart from both grounds and from the grey of an exact zero.
NORMS = [[0.0, "#cdeae4"], [0.35, "#63bcc4"], [0.7, "#2f83bd"], [1.0, "#2b429c"]]
_ZERO = "rgba(128, 136, 144, 0.22)"
_PANELS = ((0.58, 1.0), (0.0, 0.42))
_LINES = ((BLUE, "solid"), (ORANGE, "dash"), (TEAL, "dot"), (GREYS[1], "dashdot"))
_MOST_ZEROS_WRITTEN = 40  # columns, beyond which a 0 no longer fits its cell


def path_figure(table: Table, at: int) -> Figure:
    """Exact zeros and the pool's share, then perplexity at each dial, over strength.

    Row `at` of the table is marked. Filled marks are stationary points, open ones are not. The
    axis is logarithmic unless a strength is 0.
    """
    x = list(table.column("strength").cells)
    marks = [f"circle{'' if on else '-open'}" for on in table.column("stationary").cells]
    alive = table.column("groups_alive").cells
    shares = [
        ("zero_share", "exactly zero", TEAL, "solid", [f"{n} alive" for n in alive]),
        ("pool_score_share", "through the pool", PINK, "dot", None),
    ]
    costs = [each for each in table.columns if each.key.startswith("perplexity_dial_")]
    traces = [
        _line(table, key, name, colour, dash, marks, 1, told)
        for key, name, colour, dash, told in shares
    ]
    for index, each in enumerate(costs):
        colour, dash = _LINES[index % len(_LINES)]
        name = each.title.removeprefix("perplexity ")
        traces.append(_line(table, each.key, name, colour, dash, marks, 2))
    kind = "log" if min(x) > 0 else "linear"
    layout: dict[str, Any] = {
        "height": 560,
        "hovermode": "x unified",
        "margin": MARGIN,
        "annotations": [],
        "shapes": [_rule(x[at], low, high) for low, high in _PANELS],
    }
    titles = (("How sparse it is", "fraction"), ("What it costs", "perplexity"))
    for number, ((low, high), (title, unit)) in enumerate(zip(_PANELS, titles, strict=True), 1):
        suffix = "" if number == 1 else str(number)
        layout[f"xaxis{suffix}"] = {"anchor": f"y{suffix}", "type": kind}
        if kind == "log":
            layout[f"xaxis{suffix}"]["dtick"] = "D2"  # 1, 2 and 5 of each power of ten
        layout[f"yaxis{suffix}"] = {
            "domain": [low, high],
            "anchor": f"x{suffix}",
            "title": {"text": unit},
        }
        layout[f"legend{suffix}"] = {**LEGEND, "y": high}
        layout["annotations"].append(panel_title(title, high))
    layout["xaxis"]["matches"] = "x2"
    layout["yaxis"]["range"] = [-0.03, 1.03]
    layout["xaxis2"]["title"] = {"text": "strength α / α_max"}
    return {"data": traces, "layout": layout}


def support_figure(table: Table, largest: float) -> Figure:
    """Blocks (rows) by heads (columns), the norm as colour, exact zeros as grey cells with a 0.

    largest: the norm of the darkest colour, of the whole path, so that points compare.
    """
    side = str(table.about["side"])
    rows = table.rows()
    heads = list(dict.fromkeys(f"L{row['layer']} H{row['head']}" for row in rows))
    blocks = list(dict.fromkeys(row["block"] for row in rows))
    cells = {(f"L{row['layer']} H{row['head']}", row["block"]): row for row in rows}
    grid = [[cells[head, block] for head in heads] for block in blocks]
    told = [
        [group_words(c["layer"], c["head"], escape(c["block"]), side, c["norm"]) for c in line]
        for line in grid
    ]
    shared = {
        "type": "heatmap",
        "x": heads,
        "y": [escape(block) for block in blocks],
        "text": told,
        "hovertemplate": "%{text}<extra></extra>",
        "hoverongaps": False,
        "xgap": 1,
        "ygap": 1,
    }
    alive = {
        **shared,
        "name": "alive",
        "z": [[None if c["zero"] else c["norm"] for c in line] for line in grid],
        "zmin": 0,
        "zmax": largest,
        "colorscale": NORMS,
        "colorbar": {"title": {"text": "norm"}, "thickness": 12},
    }
    zero = {
        **shared,
        "name": "exactly zero",
        "z": [[0 if c["zero"] else None for c in line] for line in grid],
        "colorscale": [[0.0, _ZERO], [1.0, _ZERO]],
        "showscale": False,
        "texttemplate": "%{z}" if len(heads) <= _MOST_ZEROS_WRITTEN else "",
        "textfont": {"size": 9, "color": GREYS[1]},
    }
    layout = {
        "height": 130 + 19 * len(blocks),
        "margin": MARGIN,
        "xaxis": {"type": "category", "showgrid": False, "tickangle": -90},
        "yaxis": {
            "autorange": "reversed", "type": "category", "showgrid": False, "ticks": "", "dtick": 1,
        },
    }  # fmt: skip
    return {"data": [zero, alive], "layout": layout}


def graph_figure(found: Graph, largest: float) -> Figure:
    """Heads on the left, blocks on the right, a line a living group, wider for a larger norm."""
    side = str(found.table.about["side"])
    nodes = found.graph.nodes
    traces: list[dict[str, Any]] = []
    for row in found.table.rows():
        head = nodes["head", f"L{row['layer']} H{row['head']}"]
        block = nodes["block", row["block"]]
        share = row["norm"] / largest
        middle = (head["y"] + block["y"]) / 2
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": [head["x"], 0.5, block["x"]],
                "y": [head["y"], middle, block["y"]],
                "line": {"width": 0.8 + 4.2 * share, "color": BLUE},
                "opacity": 0.35 + 0.6 * share,
                "text": [
                    group_words(row["layer"], row["head"], escape(row["block"]), side, row["norm"])
                ]
                * 3,
                "hovertemplate": "%{text}<extra></extra>",
                "showlegend": False,
            }
        )
    for kind, shape, colour, place in (
        ("head", "circle", TEAL, "middle left"),
        ("block", "square", ORANGE, "middle right"),
    ):
        named = [(node[1], each) for node, each in nodes.items() if node[0] == kind]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "x": [each["x"] for _, each in named],
                "y": [each["y"] for _, each in named],
                "text": [escape(name) for name, _ in named],
                "textposition": place,
                "marker": {"symbol": shape, "size": 10, "color": colour},
                "hoverinfo": "skip",
                "showlegend": False,
                "cliponaxis": False,
            }
        )
    rows = max(sum(node[0] == kind for node in nodes) for kind in ("head", "block"))
    hidden = {"visible": False, "fixedrange": True}
    layout = {
        "height": 100 + 22 * rows,
        "margin": MARGIN,
        "hovermode": "closest",
        "xaxis": {**hidden, "range": [-0.18, 1.34]},
        "yaxis": {**hidden, "range": [0, 1]},
    }
    return {"data": traces, "layout": layout}


def _line(
    table: Table,
    key: str,
    name: str,
    colour: str,
    dash: str,
    marks: list[str],
    panel: int,
    told: list[str] | None = None,
) -> dict[str, Any]:
    suffix = "" if panel == 1 else str(panel)
    return {
        "type": "scatter",
        "x": list(table.column("strength").cells),
        "y": list(table.column(key).cells),
        "name": name,
        "mode": "lines+markers",
        "line": {"color": colour, "dash": dash, "width": 2.5},
        "marker": {"symbol": marks, "size": 8, "color": colour},
        "hovertemplate": "%{y:.4g}" + (", %{text}" if told else ""),
        "xaxis": f"x{suffix}",
        "yaxis": f"y{suffix}",
        "legend": f"legend{suffix}",
    } | ({"text": told} if told else {})


def _rule(x: float, low: float, high: float) -> dict[str, Any]:
    """The line at the chosen point, between two shares of the height; x in the axis's own units."""
    ends = {"x0": x, "x1": x, "yref": "paper", "y0": low, "y1": high}
    return {"type": "line", **ends, "line": {"width": 2, "dash": "dot", "color": PINK}}

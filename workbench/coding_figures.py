"""Figures of the Coding page, drawn from its tables: as in `workbench.figures`, plain dicts.

Measures with a middle that means "nothing told" (AUC, d′, CCMAS) take a scale with a pale middle:
blue below it, orange above, told apart by colour-blind eyes too. Shapes and dashes say once more
what colours say.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from workbench.coding_tables import STRONG, WORDS
from workbench.figures import BLUE, GREYS, ORANGE, PINK, SEQUENTIAL, TEAL, Figure
from workbench.tables import Table

DIVERGING = [
    [0.0, "#08519c"], [0.25, "#6baed6"], [0.45, "#e4edf3"], [0.5, "#f6f6f4"], [0.55, "#f8ecdc"],
    [0.75, "#f0a04b"], [1.0, "#8a3f00"],
]  # fmt: skip
# Measure -> lowest and highest value of its colours (d′ may go beyond), and whether their middle
# means that nothing is told.
_SPANS = {
    "auc": (0.0, 1.0, True),
    "d_prime": (-4.0, 4.0, True),
    "hit_rate": (0.0, 1.0, False),
    "false_alarm_rate": (0.0, 1.0, False),
    "ccmas": (-1.0, 1.0, True),
    "precision": (0.0, 1.0, False),
}
_MARGIN = {"l": 8, "r": 12, "t": 64, "b": 8}
_LEGEND = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}
_MODELS = ((BLUE, "solid", "circle"), (ORANGE, "dash", "diamond"))


def matrix_figure(table: Table, measure: str) -> Figure:
    """Categories (rows) by units (columns) as a heat map, one a model, side by side."""
    models = list(dict.fromkeys(table.column("model").cells))
    titles = [each for each in table.columns if each.key.startswith(f"{measure}_")]
    low, high, middle = _SPANS[measure]
    if measure == "d_prime":
        known = [abs(cell) for each in titles for cell in each.cells if cell is not None]
        high = max([high, *known])
        low = -high
    traces, layout = [], _layout(96 + 19 * len(titles))
    layout["annotations"] = []
    for index, model in enumerate(models):
        rows = [row for row, each in enumerate(table.column("model").cells) if each == model]
        suffix = "" if index == 0 else str(index + 1)
        traces.append(
            {
                "type": "heatmap",
                "x": [str(table.column("unit").cells[row]) for row in rows],
                "y": [each.title for each in titles],
                "z": [[each.cells[row] for row in rows] for each in titles],
                "zmin": low,
                "zmax": high,
                "colorscale": DIVERGING if middle else SEQUENTIAL,
                "xaxis": f"x{suffix}",
                "hovertemplate": f"{escape(model)}, unit %{{x}}, %{{y}}: %{{z:.3f}}<extra></extra>",
                "showscale": index == 0,
                "colorbar": {"title": {"text": WORDS[measure][0]}, "thickness": 12},
            }
        )
        left, right = _share(index, len(models))
        layout[f"xaxis{suffix}"] = {
            "domain": [left, right],
            "type": "category",
            "showticklabels": False,
            "title": {"text": f"{len(rows)} units"},
        }
        layout["annotations"].append(_heading(escape(model), left))
    layout["yaxis"] = {"autorange": "reversed", "type": "category", "ticks": ""}
    return {"data": traces, "layout": layout}


def categories_figure(table: Table, models: Sequence[str]) -> Figure:
    """AUC of the best single unit (open) and of all units together (filled), a row a category."""
    names = list(table.column("category").cells)
    traces: list[dict[str, Any]] = []
    for index, model in enumerate(models):
        colour, _, shape = _MODELS[index]
        for key, what, mark in (
            ("single", "best unit", f"{shape}-open"),
            ("together", "all units", shape),
        ):
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": list(table.column(f"{key}_{index}").cells),
                    "y": names,
                    "name": f"{escape(model)}, {what}",
                    "marker": {
                        "symbol": mark, "size": 10, "color": colour,
                        "line": {"width": 2, "color": colour},
                    },
                    "hovertemplate": "%{y}: %{x:.3f}",
                }
            )  # fmt: skip
    layout = _layout(130 + 21 * len(names))
    layout["xaxis"] = {
        "title": {"text": "AUC on the other half of the texts"},
        "range": [0.4, 1.01],
    }
    layout["yaxis"] = {"autorange": "reversed", "type": "category", "showgrid": True}
    layout["shapes"] = [_rule(0.5)]
    layout["legend"] = {"y": -0.1} | _BELOW
    layout["margin"] = {**_MARGIN, "t": 40}
    return {"data": traces, "layout": layout}


def histogram_figure(table: Table, threshold: float) -> Figure:
    """Activations on and off a category, shares of tokens a bin; the threshold as a line."""
    low, high = table.column("from").cells, table.column("to").cells
    middles = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    traces = [
        {
            "type": "bar",
            "x": middles,
            "y": list(table.column(key).cells),
            "width": [b - a for a, b in zip(low, high, strict=True)],
            "name": table.column(key).title,
            "opacity": 0.75,
            "marker": {"color": colour, "pattern": {"shape": pattern, "solidity": 0.25}},
            "hovertemplate": "%{x:.3f}: %{y:.4f}",
        }
        for key, colour, pattern in (("off", GREYS[1], "/"), ("on", TEAL, ""))
    ]
    layout = _layout(340)
    layout |= {"barmode": "overlay", "hovermode": "x unified"}
    layout["xaxis"] = {"title": {"text": "activation"}}
    # Nearly all tokens lie beside 0: on an even scale the few that matter would not be seen.
    layout["yaxis"] = {"title": {"text": "share of tokens"}, "type": "log", "dtick": 1}
    layout["yaxis"]["exponentformat"] = "power"
    layout["shapes"] = [_rule(threshold)]
    layout["annotations"] = [
        {"x": threshold, "y": 1, "yref": "paper", "text": "threshold", "showarrow": False}
        | {"xanchor": "left", "yanchor": "top", "xshift": 4}
    ]
    return {"data": traces, "layout": layout}


def scatter_figure(table: Table, cases: Table) -> Figure:
    """CCMAS, and precision, of every unit beside its AUC for the same category; cases ringed."""
    traces, layout = [], _layout(380)
    for index, key in enumerate(("ccmas", "precision")):
        suffix = "" if index == 0 else str(index + 1)
        axes = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": list(table.column(key).cells),
                "y": list(table.column(f"{key}_auc").cells),
                "text": [
                    f"unit {unit}, {category}"
                    for unit, category in zip(
                        table.column("unit").cells,
                        table.column(f"{key}_category").cells,
                        strict=True,
                    )
                ],
                "marker": {"size": 6, "color": BLUE, "opacity": 0.55},
                "hovertemplate": "%{text}: %{x:.2f}, AUC %{y:.3f}<extra></extra>",
                "showlegend": False,
                **axes,
            }
        )
        traces.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "x": list(cases.column(key).cells),
                "y": list(cases.column("auc").cells),
                "text": [str(unit) for unit in cases.column("unit").cells],
                "textposition": "top center",
                "marker": {"size": 12, "symbol": "diamond-open", "color": ORANGE}
                | {"line": {"width": 2.5}},
                "hovertemplate": "unit %{text}: %{x:.2f}, AUC %{y:.3f}<extra></extra>",
                "showlegend": False,
                **axes,
            }
        )
        left, right = _share(index, 2, 0.1)
        title = "largest CCMAS of a unit" if key == "ccmas" else "largest precision of a unit"
        layout[f"xaxis{suffix}"] = {"domain": [left, right], "title": {"text": title}}
        layout[f"xaxis{suffix}"] |= {"range": [-0.05, 1.05], "anchor": f"y{suffix}"}
        layout[f"yaxis{suffix}"] = {"range": [0.2, 1.03], "anchor": f"x{suffix}"}
    layout["yaxis"]["title"] = {"text": "AUC there"}
    layout["margin"] = {**_MARGIN, "t": 40}
    return {"data": traces, "layout": layout}


def dial_figure(table: Table, models: Sequence[str], dial: float) -> Figure:
    """Over the dial: how many units are strong, and how well units tell a category."""
    traces = []
    for index, model in enumerate(models):
        colour, dash, shape = _MODELS[index]
        rows = [row for row, each in enumerate(table.column("model").cells) if each == model]
        lines = (
            ("strong", f"{escape(model)}: how many units", 1, dash),
            ("together", f"{escape(model)}: all units together", 2, dash),
            ("single", f"{escape(model)}: best single unit", 2, "dot"),
        )
        for key, name, panel, stroke in lines:
            suffix = "" if panel == 1 else "2"
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "x": [table.column("dial").cells[row] for row in rows],
                    "y": [table.column(key).cells[row] for row in rows],
                    "name": name,
                    "line": {"color": colour, "dash": stroke, "width": 2.5},
                    "marker": {"symbol": shape, "size": 8},
                    "hovertemplate": "%{y:.4g}",
                    "xaxis": f"x{suffix}",
                    "yaxis": f"y{suffix}",
                }
            )
    layout = _layout(400)
    layout |= {"hovermode": "x unified", "shapes": [_rule(dial)], "legend": {"y": -0.25} | _BELOW}
    layout["annotations"] = []
    for index, title in enumerate((f"units with AUC above {STRONG:g}", "mean AUC")):
        suffix = "" if index == 0 else "2"
        left, right = _share(index, 2, 0.1)
        layout[f"xaxis{suffix}"] = {"domain": [left, right], "title": {"text": "dial"}}
        layout[f"xaxis{suffix}"] |= {"range": [-0.03, 1.03], "anchor": f"y{suffix}"}
        layout[f"yaxis{suffix}"] = {"anchor": f"x{suffix}"}
        layout["annotations"].append(_heading(title, left))
    layout["yaxis"]["rangemode"] = "tozero"
    layout["yaxis2"]["range"] = [0.5, 1.0]
    layout["margin"] = {**_MARGIN, "t": 64}
    return {"data": traces, "layout": layout}


def tokens_figure(table: Table, threshold: float) -> Figure:
    """A unit's activation on every token of a text, in reading order."""
    names = [
        f"{row}. {escape(str(token), quote=False)}"
        for row, token in zip(table.column("rank").cells, table.column("token").cells, strict=True)
    ]
    trace = {
        "type": "bar",
        "x": names,
        "y": list(table.column("activation").cells),
        "marker": {"color": TEAL},
        "hovertemplate": "%{x}: %{y:.3f}<extra></extra>",
    }
    layout = _layout(280)
    layout["xaxis"] = {"type": "category", "tickangle": -45}
    layout["yaxis"] = {"title": {"text": "activation"}}
    line = {"width": 2, "dash": "dot", "color": PINK}
    across = {"x0": 0, "x1": 1, "xref": "paper", "y0": threshold, "y1": threshold}
    layout["shapes"] = [{"type": "line", **across, "line": line}]
    layout["margin"] = {**_MARGIN, "t": 40}
    return {"data": [trace], "layout": layout}


_BELOW = {"orientation": "h", "x": 0, "xanchor": "left", "yanchor": "top"}


def _layout(height: int) -> dict[str, Any]:
    return {"height": height, "margin": _MARGIN, "legend": _LEGEND}


def _share(index: int, count: int, gap: float = 0.02) -> tuple[float, float]:
    """Left and right end of one of `count` panels, as shares of the width."""
    width = (1.0 - gap * (count - 1)) / count
    left = index * (width + gap)
    return left, min(1.0, left + width)


def _heading(text: str, left: float) -> dict[str, Any]:
    place = {"x": left, "xref": "paper", "xanchor": "left", "y": 1, "yref": "paper"}
    return {**place, "yanchor": "bottom", "text": text, "showarrow": False, "font": {"size": 14}}


def _rule(x: float) -> dict[str, Any]:
    line = {"width": 2, "dash": "dot", "color": PINK}
    return {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": line}

"""Figures drawn from tables: each one shows the values of its table and no others.

A figure is Plotly's own JSON, as plain dicts: building it from Plotly's classes took 35 ms more on
every release of the dial. Colours follow Okabe and Ito and hold on light and dark ground alike; no
line is told from another by its colour alone: dashes, patterns or labels say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from workbench.tables import Table

Figure = dict[str, Any]

BLUE, ORANGE, TEAL, PINK = "#3D8FC6", "#D98200", "#17878F", "#CC79A7"
GREYS = ("#6B747E", "#8F98A2", "#B4BBC3")  # from own position to sink
# Light where little is; each cell's number keeps its contrast on it.
SEQUENTIAL = [
    [0.0, "#f6f8f9"], [0.1, "#d3e8ea"], [0.3, "#93cbd2"], [0.5, "#4a9fbd"], [0.75, "#2b72ab"],
    [1.0, "#241f5e"],
]  # fmt: skip
MASSES = (  # column, legend, colour, pattern of the area
    ("semantic_share", "by block", TEAL, ""),
    ("self_share", "itself", GREYS[0], ""),
    ("previous_share", "previous", GREYS[1], ""),
    ("sink_share", "sink", GREYS[2], ""),
    ("other_share", "elsewhere", ORANGE, "/"),
)
LINES = (
    ("fidelity", "fidelity", TEAL, "solid"),
    ("entropy_normalised", "entropy / log₂ n", BLUE, "dash"),
    ("relevant_share", "keys relevant", GREYS[1], "dot"),
)
COST = ("bits_per_token", "this model", BLUE, "solid")
# Bottom and top of the three panels, as shares of the height.
_PANELS = ((0.685, 1.0), (0.33, 0.605), (0.0, 0.245))
_LEAST_SPAN = 0.2  # bits a token
_MOST_LABELLED = 12  # heads, beyond which numbers no longer fit their cells
MARGIN = {"l": 8, "r": 12, "t": 64, "b": 8}  # the buttons stand in the top margin


def config(name: str) -> dict[str, Any]:
    """Plotly's settings: a button that saves what is drawn as `name`.png, twice as fine."""
    return {
        "displaylogo": False,
        "displayModeBar": True,
        "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
        "toImageButtonOptions": {"format": "png", "filename": name, "scale": 2},
    }


def dial_figure(table: Table, dial: float) -> Figure:
    """Curves over the dial, `dial` marked: masses, then entropy and fidelity, then cost.

    Columns: dial, bits_per_token, and those of `MASSES` and `LINES`.
    """
    x = list(table.column("dial").cells)
    traces = [
        {
            "type": "scatter",
            "x": x,
            "y": list(table.column(key).cells),
            "name": name,
            "stackgroup": "masses",
            "mode": "lines",
            "line": {"width": 0.5, "color": colour},
            "fillcolor": colour,
            "fillpattern": {"shape": pattern, "size": 6, "solidity": 0.25},
            "hovertemplate": "%{y:.3f}",
        }
        for key, name, colour, pattern in MASSES
    ]
    traces += [line(x, table, *each, panel=2) for each in LINES]
    traces.append(line(x, table, *COST, panel=3))
    if dial in x:
        traces += [_mark(table, key, colour, x.index(dial), 2) for key, _, colour, _ in LINES]
        traces.append(_mark(table, COST[0], COST[2], x.index(dial), 3))
    layout: dict[str, Any] = {
        "height": 720,
        "hovermode": "x unified",
        "margin": MARGIN,
        "annotations": [
            *(
                panel_title(text, top)
                for (_, top), text in zip(
                    _PANELS,
                    ("Where attention goes", "How concentrated it is", "What it costs"),
                    strict=True,
                )
            ),
            {"x": dial, "y": 1, "yref": "paper", "text": f"dial {dial:g}", "yanchor": "bottom"}
            | {"showarrow": False},
        ],
        "shapes": [here(dial, low, high) for low, high in _PANELS],
    }
    titles = ("mean mass", "fraction", "bits a token")
    for number, ((low, high), title) in enumerate(zip(_PANELS, titles, strict=True), start=1):
        suffix = "" if number == 1 else str(number)
        layout[f"xaxis{suffix}"] = {"anchor": f"y{suffix}", "range": [0, 1], "matches": "x"}
        layout[f"yaxis{suffix}"] = {"domain": [low, high], "title": {"text": title}}
        layout[f"yaxis{suffix}"]["anchor"] = f"x{suffix}"
        layout[f"legend{suffix}"] = {"x": 1.01, "y": high, "yanchor": "top"}
    del layout["xaxis"]["matches"]
    layout["legend"]["traceorder"] = "reversed"
    layout["yaxis"]["range"], layout["yaxis2"]["range"] = [0, 1], [0, 1.02]
    layout["yaxis3"]["range"] = _span(table.column(COST[0]).cells)
    layout["xaxis3"]["title"] = {"text": "dial"}
    return {"data": traces, "layout": layout}


def next_token_figure(table: Table, dial: float) -> Figure:
    """The likeliest next tokens at the dial beside those at dial 0.

    Columns: token, probability, probability_dial_0.
    """
    # Plotly reads a few tags in labels: a token that spells one is to be seen, not obeyed.
    names = [escape(token, quote=False) for token in table.column("token").cells]
    bars = (
        ("probability", f"dial {dial:g}", BLUE, ""),
        ("probability_dial_0", "dial 0", GREYS[1], "/"),
    )
    traces = [
        {
            "type": "bar",
            "y": names,
            "x": list(table.column(key).cells),
            "name": name,
            "orientation": "h",
            "marker": {"color": colour, "pattern": {"shape": pattern, "solidity": 0.25}},
            "hovertemplate": "%{y}: %{x:.4f}",
        }
        for key, name, colour, pattern in bars
    ]
    layout = {
        "height": 60 + 34 * max(len(names), 3),
        "barmode": "group",
        "bargap": 0.25,
        "margin": MARGIN,
        "legend": {**LEGEND, "traceorder": "normal"},
        "xaxis": {"title": {"text": "probability"}, "rangemode": "tozero"},
        "yaxis": {"autorange": "reversed", "type": "category", "tickfont": {"family": "monospace"}},
    }
    return {"data": traces, "layout": layout}


def heads_figure(table: Table) -> Figure:
    """Mean mass on each class of keys (rows) in each head (columns): a heat map with its numbers.

    Columns: layer, head, and one of unit "mean mass" a class.
    """
    places = zip(table.column("layer").cells, table.column("head").cells, strict=True)
    heads = [f"L{layer} H{head}" for layer, head in places]
    classes = [column for column in table.columns if column.unit == "mean mass"]
    trace = {
        "type": "heatmap",
        "x": heads,
        "y": [column.title for column in classes],
        "z": [[float(cell) for cell in column.cells] for column in classes],
        "zmin": 0,
        "zmax": 1,
        "colorscale": SEQUENTIAL,
        "xgap": 1,
        "ygap": 1,
        "texttemplate": "%{z:.2f}" if len(heads) <= _MOST_LABELLED else "",
        "hovertemplate": "%{x}, keys of %{y}: %{z:.4f}<extra></extra>",
        "colorbar": {"title": {"text": "mass"}, "thickness": 12},
    }
    layout = {
        "height": 120 + 24 * len(classes),
        "margin": MARGIN,
        "xaxis": {"side": "top", "type": "category"},
        "yaxis": {"autorange": "reversed", "type": "category"},
    }
    return {"data": [trace], "layout": layout}


def beside_figure(table: Table, ours: str, dial: float) -> Figure:
    """Cost over the dial of two models. Columns: dial, bits_per_token, other_bits_per_token."""
    x = list(table.column("dial").cells)
    other = table.column("other_bits_per_token").title.removeprefix("cost of ")
    traces = [
        line(x, table, "bits_per_token", ours, BLUE, "solid"),
        line(x, table, "other_bits_per_token", other, ORANGE, "dash"),
    ]
    layout = {
        "height": 320,
        "hovermode": "x unified",
        "margin": MARGIN,
        "legend": LEGEND,
        "shapes": [here(dial)],
        "xaxis": {"range": [0, 1], "title": {"text": "dial"}},
        "yaxis": {"title": {"text": "bits a token"}, "range": _span(*(t["y"] for t in traces))},
    }
    return {"data": traces, "layout": layout}


LEGEND = {"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom"}


def line(
    x: Sequence[float], table: Table, key: str, name: str, colour: str, dash: str, panel: int = 1
) -> dict[str, Any]:
    """A column of a table over `x`, in the panel of that number."""
    return {
        "type": "scatter",
        "x": list(x),
        "y": list(table.column(key).cells),
        "name": name,
        "mode": "lines",
        "line": {"color": colour, "dash": dash, "width": 2.5},
        "hovertemplate": "%{y:.4f}",
        **_in(panel),
    }


def _mark(table: Table, key: str, colour: str, at: int, panel: int) -> dict[str, Any]:
    """The point of a line at the present dial, row `at` of the table."""
    return {
        "type": "scatter",
        "x": [table.column("dial").cells[at]],
        "y": [table.column(key).cells[at]],
        "mode": "markers",
        "marker": {"size": 9, "color": colour, "line": {"width": 1.5, "color": "#FFFFFF"}},
        "showlegend": False,
        "hoverinfo": "skip",
        **_in(panel),
    }


def _in(panel: int) -> dict[str, str]:
    suffix = "" if panel == 1 else str(panel)
    return {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "legend": f"legend{suffix}"}


def here(dial: float, low: float = 0.0, high: float = 1.0) -> dict[str, Any]:
    """The line at the present dial, between two shares of the height."""
    line = {"width": 2, "dash": "dot", "color": PINK}
    ends = {"x0": dial, "x1": dial, "yref": "paper", "y0": low, "y1": high}
    return {"type": "line", **ends, "line": line}


def _span(*costs: Sequence[float]) -> list[float]:
    """Range of an axis of costs: never so narrow that a hundredth of a bit looks like a cliff."""
    low, high = min(map(min, costs)), max(map(max, costs))
    middle, half = (low + high) / 2, max(1.1 * (high - low), _LEAST_SPAN) / 2
    return [middle - half, middle + half]


def panel_title(text: str, top: float) -> dict[str, Any]:
    """What stands above a panel; top: its upper edge, a share of the height."""
    place = {"x": 0, "xref": "paper", "xanchor": "left", "y": top, "yref": "paper"}
    return {**place, "yanchor": "bottom", "text": text, "showarrow": False, "font": {"size": 14}}

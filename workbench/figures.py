"""Figures drawn from tables: each one shows the values of its table and no others.

Colours follow Okabe and Ito and hold on light and dark ground alike; no line is told from another
by its colour alone: dashes, patterns or labels say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.tables import Table

if TYPE_CHECKING:
    import plotly.graph_objects as go

BLUE, ORANGE, GREEN, PINK = "#3D8FC6", "#D98200", "#14A37F", "#CC79A7"
GREYS = ("#7C8590", "#9AA2AC", "#B9BFC7")
# Sequential: light where little is, so that it reads on either ground by its cell text.
SEQUENTIAL = [
    [0.0, "#f6f8f9"], [0.1, "#d3e8ea"], [0.3, "#93cbd2"], [0.5, "#4a9fbd"], [0.75, "#2b72ab"],
    [1.0, "#241f5e"],
]  # fmt: skip
MASSES = (  # column, legend, colour, pattern of the area
    ("semantic_share", "by block", BLUE, ""),
    ("self_share", "itself", GREYS[0], ""),
    ("previous_share", "previous", GREYS[1], "/"),
    ("sink_share", "sink", GREYS[2], "."),
    ("other_share", "elsewhere", ORANGE, "x"),
)
LINES = (
    ("entropy_normalised", "entropy / log₂ n", PINK, "solid"),
    ("fidelity", "fidelity", GREEN, "dash"),
    ("relevant_share", "share of keys relevant", GREYS[1], "dot"),
)
_MARGIN = {"l": 8, "r": 12, "t": 34, "b": 8}


def config(name: str) -> dict[str, Any]:
    """Plotly's settings: a button that saves what is drawn as `name`.png, twice as fine."""
    return {
        "displaylogo": False,
        "displayModeBar": True,
        "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
        "toImageButtonOptions": {"format": "png", "filename": name, "scale": 2},
    }


def dial_figure(table: Table, dial: float) -> go.Figure:
    """Curves over the dial, `dial` marked: masses, then entropy and fidelity, then cost.

    Columns: dial, those of `MASSES` and `LINES`, nats_per_token, and twin_nats_per_token if there.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=3,
        shared_xaxes=True,
        vertical_spacing=0.09,
        row_heights=[0.38, 0.34, 0.28],
        subplot_titles=("Where attention goes", "How concentrated it is", "What it costs"),
    )
    x = list(table.column("dial").cells)
    for key, name, colour, pattern in MASSES:
        figure.add_trace(
            go.Scatter(
                x=x,
                y=list(table.column(key).cells),
                name=name,
                stackgroup="masses",
                mode="lines",
                line={"width": 0.5, "color": colour},
                fillcolor=colour,
                fillpattern={"shape": pattern, "size": 6, "solidity": 0.25},
                legend="legend",
                hovertemplate="%{y:.3f}",
            ),
            row=1,
            col=1,
        )
    for key, name, colour, dash in LINES:
        figure.add_trace(_line(x, table, key, name, colour, dash, "legend2"), row=2, col=1)
    figure.add_trace(
        _line(x, table, "nats_per_token", "this model", BLUE, "solid", "legend3"), row=3, col=1
    )
    if any(column.key == "twin_nats_per_token" for column in table.columns):
        figure.add_trace(
            _line(x, table, "twin_nats_per_token", "its twin", ORANGE, "dash", "legend3"),
            row=3,
            col=1,
        )
    figure.add_vline(x=dial, line={"width": 2, "dash": "dot", "color": PINK}, row="all", col="all")  # pyright: ignore[reportArgumentType]
    _mark(figure, table, dial)
    figure.update_xaxes(range=[0, 1], showticklabels=True)
    figure.update_xaxes(title_text="dial", row=3, col=1)
    figure.update_yaxes(title_text="mean mass", range=[0, 1], row=1, col=1)
    figure.update_yaxes(title_text="fraction", range=[0, 1.02], row=2, col=1)
    figure.update_yaxes(title_text="nats a token", row=3, col=1)
    for name, top in (("legend", 1.0), ("legend2", 0.64), ("legend3", 0.27)):
        figure.update_layout({name: _legend(top)})
    return figure.update_layout(height=720, hovermode="x unified", margin=_MARGIN)


def _mark(figure: go.Figure, table: Table, dial: float) -> None:
    """Points of the lines at the dial, where the dial is one of the table's values."""
    import plotly.graph_objects as go

    x = list(table.column("dial").cells)
    if dial not in x:
        return
    at = x.index(dial)
    marks = [(key, 2, colour) for key, _, colour, _ in LINES] + [("nats_per_token", 3, BLUE)]
    for key, row, colour in marks:
        figure.add_trace(
            go.Scatter(
                x=[dial],
                y=[table.column(key).cells[at]],
                mode="markers",
                marker={"size": 9, "color": colour, "line": {"width": 1.5, "color": "#FFFFFF"}},
                showlegend=False,
                hoverinfo="skip",
            ),
            row=row,
            col=1,
        )


def _line(
    x: Sequence[float], table: Table, key: str, name: str, colour: str, dash: str, legend: str
) -> go.Scatter:
    import plotly.graph_objects as go

    return go.Scatter(
        x=x,
        y=list(table.column(key).cells),
        name=name,
        mode="lines",
        line={"color": colour, "dash": dash, "width": 2.5},
        legend=legend,
        hovertemplate="%{y:.4f}",
    )


def _legend(top: float) -> dict[str, Any]:
    return {"orientation": "h", "x": 1, "xanchor": "right", "y": top, "yanchor": "bottom"}


def next_token_figure(table: Table, dial: float) -> go.Figure:
    """The likeliest next tokens at the dial beside those at dial 0.

    Columns: token, probability, probability_dial_0.
    """
    import plotly.graph_objects as go

    names = list(table.column("token").cells)
    bars = (
        ("probability", f"dial {dial:g}", BLUE, ""),
        ("probability_dial_0", "dial 0", GREYS[1], "/"),
    )
    figure = go.Figure(
        [
            go.Bar(
                y=names,
                x=list(table.column(key).cells),
                name=name,
                orientation="h",
                marker={"color": colour, "pattern": {"shape": pattern, "solidity": 0.25}},
                hovertemplate="%{y}: %{x:.4f}",
            )
            for key, name, colour, pattern in bars
        ]
    )
    figure.update_yaxes(autorange="reversed", type="category", tickfont={"family": "monospace"})
    figure.update_xaxes(title_text="probability", rangemode="tozero")
    return figure.update_layout(
        height=60 + 34 * max(len(names), 3),
        barmode="group",
        bargap=0.25,
        margin=_MARGIN,
        legend={**_legend(1.0), "traceorder": "normal"},
    )


def heads_figure(table: Table) -> go.Figure:
    """Mass a block draws (rows) in every head (columns): a heat map with its numbers in it.

    Columns: block, then one a head.
    """
    import plotly.graph_objects as go

    blocks = list(table.column("block").cells)
    heads = [column for column in table.columns if column.key != "block"]
    values = [[float(column.cells[row]) for column in heads] for row in range(len(blocks))]
    figure = go.Figure(
        go.Heatmap(
            x=[column.title for column in heads],
            y=blocks,
            z=values,
            zmin=0,
            zmax=1,
            colorscale=SEQUENTIAL,
            xgap=1,
            ygap=1,
            texttemplate="%{z:.2f}",
            hovertemplate="%{y}, %{x}: %{z:.4f}<extra></extra>",
            colorbar={"title": {"text": "mass"}, "thickness": 12},
        )
    )
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(side="top", type="category")
    return figure.update_layout(height=90 + 24 * len(blocks), margin=_MARGIN)

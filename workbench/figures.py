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
    from plotly.graph_objects import Figure  # noqa: F401 (pages name it)

BLUE, ORANGE, TEAL, PINK = "#3D8FC6", "#D98200", "#17878F", "#CC79A7"
GREYS = ("#6B747E", "#8F98A2", "#B4BBC3")  # from own position to sink
# Sequential: light where little is, so that it reads on either ground by its cell text.
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
_MOST_LABELLED = 12  # heads, beyond which numbers no longer fit their cells
_MARGIN = {"l": 8, "r": 12, "t": 64, "b": 8}  # the buttons stand in the top margin


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

    Columns: dial, bits_per_token, and those of `MASSES` and `LINES`.
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
        _line(x, table, "bits_per_token", "this model", BLUE, "solid", "legend3"), row=3, col=1
    )
    figure.add_vline(x=dial, line={"width": 2, "dash": "dot", "color": PINK}, row="all", col="all")  # pyright: ignore[reportArgumentType]
    _mark(figure, table, dial)
    figure.update_xaxes(range=[0, 1], showticklabels=True)
    figure.update_xaxes(title_text="dial", row=3, col=1)
    figure.update_yaxes(title_text="mean mass", range=[0, 1], row=1, col=1)
    figure.update_yaxes(title_text="fraction", range=[0, 1.02], row=2, col=1)
    figure.update_yaxes(title_text="bits a token", row=3, col=1)
    figure.update_annotations(x=0, xanchor="left", font={"size": 14})
    figure.add_annotation(
        x=dial, y=1, text=f"dial {dial:g}", showarrow=False, yanchor="bottom", row=1, col=1
    )
    for name, row in (("legend", 1), ("legend2", 2), ("legend3", 3)):
        top = next(figure.select_yaxes(row=row)).domain[1]
        figure.update_layout({name: {"x": 1.01, "y": top, "yanchor": "top"}})
    figure.update_layout(legend={"traceorder": "reversed"})
    return figure.update_layout(height=720, hovermode="x unified", margin=_MARGIN)


def _mark(figure: go.Figure, table: Table, dial: float) -> None:
    """Points of the lines at the dial, where the dial is one of the table's values."""
    import plotly.graph_objects as go

    x = list(table.column("dial").cells)
    if dial not in x:
        return
    at = x.index(dial)
    marks = [(key, 2, colour) for key, _, colour, _ in LINES] + [("bits_per_token", 3, BLUE)]
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
    """Mean mass on each class of keys (rows) in each head (columns): a heat map with its numbers.

    Columns: layer, head, and one of unit "mean mass" a class.
    """
    import plotly.graph_objects as go

    places = zip(table.column("layer").cells, table.column("head").cells, strict=True)
    heads = [f"L{layer} H{head}" for layer, head in places]
    classes = [column for column in table.columns if column.unit == "mean mass"]
    figure = go.Figure(
        go.Heatmap(
            x=heads,
            y=[column.title for column in classes],
            z=[[float(cell) for cell in column.cells] for column in classes],
            zmin=0,
            zmax=1,
            colorscale=SEQUENTIAL,
            xgap=1,
            ygap=1,
            texttemplate="%{z:.2f}" if len(heads) <= _MOST_LABELLED else None,
            hovertemplate="%{x}, keys of %{y}: %{z:.4f}<extra></extra>",
            colorbar={"title": {"text": "mass"}, "thickness": 12},
        )
    )
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(side="top", type="category")
    return figure.update_layout(height=120 + 24 * len(classes), margin=_MARGIN)


def beside_figure(table: Table, ours: str, dial: float) -> go.Figure:
    """Cost over the dial of two models. Columns: dial, bits_per_token, other_bits_per_token."""
    import plotly.graph_objects as go

    x = list(table.column("dial").cells)
    other = table.column("other_bits_per_token").title.removeprefix("cost of ")
    lines = (
        ("bits_per_token", ours, BLUE, "solid"),
        ("other_bits_per_token", other, ORANGE, "dash"),
    )
    figure = go.Figure([_line(x, table, *each, "legend") for each in lines])
    figure.add_vline(x=dial, line={"width": 2, "dash": "dot", "color": PINK})
    figure.update_xaxes(range=[0, 1], title_text="dial")
    figure.update_yaxes(title_text="bits a token")
    return figure.update_layout(
        height=320, hovermode="x unified", margin=_MARGIN, legend=_legend(1.0)
    )

"""Figures of the theory: bound and measurement side by side, and one row as bars."""

from __future__ import annotations

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
    here,
    line,
    panel_title,
)
from workbench.tables import Table

_GAP = "rgba(61, 143, 198, 0.18)"
_FILLS = ("rgba(23, 135, 143, 0.20)", "rgba(61, 143, 198, 0.20)")


def guarantee_figure(table: Table) -> Figure:
    """Fidelity and entropy over the dial: measured, guaranteed, and what lies between them.

    Dials at which a row passes its bound are marked by crosses; there should be none.
    """
    x = list(table.column("dial").cells)
    traces: list[dict[str, Any]] = []
    pairs = (
        ("fidelity_bound", "fidelity", TEAL, "guaranteed: at least", 1),
        ("entropy_bound", "entropy", BLUE, "guaranteed: at most", 2),
    )
    for bound, measured, colour, name, panel in pairs:
        lines = ((measured, "measured", "solid"), (bound, name, "dash"))
        for number, (key, label, dash) in enumerate(lines):
            trace = line(x, table, key, label, colour, dash, panel)
            if number == 1:
                trace |= {"fill": "tonexty", "fillcolor": _GAP}
            traces.append(trace)
    traces += _crosses(table, x)
    layout = _panels(("Fidelity", "Entropy"), ("mean fraction", "mean bits"))
    layout["yaxis"]["range"] = [0, 1.02]
    return {"data": traces, "layout": layout}


def set_figure(table: Table) -> Figure:
    """Means over rows or heads, guaranteed and measured, and the band of what was measured.

    Beside the band's edge that a bound is about, the same edge of the bounds: dotted. Dials at
    which a row passes its bound are marked by crosses; there should be none.
    """
    x = list(table.column("dial").cells)
    traces: list[dict[str, Any]] = []
    panels = (
        ("fidelity", TEAL, _FILLS[0], "low", "at least", 1),
        ("entropy", BLUE, _FILLS[1], "high", "at most", 2),
    )
    of = str(table.about["band"])
    for key, colour, fill, edge, promise, panel in panels:
        for side in ("low", "high"):
            trace = line(x, table, f"{key}_{side}", f"band of {of}", colour, "solid", panel)
            trace |= {"line": {"width": 0}, "showlegend": side == "high"}
            trace |= {"hovertemplate": "%{y:.4f}" + f" ({side} edge)"}
            if side == "high":
                trace |= {"fill": "tonexty", "fillcolor": fill}
            traces.append(trace)
        for name, words, dash in (
            (key, "measured, mean", "solid"),
            (f"{key}_bound", f"guaranteed, mean: {promise}", "dash"),
            (f"{key}_bound_{edge}", f"guaranteed, {edge} edge", "dot"),
        ):
            traces.append(line(x, table, name, words, colour, dash, panel))
    traces += _crosses(table, x)
    layout = _panels(("Fidelity", "Entropy"), ("fraction", "bits"), _APART)
    layout["yaxis"]["range"] = [0, 1.02]
    layout["height"] = 720
    for suffix, (low, _) in zip(("", "2"), _APART, strict=True):
        # Four names do not fit beside the panel's title on a narrow screen.
        layout[f"legend{suffix}"] = {
            **LEGEND, "y": low - 0.05 - 0.03 * bool(suffix), "yanchor": "top", "x": 0,
            "xanchor": "left",
        }  # fmt: skip
    return {"data": traces, "layout": layout}


def _crosses(table: Table, x: list[float]) -> list[dict[str, Any]]:
    """A cross at each dial where rows pass their bound; nothing where none do."""
    passed = [index for index, rows in enumerate(table.column("violations").cells) if rows > 0]
    if not passed:
        return []
    crosses = line(x, table, "fidelity", "bound passed", PINK, "solid", 1)
    crosses["x"], crosses["y"] = ([crosses[axis][i] for i in passed] for axis in "xy")
    marker = {"symbol": "x", "size": 12, "color": PINK}
    return [crosses | {"mode": "markers", "marker": marker}]


def sandbox_figure(table: Table, dial: float) -> Figure:
    """Off-block mass and entropy of the sandbox over the dial, bound and truth."""
    x = list(table.column("dial").cells)
    traces = [
        line(x, table, key, name, colour, dash, panel)
        for key, name, colour, dash, panel in (
            ("off_mass", "truth", ORANGE, "solid", 1),
            ("off_bound", "at most", ORANGE, "dash", 1),
            ("bits", "truth", BLUE, "solid", 2),
            ("bits_bound", "at most", BLUE, "dash", 2),
        )
    ]
    layout = _panels(("Mass outside the block", "Entropy"), ("fraction", "bits"))
    layout["yaxis"]["range"] = [0, 1.02]
    layout["shapes"] = [here(dial, low, high) for low, high in _DOMAINS]
    return {"data": traces, "layout": layout}


def row_figure(table: Table) -> Figure:
    """Weights of the sandbox's keys at dial 0 and at the dial. Columns: key, zero, now."""
    names = list(table.column("key").cells)
    bars = (("zero", "dial 0", GREYS[1], "/"), ("now", table.column("now").title, TEAL, ""))
    traces = [
        {
            "type": "bar",
            "x": names,
            "y": list(table.column(key).cells),
            "name": name,
            "marker": {"color": colour, "pattern": {"shape": shape, "solidity": 0.25}},
            "hovertemplate": "%{x}: %{y:.4f}",
        }
        for key, name, colour, shape in bars
    ]
    layout = {
        "height": 280,
        "barmode": "group",
        "margin": MARGIN,
        "legend": LEGEND,
        "xaxis": {"type": "category"},
        "yaxis": {"range": [0, 1.02], "title": {"text": "weight"}},
    }
    return {"data": traces, "layout": layout}


_DOMAINS = ((0.56, 1.0), (0.0, 0.4))
_APART = ((0.61, 1.0), (0.0, 0.37))  # with room for a legend of some lines in between


def _panels(
    titles: tuple[str, str],
    units: tuple[str, str],
    domains: tuple[tuple[float, float], ...] = _DOMAINS,
) -> dict[str, Any]:
    layout: dict[str, Any] = {
        "height": 560,
        "hovermode": "x unified",
        "margin": MARGIN,
        "annotations": [],
    }
    for number, ((low, high), title, unit) in enumerate(
        zip(domains, titles, units, strict=True), start=1
    ):
        suffix = "" if number == 1 else str(number)
        layout[f"xaxis{suffix}"] = {"anchor": f"y{suffix}", "range": [0, 1]}
        layout[f"yaxis{suffix}"] = {
            "domain": [low, high],
            "anchor": f"x{suffix}",
            "title": {"text": unit},
            "rangemode": "tozero",
        }
        layout[f"legend{suffix}"] = {**LEGEND, "y": high}
        layout["annotations"].append(panel_title(title, high))
    layout["xaxis2"]["title"] = {"text": "dial"}
    return layout

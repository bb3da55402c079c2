"""What a measure is held to, and how it is told: a row of a table, and the same as JSON."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.timing import Sample, Spread, milliseconds, ratios

FORMAT = 1
_PACKAGES = ("torch", "numpy", "transformer-lens", "streamlit", "playwright")
_WIDTHS = {
    "": 1,
    "measure": 62,
    "shape": 10,
    "figure": 8,
    "quartiles": 13,
    "by CPU": 7,  # the ratio of CPU times: far from the figure, something else ran beside it
    "goal": 6,
    "met": 7,
}


@dataclass(frozen=True)
class Goal:
    """A limit that the figure may not pass: an upper one, or a lower one."""

    limit: float
    at_most: bool = True

    def met(self, figure: float) -> bool:
        return figure <= self.limit if self.at_most else figure >= self.limit

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.limit:g}"


@dataclass(frozen=True)
class Row:
    """One measure. unit: of figure, low, high (quartiles) and goal; "x" for a ratio.

    figure: None where there is nothing to measure yet, and `note` says what is missing. details:
    what the figure was made from, numbers with their unit in the name.
    """

    suite: str
    measure: str
    shape: str
    unit: str
    figure: float | None = None
    low: float | None = None
    high: float | None = None
    goal: Goal | None = None
    runs: int = 0
    note: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is no goal or no figure."""
        return None if self.goal is None or self.figure is None else self.goal.met(self.figure)

    def to_dict(self) -> dict[str, Any]:
        return {
            "suite": self.suite,
            "measure": self.measure,
            "shape": self.shape,
            "unit": self.unit,
            "figure": _rounded(self.figure),
            "low": _rounded(self.low),
            "high": _rounded(self.high),
            "goal": None if self.goal is None else str(self.goal),
            "met": self.met,
            "runs": self.runs,
            "note": self.note,
            "details": {key: _rounded(value) for key, value in self.details.items()},
        }


def ratio_row(
    suite: str,
    measure: str,
    shape: str,
    above: Sequence[Sample],
    below: Sequence[Sample],
    goal: Goal | None = None,
    note: str = "",
    details: Mapping[str, Any] | None = None,
) -> Row:
    """Time of `above` over time of `below`; the ratio of CPU times stands beside it.

    On a machine with nothing else to do the two ratios agree.
    """
    spread, each = ratios(above, below)
    cpu, _ = ratios(above, below, "cpu")
    found = {
        "ratio_of_cpu_times": cpu.median,
        "above_ms": milliseconds(above),
        "below_ms": milliseconds(below),
        "ratios": [round(value, 4) for value in each],
        **(details or {}),
    }
    numbers = (spread.median, spread.low, spread.high)
    return Row(suite, measure, shape, "x", *numbers, goal, len(each), note, found)


def spread_row(
    suite: str, measure: str, shape: str, unit: str, values: Sequence[float], **more: Any
) -> Row:
    """The median of values, with quartiles."""
    spread = Spread.of(values)
    return Row(suite, measure, shape, unit, spread.median, spread.low, spread.high, **more)


def header() -> str:
    """The table's first line."""
    return _line(*_WIDTHS)


def line(row: Row) -> str:
    """The row as a line of the table."""
    if row.figure is None:
        return _line(row.suite, row.measure, row.shape, "–", row.note)
    figure = f"{row.figure:.3g} {row.unit}" if row.unit != "x" else f"{row.figure:.3f} x"
    spread = "" if row.low is None or row.high is None else f"{row.low:.3g} – {row.high:.3g}"
    met = {True: "met", False: "NOT MET", None: ""}[row.met]
    goal = "" if row.goal is None else str(row.goal)
    cpu = row.details.get("ratio_of_cpu_times")
    by_cpu = "" if cpu is None else f"{cpu:.3f}"
    told = _line(row.suite, row.measure, row.shape, figure, spread, by_cpu, goal, met)
    return f"{told}  {row.note}".rstrip()


def document(rows: Iterable[Row], subject: str, load: float, chromium: str = "") -> dict[str, Any]:
    """Everything as JSON: the rows, and what they were measured with; no name of the machine.

    load: the load average before anything was measured; with 0 nothing else ran.
    """
    versions = {"python": platform.python_version(), "chromium": chromium or None}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    import torch

    return {
        "format": FORMAT,
        "subject": subject,
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "load_average": round(load, 2),
        "versions": versions,
        "rows": [row.to_dict() for row in rows],
    }


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """What the processor calls itself."""
    if cpuinfo.is_file():
        for entry in cpuinfo.read_text(encoding="utf-8").splitlines():
            key, _, value = entry.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Into the file, or to standard output where it is called "-"."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    if path == Path("-"):
        sys.stdout.write(text)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _line(*cells: str) -> str:
    widths = list(_WIDTHS.values())
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    return " ".join(padded).rstrip()


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value

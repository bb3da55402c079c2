"""How the dial acts, as a person chose it: values without torch, so that a page paints early."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from model.errors import DialError

if TYPE_CHECKING:
    from model.locality.dial import Schedule

SCHEDULES = ("uniform", "progressive", "hand")
LARGEST_BETA = 100.0
LARGEST_FACTOR = 1000.0  # of gain and temperature
DEFAULT_DIAL = 0.5
GAIN = 4.0

Kind = Literal["uniform", "progressive", "hand"]
Weights = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Choices:
    """Schedule, gain and temperature of `model.locality.dial`, with its ranges.

    beta counts in a progressive schedule only; weights [layer][head] in a hand-set one only.
    """

    kind: str = "uniform"
    beta: float = 1.0
    weights: Weights | None = None
    gain: float = GAIN
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in SCHEDULES:
            raise DialError(
                "Schedule", self.kind, "no such kind", f"Choose one of {', '.join(SCHEDULES)}"
            )
        if (self.kind == "hand") != (self.weights is not None):
            raise DialError(
                "Schedule weights",
                self.weights,
                "belong to a hand-set schedule, and only there",
                "Give a row of weights a layer with 'hand', else none",
            )
        check("Schedule beta", self.beta, 0.0, LARGEST_BETA)
        for row in self.weights or ():
            for weight in row:
                check("Schedule weight", weight, 0.0, 1.0)
        check("Gain", self.gain, 0.0, LARGEST_FACTOR, open_below=True)
        check("Temperature", self.temperature, 0.0, LARGEST_FACTOR, open_below=True)

    def fits(self, n_layers: int, n_heads: int) -> bool:
        """Whether hand-set weights, if any, have a row a layer and a number a head."""
        rows = self.weights
        return rows is None or (len(rows) == n_layers and {len(row) for row in rows} == {n_heads})

    def schedule(self) -> Schedule:
        """The schedule of the science; imports torch."""
        from model.locality.dial import Schedule

        beta = self.beta if self.kind == "progressive" else 1.0
        return Schedule(cast("Kind", self.kind), beta, self.weights)

    def describe(self) -> str:
        """One line for a caption, e.g. "progressive β 2, gain 4, temperature 1"."""
        kind = f"progressive β {self.beta:g}" if self.kind == "progressive" else self.kind
        return f"{kind}, gain {self.gain:g}, temperature {self.temperature:g}"


def check(name: str, value: Any, low: float, high: float, open_below: bool = False) -> float:
    """The number itself if it lies in [low, high], or (low, high]; else DialError."""
    number = not isinstance(value, bool) and isinstance(value, (int, float))
    if not (number and math.isfinite(value) and low <= value <= high) or (
        open_below and value == low
    ):
        span = f"{'(' if open_below else '['}{low:g}, {high:g}]"
        raise DialError(name, value, f"must lie in {span}", "Choose such a number")
    return float(value)

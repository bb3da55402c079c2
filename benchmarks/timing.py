"""How a comparison is taken: all sides in turn, A B A B, and the ratio of each turn on its own.

A machine that others use slows down and recovers; neighbours in time share that, distant runs do
not. So ratios are taken turn by turn, and their median and quartiles are reported.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

FEWEST_RUNS = 7


@dataclass(frozen=True)
class Sample:
    """One run: seconds on the wall, and of this process's CPU time (all its threads)."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of some values."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """ValueError when there are none."""
        ordered = sorted(values)
        if not ordered:
            raise ValueError("A spread of no values: run the measure at least once")
        return cls(statistics.median(ordered), quantile(ordered, 0.25), quantile(ordered, 0.75))


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which that share of all lies, between neighbours by their distance."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below, above = math.floor(place), math.ceil(place)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def in_turn(
    calls: Mapping[str, Callable[[], object]], runs: int = FEWEST_RUNS
) -> dict[str, list[Sample]]:
    """Every call `runs` times, in turn, after one turn that is thrown away.

    ValueError below seven runs: fewer say too little of their spread.
    """
    if runs < FEWEST_RUNS:
        raise ValueError(f"{runs} runs are too few: take at least {FEWEST_RUNS}")
    found: dict[str, list[Sample]] = {name: [] for name in calls}
    gc.collect()
    gc.disable()
    try:
        for turn in range(runs + 1):
            for name, call in calls.items():
                wall, cpu = time.perf_counter(), time.process_time()
                call()
                taken = Sample(time.perf_counter() - wall, time.process_time() - cpu)
                if turn:
                    found[name].append(taken)
    finally:
        gc.enable()
    return found


def ratios(
    above: Sequence[Sample], below: Sequence[Sample], clock: str = "wall"
) -> tuple[Spread, list[float]]:
    """Time of `above` over that of `below`, turn by turn: median with quartiles, and each."""
    each = [getattr(a, clock) / getattr(b, clock) for a, b in zip(above, below, strict=True)]
    return Spread.of(each), each


def milliseconds(samples: Sequence[Sample]) -> float:
    """Median time on the wall."""
    return 1e3 * statistics.median(sample.wall for sample in samples)

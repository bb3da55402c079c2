"""How a measure is taken: the median of repeated runs of one call, in milliseconds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Median and fastest of `runs` runs, milliseconds of wall time."""

    name: str
    median_ms: float
    fastest_ms: float
    runs: int

    def line(self) -> str:
        """One row of the printed table."""
        return f"{self.name:48} {self.median_ms:9.1f} {self.fastest_ms:9.1f} {self.runs:5}"


HEADER = f"{'measure':48} {'median ms':>9} {'best ms':>9} {'runs':>5}"


def timed(name: str, call: Callable[[], object], budget_s: float = 1.0) -> Timing:
    """Times `call` after one run that is thrown away, at least 5 times and for about `budget_s`."""
    call()
    taken: list[float] = []
    while len(taken) < 5 or sum(taken) < budget_s:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return Timing(name, 1e3 * statistics.median(taken), 1e3 * min(taken), len(taken))

"""The stopwatch counts what it should, and the measures run on the code as it is."""

from __future__ import annotations

import time

from benchmarks import forward
from benchmarks.timing import HEADER, timed


def test_the_first_run_is_thrown_away_and_the_median_kept():
    naps = iter([0.2, 0.001, 0.02, 0.02, 0.02, 0.06])
    timing = timed("naps", lambda: time.sleep(next(naps)), budget_s=0.0)
    assert timing.runs == 5
    assert 1 <= timing.fastest_ms < 15
    assert 20 <= timing.median_ms < 60
    assert len(timing.line()) == len(HEADER)


def test_the_first_measure_runs():
    timing = next(forward.measures())
    assert timing.name == "forward, no dial, 64 tokens"
    assert 0 < timing.fastest_ms <= timing.median_ms

"""`python -m benchmarks`: every measure, one line each."""

from __future__ import annotations

import torch

from benchmarks import forward
from benchmarks.timing import HEADER

SUITES = (forward,)

if __name__ == "__main__":
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {torch.get_default_dtype()}"
    )
    print(HEADER)
    for suite in SUITES:
        for timing in suite.measures():
            print(timing.line(), flush=True)

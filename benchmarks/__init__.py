"""Speed measures; `python -m benchmarks` prints them all."""

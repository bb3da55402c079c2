"""Speed and memory measures; `python -m benchmarks` prints them all."""

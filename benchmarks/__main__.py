"""`python -m benchmarks [a b c d e f]`: measures of speed, each beside a peer or held to a limit.

a  a sweep of dial values         b  forward pass with the dial   c  training with the dial
d  dragging the dial in Chromium  e  first paint of the page
f  audits of prompts

Prints a table; a run of all six also writes benchmarks/results/latest.json. Meant for a machine
with nothing else to do: the load average is written down too.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from benchmarks import audit, drag, first_paint, forward, sweep, training
from benchmarks.report import Row, document, header, line, write
from benchmarks.served import chromium_version
from benchmarks.subject import Subject, subject
from benchmarks.timing import FEWEST_RUNS

SUITES: dict[str, Callable[[Subject, int], Iterator[Row]]] = {
    "a": sweep.rows,
    "b": forward.rows,
    "c": training.rows,
    "d": drag.rows,
    "e": first_paint.rows,
    "f": audit.rows,
}
LATEST = Path(__file__).parent / "results" / "latest.json"


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """What was asked for: suites in their order, runs, threads, and where the JSON goes."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "suites", nargs="*", help="a, b, c, d, e or f; all without", metavar="SUITE"
    )
    parser.add_argument("--runs", type=int, default=FEWEST_RUNS + 4, help="turns of each measure")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--json", type=Path, help="where the rows go; '-' for standard output")
    options = parser.parse_args(given)
    unknown = sorted(set(options.suites) - set(SUITES))
    if unknown:
        parser.error(f"no such suite: {', '.join(unknown)}; choose from {', '.join(SUITES)}")
    if options.runs < FEWEST_RUNS:
        parser.error(f"--runs {options.runs} is too few: take at least {FEWEST_RUNS}")
    options.suites = [name for name in SUITES if name in options.suites] or list(SUITES)
    if options.json is None and options.suites == list(SUITES):
        options.json = LATEST
    return options


def main(given: Sequence[str]) -> int:
    """Measure, print each row as soon as it stands, and write them all; 0 whatever they say."""
    options = arguments(given)
    torch.set_num_threads(options.threads)
    out = sys.stderr if options.json == Path("-") else sys.stdout
    measured = subject()
    load = os.getloadavg()[0]
    print(f"{measured.label}; torch {torch.__version__}, {options.threads} thread(s)", file=out)
    print(f"load average {load:.2f}", file=out)
    print(header(), file=out, flush=True)
    rows: list[Row] = []
    for name in options.suites:
        for row in SUITES[name](measured, options.runs):
            rows.append(row)
            print(line(row), file=out, flush=True)
    if options.json is not None:
        write(options.json, document(rows, measured.label, load, chromium_version()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

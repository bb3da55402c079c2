"""`examples`: compute the examples that a page shows before torch is loaded."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from workbench.examples import BUNDLED, write_examples
from workbench.models import open_model


def add_to(commands: Any) -> None:
    """Add the subcommand to an argparse collection of them."""
    command = commands.add_parser(
        "examples",
        help="compute the examples that paint at once",
        description="Write sample_data/examples/ anew; needed after the bundled model has changed.",
    )
    command.add_argument("--model", default=BUNDLED, metavar="M", help=f"a model ({BUNDLED})")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """(stream, text) pairs: one line a file."""
    for path in write_examples(open_model(options.model, "cpu"), options.model):
        yield "out", f"{path.name} {path.stat().st_size:,} bytes"

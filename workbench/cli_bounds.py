"""`bounds`: every bound of a model on a text, joined with what the model did, over dial values."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from typing import Any

from workbench.cli_output import add_json, write_json
from workbench.cli_sweep import add_reading, reading

DIALS = "0,0.5,0.9,1"


def add_to(commands: Any) -> None:
    """Add the subcommand to an argparse collection of them."""
    command = commands.add_parser(
        "bounds",
        help="hold a model against its bounds on a text",
        description="One text a line, cut into windows as `sweep` does. Writes, for each bound, "
        "dial value, layer and head, whether it holds in every row, and bound, measurement and "
        "slack of the worst one.",
    )
    add_reading(command, DIALS)
    add_json(command, "the checks", required=True)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """(stream, text) pairs; input is checked before anything is loaded."""
    asked = reading(options)
    from workbench.check_rows import ASSUMPTIONS
    from workbench.checks import check_texts

    checks = check_texts(**asked)
    entries = [check.to_dict() for check in checks]
    data = {"model": options.model, "assumptions": ASSUMPTIONS, "checks": entries}
    yield from write_json(options.json, data)
    counts = Counter(check.status for check in checks)
    yield "err", ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))

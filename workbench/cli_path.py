"""`path`: the regularisation path of a group-sparse model, stored with it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any


def add_to(commands: Any) -> None:
    """Add the subcommand to an argparse collection of them."""
    command = commands.add_parser(
        "path",
        help="trace a group-sparse model's regularisation path",
        description="Solves the certificate's problem on fewer tokens at other strengths, from the "
        "model's own outward, measures each point on test text, and stores the path in the model "
        "directory. Minutes a point.",
    )
    command.add_argument("model", metavar="M", help="a name that `models` lists")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """(stream, text) pairs."""
    from workbench.path import PathPoint, trace_path

    for event in trace_path(options.model):
        if isinstance(event, PathPoint):
            data = event.data
            yield (
                "err",
                f"{event.number}/{event.points}: strength {data['strength']:.4g}, KKT residual "
                f"{data['kkt_residual']:.2e}, {data['zero_share']:.1%} zero, perplexity "
                + ", ".join(f"{row['perplexity']:.2f} at {row['dial']:g}" for row in data["dials"]),
            )
        else:
            yield "out", f"{options.model} {event.content_hash}"

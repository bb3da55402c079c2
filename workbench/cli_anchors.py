"""`anchors`: membership by anchors alone on held-out words, beside what is simpler."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from model.errors import AnchorError
from workbench.cli_output import add_json, check_output, write_json
from workbench.models import open_model


def add_to(commands: Any) -> None:
    """Add the subcommand to an argparse collection of them."""
    command = commands.add_parser(
        "anchors",
        help="design anchors and score membership by them on held-out words",
        description="Splits the dictionary's content words by type, designs and fits anchors on "
        "one part, selects the hook on another, and scores the blocks of the third, beside the "
        "most frequent block and the nearest class mean.",
    )
    command.add_argument("--model", required=True, metavar="M", help="a name that `models` lists")
    command.add_argument("--seed", type=int, default=1, metavar="S", help="of the split (1)")
    add_json(command, "the scores", required=True)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """(stream, text) pairs; input is checked before anything is loaded."""
    if options.seed < 0:
        raise AnchorError("Seed", options.seed, "must be at least 0", "Choose such an integer")
    check_output(options.json)
    model = open_model(options.model, "cpu")

    from workbench.anchors import evaluate_anchors

    result = evaluate_anchors(model, options.seed)
    data = {"model": options.model, "content_hash": model.content_hash, **result}
    yield from write_json(options.json, data)
    for name in ("anchors", "majority", "nearest_mean"):
        row = result[name]
        yield (
            "err",
            f"{name}: accuracy {row['accuracy']:.3f}, macro-F1 {row['macro_f1']:.3f}, "
            f"{row['information_bits']:.3f} of {row['entropy_bits']:.3f} bits, "
            f"error {row['error']:.3f} ≥ {row['fano_bound']:.3f}",
        )

"""`certify`: a model's certificate, computed again from weights and data alone."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from model.errors import CheckpointError
from workbench.cli_output import add_json, check_output, write_json


def add_to(commands: Any) -> None:
    """Add the subcommand to an argparse collection of them."""
    command = commands.add_parser(
        "certify",
        help="verify a model's certificate from weights and data",
        description="Computes KKT residual, zeros, alpha_max and the pool's share of the scores of "
        "a group-sparse model again, and says where they differ from its certificate.",
    )
    command.add_argument("model", metavar="M", help="a name that `models` lists")
    add_json(command, "the certificate as found", required=True)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """(stream, text) pairs; CheckpointError, hence exit code 2, where the two differ."""
    check_output(options.json)
    from workbench.certify import certify

    found, said = certify(options.model)
    yield from write_json(options.json, found)
    yield (
        "err",
        f"KKT residual {found['kkt_residual']:.2e}, {found['zero_group_share']:.1%} of "
        f"{found['groups']} groups zero, alpha {found['alpha_over_alpha_max']:.3g} of alpha_max, "
        f"{found['pool_score_share']:.3f} of the score variance through the pool",
    )
    if said:
        raise CheckpointError(
            "Certificate",
            "; ".join(said),
            "differs from what weights and data give",
            "Do not rely on it; restore the model directory, or make the model again",
        )
    yield "err", "agrees with the stored certificate"

"""`sparsify`: a trained model becomes a group-sparse one, with its certificate."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from model.training.sparse_presets import SPARSE_PRESETS, sparse_preset
from workbench.cli_train import describe
from workbench.devices import CHOICES

_ABOUT = """Learn under the group penalty, close to a stationary point, certify, write a directory.

Without --ship the model goes to the store. State is saved as it goes: after a kill, the same
command with --resume goes on.

presets:
"""


def add_to(commands: Any) -> None:
    """Add the subcommand to an argparse collection of them."""
    presets = "\n".join(f"  {p.name:14} {p.description}" for p in SPARSE_PRESETS.values())
    command = commands.add_parser(
        "sparsify",
        help="make a group-sparse model and its certificate",
        description=_ABOUT + presets,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("preset", metavar="PRESET", help="one of: " + ", ".join(SPARSE_PRESETS))
    command.add_argument("--out", metavar="NAME", help="name of the model (PRESET-sSEED)")
    command.add_argument("--ship", action="store_true", help="write to sample_data/models/NAME")
    command.add_argument("--overwrite", action="store_true", help="replace a model of that name")
    command.add_argument("--resume", action="store_true", help="go on from the last state")
    command.add_argument("--base", metavar="M", help="the trained model to start from")
    command.add_argument("--seed", type=int, help="seed of batches, dial values and objective")
    command.add_argument("--strength", type=float, help="alpha over the start's alpha_max, 0 to 1")
    command.add_argument("--tokens", type=int, metavar="N", help="tokens of the learning phase")
    command.add_argument("--device", default="auto", help=", ".join(CHOICES) + " (auto)")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Progress lines for stderr; at the end name and hash of the model for stdout."""
    from workbench.recipes import recipe_with

    preset = sparse_preset(options.preset)
    changes = {"seed": options.seed, "total_tokens": options.tokens}
    given = {name: value for name, value in changes.items() if value is not None}
    preset = replace(preset, phase=recipe_with(preset.phase, given))
    if options.base is not None:
        preset = replace(preset, base=options.base)
    if options.strength is not None:
        preset = replace(preset, strength=options.strength)
    default = preset.name if options.ship else f"{preset.name}-s{preset.phase.seed}"

    from workbench.sparse import job_of, run_sparse
    from workbench.training import Written

    job = job_of(
        preset,
        options.out or default,
        device=options.device,
        shipped=options.ship,
        overwrite=options.overwrite,
    )
    for event in run_sparse(job, options.resume):
        if isinstance(event, Written):
            yield "out", f"{job.name} {event.content_hash} {event.directory}"
        else:
            text = describe(event) or _describe(event)
            if text:
                yield "err", text


def _describe(event: object) -> str:
    from workbench.closing import Closed, ClosingStep
    from workbench.sparse import Committed

    if isinstance(event, Committed):
        return (
            f"{event.committed} of {event.d_model} dimensions are committed; "
            f"alpha {event.alpha:.3g} of alpha_max {event.alpha_max:.3g} at the start"
        )
    if isinstance(event, ClosingStep):
        return (
            f"closing, round {event.round}: {event.evaluations:4} gradients, objective "
            f"{event.objective:.6f} nats, KKT residual {event.residual:.2e}, {event.alive} alive"
        )
    if isinstance(event, Closed):
        return f"closed: {event.reason}, KKT residual {event.residual:.2e}"
    return ""

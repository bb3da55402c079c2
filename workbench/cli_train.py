"""`train`: a preset becomes a model directory."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from model.errors import LocalistError
from model.training.presets import PRESETS, preset
from workbench.devices import CHOICES
from workbench.recipes import recipe_with
from workbench.training import Job, Prepared, Written, run_training

_ABOUT = """Train a model on the WordNet glosses in sample_data/ and write a model directory.

Without --ship the model goes to the store (runs/models, or $LOCALIST_STORE/models) and is listed by
`python -m workbench models`. State is saved every 500 steps: after a kill, the same command with
--resume goes on, and ends in the same weights, bit for bit.

presets:
"""


def add_to(commands: Any) -> None:
    """Add the subcommand to an argparse collection of them."""
    presets = "\n".join(f"  {p.name:14} {p.description}" for p in PRESETS.values())
    command = commands.add_parser(
        "train",
        help="train a model from a preset",
        description=_ABOUT + presets,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("preset", metavar="PRESET", help="one of: " + ", ".join(PRESETS))
    command.add_argument("--out", metavar="NAME", help="name of the model (PRESET-sSEED)")
    command.add_argument("--ship", action="store_true", help="write to sample_data/models/NAME")
    command.add_argument("--overwrite", action="store_true", help="replace a model of that name")
    command.add_argument("--resume", action="store_true", help="go on from the last snapshot")
    command.add_argument("--seed", type=int, help="seed of weights, batches and dial values")
    command.add_argument("--tokens", type=int, metavar="N", help="training tokens in all")
    command.add_argument("--device", default="auto", help=", ".join(CHOICES) + " (auto)")
    command.add_argument("--threads", type=int, help="CPU threads; another number, other bits")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other value of the preset, such as relevant_share=0.3; may be repeated",
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Progress lines for stderr; at the end name and hash of the model for stdout."""
    recipe = recipe_with(preset(options.preset), _changes(options))
    name = options.out or (recipe.name if options.ship else f"{recipe.name}-s{recipe.seed}")
    job = Job(recipe, name, options.device, options.ship, options.overwrite)
    for event in run_training(job, resume=options.resume):
        if isinstance(event, Written):
            yield "out", f"{name} {event.content_hash} {event.directory}"
        else:
            text = describe(event)
            if text:
                yield "err", text


def describe(event: object) -> str:
    """One line for a person, or nothing."""
    from model.training.loop import Discovered, Evaluated, Progress

    if isinstance(event, Prepared):
        start = f", going on after step {event.step}" if event.step else ""
        return (
            f"{event.steps} steps of {event.batch_tokens} tokens, "
            f"{event.parameters:,} parameters, {event.training_tokens:,} tokens of text, "
            f"{event.device}, {event.precision}{start}"
        )
    if isinstance(event, Progress):
        left = (event.steps - event.step) * event.tokens / event.step / event.tokens_per_second
        return (
            f"step {event.step:6}/{event.steps}  {event.tokens / 1e6:7.2f} M tokens  "
            f"loss {event.loss:.4f} nats  {event.tokens_per_second:,.0f} tokens/s  "
            f"{_duration(left)} left"
        )
    if isinstance(event, Discovered):
        return f"step {event.step}: reads discovered, from here on the dial moves"
    if isinstance(event, Evaluated):
        return "\n".join(
            f"  validation, dial {e.dial:g}: {e.nats_per_token:.4f} nats"
            + "".join(f"  {key} {value:.3f}" for key, value in e.measures.items())
            for e in event.evaluations
        )
    return ""


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for assignment in options.set:
        name, sign, value = assignment.partition("=")
        if not sign:
            raise LocalistError("Setting", assignment, "must be NAME=VALUE", "Put a '=' between")
        changes[name] = value
    for name, value in (
        ("seed", options.seed),
        ("total_tokens", options.tokens),
        ("threads", options.threads),
    ):
        if value is not None:
            changes[name] = value
    return changes


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"

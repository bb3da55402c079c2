"""`models`: what there is to open."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from workbench.cli_output import add_json, write_json
from workbench.models import ModelCard, list_models


def add_to(commands: Any) -> None:
    """Add the subcommand to an argparse collection of them."""
    command = commands.add_parser(
        "models",
        help="list the models",
        description="List the models that ship and those in the store; broken ones say why.",
    )
    add_json(command, "the list")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """(stream, text) pairs: one line a model, or one JSON document."""
    cards = list_models()
    if options.json:
        yield from write_json(options.json, {"models": [asdict(card) for card in cards]})
        return
    for card in cards:
        yield "out", line(card)
    if not cards:
        yield "err", "no models yet: `python -m workbench train trial` makes one in a few minutes"


def line(card: ModelCard) -> str:
    """One line of the list."""
    if card.error:
        return f"{card.name:20} BROKEN  {card.error}"
    return (
        f"{card.name:20} {card.short_hash}  {card.n_layers} layers × {card.n_heads} heads  "
        f"{card.n_params / 1e6:.2f} M parameters  {card.trained_tokens / 1e6:.1f} M tokens  "
        f"{card.bytes / 1e6:.1f} MB  {card.description}"
    )

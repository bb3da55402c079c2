"""Presets with changes: checked before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, get_args

from model.errors import LocalistError
from model.training.presets import PartitionKind, Preset, ReadsKind

_WORDS = {
    "partition": get_args(PartitionKind),
    "reads": get_args(ReadsKind),
    "precision": ("fp32", "bf16"),
}
_POSITIONS = ("self", "previous", "sink")  # what `allowances` may name
_MAY_BE_ZERO = ("discovery_tokens", "long_every", "warmup_steps", "seed")


def recipe_with(recipe: Preset, changes: Mapping[str, Any]) -> Preset:
    """A preset with some values changed; LocalistError on an unknown name or a wrong value.

    Values may be text. A new `total_tokens` alone keeps the share of the discovery phase.
    """
    kinds = {f.name: type(getattr(recipe, f.name)) for f in fields(Preset)}
    checked = dict(changes)
    for name, value in changes.items():
        if name not in kinds or name in ("name", "description"):
            raise LocalistError(
                "Setting", name, f"must be one of {', '.join(sorted(kinds))}", "Correct the name"
            )
        checked[name] = _converted(name, value, kinds[name])
    tokens = checked.get("total_tokens")
    if tokens is not None and "discovery_tokens" not in checked:
        checked["discovery_tokens"] = recipe.discovery_tokens * tokens // recipe.total_tokens
    changed = replace(recipe, **checked)
    if changed.steps < 1:
        raise LocalistError(
            "Setting total_tokens",
            changed.total_tokens,
            f"must fill at least one batch of {changed.batch_tokens}",
            "Train on more tokens",
        )
    longest = changed.length * (4 if changed.long_every else 1)
    if longest > changed.n_ctx:
        raise LocalistError(
            "Setting length",
            changed.length,
            f"makes rows of {longest} tokens, and the model reads at most {changed.n_ctx}",
            "Lower length, raise n_ctx, or set long_every=0",
        )
    return changed


def _converted(name: str, value: Any, kind: type) -> Any:
    if kind is tuple:
        return _names(name, value)
    try:
        found = {"true": True, "false": False}[str(value).lower()] if kind is bool else kind(value)
    except (KeyError, ValueError) as error:
        raise LocalistError(
            f"Setting {name}", value, f"must be a {kind.__name__}", "Correct the value"
        ) from error
    if name in _WORDS and found not in _WORDS[name]:
        raise LocalistError(
            f"Setting {name}", value, f"must be one of {', '.join(_WORDS[name])}", "Choose one"
        )
    if kind in (int, float):
        low = 0 if kind is float or name in _MAY_BE_ZERO else 1
        if not (math.isfinite(found) and found >= low):
            raise LocalistError(
                f"Setting {name}", value, f"must be a number from {low} on", "Correct the value"
            )
    return found


def _names(name: str, value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    found = tuple(part.strip() for part in parts if part.strip())
    if len(set(found)) < len(found) or not set(found) <= set(_POSITIONS):
        raise LocalistError(
            f"Setting {name}",
            value,
            f"must be different ones of {', '.join(_POSITIONS)}, with commas between",
            "Correct the value",
        )
    return found

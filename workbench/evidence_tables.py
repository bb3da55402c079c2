"""Tables of an evidence bundle: what results.json says, a row a token, block, removal, bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from workbench.tables import Column, Table

_FRACTION, _BITS = "fraction", "bits"
# key -> (title, unit), in the order of the columns; what a bundle lacks (redaction) is left out.
_TOKENS = {
    "position": ("position", ""),
    "token": ("token", ""),
    "status": ("status", ""),
    "block": ("block", ""),
    "score": ("score", _FRACTION),
    "margin": ("margin", _FRACTION),
    "surprisal_bits": ("surprisal", _BITS),
    "depends_on": ("depends on", "positions"),
    "reason": ("reason", ""),
}
_BLOCKS = {
    "block": ("block", ""),
    "status": ("status", ""),
    "fired": ("fires at", "positions"),
    "near": ("nearly at", "positions"),
    "shortfall": ("shortfall", _FRACTION),
    "without": ("does not fire without", "positions"),
    "smallest": ("no fewer would do", ""),
}
_EFFECTS = {
    "block": ("block", ""),
    "intervention": ("removed from", ""),
    "tokens": ("tokens", "count"),
    "mass": ("attention mass", _FRACTION),
    "mass_last": ("attention mass of the last query", _FRACTION),
    "kl_bits": ("effect", _BITS),
    "kl_bits_last": ("effect on the next token", _BITS),
    "kl_bits_most": ("largest effect", _BITS),
    "most_at": ("largest at", "position"),
    "actual_bits": ("growth of surprisal", _BITS),
    "mass_share": ("share of mass", _FRACTION),
    "effect_share": ("share of effect", _FRACTION),
    "changed": ("predictions that change", "positions"),
    "verdict": ("mass and effect", ""),
}
_BOUNDS = {
    "name": ("bound", ""),
    "unit": ("unit", ""),
    "holds": ("holds", "heads"),
    "fails": ("fails", "heads"),
    "not_applicable": ("not applicable", "heads"),
    "slack": ("least slack", "in its unit"),
    "tightness": ("bound / measured", "ratio"),
}
_TABLES = {
    "tokens": ("Tokens", _TOKENS),
    "blocks": ("Blocks", _BLOCKS),
    "effects": ("Effects of removing blocks", _EFFECTS),
    "bounds": ("Bounds", _BOUNDS),
}


def tables(results: Mapping[str, Any], about: Mapping[str, Any]) -> list[Table]:
    """tokens, blocks, effects and bounds of all prompts, each row with the number of its prompt."""
    asked = {
        "model": about["model"]["name"],
        "model_hash": about["model"]["content_hash"],
        "dial": about["settings"]["dial"],
        "gain": about["settings"]["gain"],
        "schedule": about["settings"]["schedule"],
    }
    return [
        Table(name, title, tuple(_columns(results, name, columns)), asked)
        for name, (title, columns) in _TABLES.items()
    ]


def audit_tables(audit: Mapping[str, Any], about: Mapping[str, Any]) -> list[Table]:
    """The same for one audit."""
    return tables({"audits": [audit]}, about)


def _columns(
    results: Mapping[str, Any], name: str, columns: Mapping[str, tuple[str, str]]
) -> Iterator[Column]:
    rows = [
        (number, row)
        for number, audit in enumerate(results["audits"], start=1)
        for row in audit[name]
    ]
    yield Column("prompt", "prompt", "", [number for number, _ in rows])
    for key, (title, unit) in columns.items():
        if not rows or key in rows[0][1]:
            cell: Callable[[Any], Any] = _cell
            yield Column(key, title, unit, [cell(row[key]) for _, row in rows])


def _cell(value: Any) -> Any:
    """Positions as one text, so that a table has one value a cell."""
    return " ".join(map(str, value)) if isinstance(value, list) else value

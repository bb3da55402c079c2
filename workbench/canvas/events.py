"""What a person chose on the canvas, checked: the browser's word is input like any other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MODES = ("single", "split")


@dataclass(frozen=True)
class DialEvent:
    """The person's choices. dial, dial_b in [0, 1]; pinned_row: a query position or None."""

    dial: float = 0.0
    layer: int = 0
    head: int = 0
    mode: str = "single"
    dial_b: float = 1.0
    pinned_row: int | None = None

    def merged(self, raw: Mapping[str, Any]) -> DialEvent:
        """This event with every field of `raw` that is well-formed; the rest stays as it was."""
        row = raw.get("pinned_row", self.pinned_row)
        return DialEvent(
            dial=_fraction(raw.get("dial"), self.dial),
            layer=_index(raw.get("layer"), self.layer),
            head=_index(raw.get("head"), self.head),
            mode=raw["mode"] if raw.get("mode") in MODES else self.mode,
            dial_b=_fraction(raw.get("dial_b"), self.dial_b),
            pinned_row=None if row is None else _index(row, self.pinned_row or 0),
        )

    def within(self, n_layers: int, n_heads: int, n_tokens: int) -> DialEvent:
        """This event with indices that a model and text of that size have."""
        row = self.pinned_row
        return DialEvent(
            dial=self.dial,
            layer=min(self.layer, n_layers - 1),
            head=min(self.head, n_heads - 1),
            mode=self.mode,
            dial_b=self.dial_b,
            pinned_row=None if row is None or row >= n_tokens else row,
        )


def sequence_number(raw: object) -> int:
    """Number of a browser event, counted from 1; 0 where there is none."""
    return _index(raw.get("seq"), 0) if isinstance(raw, Mapping) else 0


def _fraction(value: object, otherwise: float) -> float:
    number = _number(value)
    return number if number is not None and 0.0 <= number <= 1.0 else otherwise


def _index(value: object, otherwise: int) -> int:
    number = _number(value)
    return int(number) if number is not None and number >= 0 and number % 1 == 0 else otherwise


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)

"""Two trees of plain values, held together: where they differ, and by how much."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

# What another processor may add by rounding. Whoever alters a number by less is not found.
ABSOLUTE, RELATIVE = 1e-5, 1e-4


@dataclass(frozen=True)
class Difference:
    """One place. path: keys joined by dots. amount: |recorded - found|, None where no number is."""

    path: str
    recorded: Any
    found: Any
    amount: float | None = None

    def __str__(self) -> str:
        by = "" if self.amount is None else f", by {self.amount:.3g}"
        return f"{self.path}: recorded {_short(self.recorded)}, found {_short(self.found)}{by}"


class Comparison:
    """Compares as it is iterated; `numbers` and `largest` then say how much was compared.

    Integers, texts and truth values must be equal; numbers with a fraction may differ by ABSOLUTE
    plus RELATIVE times what is found. largest: of all number differences, tolerated ones included.
    """

    def __init__(self) -> None:
        self.numbers, self.largest = 0, 0.0

    def differences(self, recorded: Any, found: Any, path: str = "") -> Iterator[Difference]:
        """Every place where what was recorded is not what is found now."""
        if isinstance(found, dict) and isinstance(recorded, dict):
            for key in sorted(found.keys() | recorded.keys(), key=str):
                below = f"{path}.{key}" if path else str(key)
                if key in found and key in recorded:
                    yield from self.differences(recorded[key], found[key], below)
                else:
                    yield Difference(below, recorded.get(key, _ABSENT), found.get(key, _ABSENT))
        elif isinstance(found, list) and isinstance(recorded, list):
            if len(found) != len(recorded):
                yield Difference(path, f"{len(recorded)} entries", f"{len(found)} entries")
            for index, (old, new) in enumerate(zip(recorded, found, strict=False)):
                yield from self.differences(old, new, f"{path}[{index}]")
        elif _is_number(found) and _is_number(recorded):
            yield from self._number(recorded, found, path)
        elif type(found) is not type(recorded) or found != recorded:
            yield Difference(path, recorded, found)

    def _number(self, recorded: float, found: float, path: str) -> Iterator[Difference]:
        self.numbers += 1
        try:
            amount = abs(float(recorded) - float(found))
        except OverflowError:
            amount = math.inf
        exact = isinstance(found, int) and isinstance(recorded, int)
        if not math.isfinite(amount):
            yield Difference(path, recorded, found, amount)
            return
        self.largest = max(self.largest, amount)
        if amount > (0.0 if exact else ABSOLUTE + RELATIVE * abs(found)):
            yield Difference(path, recorded, found, amount)


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


_ABSENT = _Absent()


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _short(value: Any) -> str:
    shown = ascii(value) if isinstance(value, str) else repr(value)
    return shown if len(shown) <= 60 else shown[:59] + "…"

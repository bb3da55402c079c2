"""Checks of plain values that a file of rules brings: texts, lists of texts and counts."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from model.errors import RuleError

LONGEST_TEXT = 2_000  # characters
MOST_ITEMS = 10_000
_ALLOWED = "\n\t"


def check_text(key: str, value: object, plain: bool = True) -> str:
    """The text itself, of at most `LONGEST_TEXT` characters; `plain`: without control characters.

    HTML is text like any other here: whoever shows it must show it as text.
    """
    if not isinstance(value, str):
        raise RuleError(key, shown(value), "must be text", "Quote it", key)
    if len(value) > LONGEST_TEXT:
        length = f"{len(value):,} characters"
        raise RuleError(key, length, f"may have at most {LONGEST_TEXT:,}", "Shorten it", key)
    for character in value:
        kind = unicodedata.category(character)
        if kind == "Cs" or (plain and kind == "Cc" and character not in _ALLOWED):
            raise RuleError(
                key, value, f"holds the control character {character!r}", "Remove it", key
            )
    return value


def check_texts(key: str, value: Sequence[str], plain: bool = True) -> tuple[str, ...]:
    """Texts, sorted, each once; none empty."""
    if not isinstance(value, (list, tuple)):
        raise RuleError(key, shown(value), "must be a list of texts", "Write [ ] around it", key)
    if len(value) > MOST_ITEMS:
        count = f"{len(value):,} items"
        raise RuleError(key, count, f"may have at most {MOST_ITEMS:,}", "Shorten it", key)
    for each in value:
        if check_text(key, each, plain) == "":
            raise RuleError(key, "", "must not be empty", "Remove it", key)
    return tuple(sorted(set(value)))


def check_count(key: str, value: object, least: int, most: int) -> int:
    """A whole number in [least, most]."""
    if type(value) is not int:
        raise RuleError(key, shown(value), "must be a whole number", "Correct it", key)
    if not least <= value <= most:
        span = f"must lie in [{least:,}, {most:,}]"
        raise RuleError(key, shown(value), span, "Correct it", key)
    return value


def shown(value: object) -> object:
    """A value that an error can show: never deep and never long, whatever a file holds."""
    if isinstance(value, dict):
        return f"a table of {len(value):,} keys"
    if isinstance(value, list):
        return f"a list of {len(value):,}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**18:
        return "a number of more than 18 digits"
    return value

"""Regular expressions of strangers: compiled within limits, searched within a time limit.

A search that takes too long is an error and never a "no": whether a rule fires must not depend on
how busy a machine is. The syntax is that of the package `regex`, which can stop a search.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import regex

from model.errors import RuleError

LONGEST_PATTERN = 500  # characters
SECONDS_A_SEARCH = 0.1
SECONDS_A_TEXT = 2.0  # all searches in one text together
_UNSAFE = ("(?R", "(?&", "(?P>", "(?0", "(?1")  # recursion, which no prefix of a text needs


@lru_cache(maxsize=2048)
def compiled(pattern: str) -> regex.Pattern[str]:
    """The pattern, compiled; RuleError where it is none or beyond a stated limit."""
    if not pattern or len(pattern) > LONGEST_PATTERN:
        raise RuleError(
            "Regex",
            pattern if not pattern else f"{len(pattern):,} characters",
            f"must have 1 to {LONGEST_PATTERN} characters",
            "Shorten it, or make two rules of it",
        )
    if any(each in pattern for each in _UNSAFE):
        raise RuleError("Regex", pattern, "calls itself", "Write it without recursion")
    try:
        return regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError, ValueError, MemoryError) as error:
        raise RuleError("Regex", pattern, f"is no regex ({error})", "Correct it") from error


def check_pattern(key: str, pattern: str) -> None:
    """RuleError, with the key that holds it, unless the pattern can be compiled."""
    try:
        compiled(pattern)
    except RuleError as error:
        raise RuleError(key, error.value, error.rule, error.remedy, key) from error


@dataclass
class Budget:
    """Seconds left for the searches of one text; every search takes from it.

    Seconds of the processor: what others do on the machine is not counted.
    """

    seconds: float = SECONDS_A_TEXT
    started: float = field(default=0.0, repr=False)

    def search(self, pattern: str, text: str) -> regex.Match[str] | None:
        """The first match in `text`, or None; RuleError when time runs out."""
        found: Any = None
        self.started = time.thread_time()
        try:
            found = compiled(pattern).search(
                text, timeout=max(1e-3, min(SECONDS_A_SEARCH, self.seconds))
            )
        except TimeoutError as error:
            limit = f"{SECONDS_A_SEARCH:g} s a search, {SECONDS_A_TEXT:g} s a text"
            raise RuleError(
                "Regex",
                pattern,
                f"takes longer than its time limit ({limit}) on this text",
                "Write it without repetitions inside repetitions, such as (a+)+",
            ) from error
        finally:
            self.seconds -= time.thread_time() - self.started
        return found

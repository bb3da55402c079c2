"""Running a checker on text: pass, fail or not applicable, with the span that decided it."""

from __future__ import annotations

import re
from collections.abc import Callable

from model.rules.arithmetic import equations
from model.rules.checker import FAIL, NOT_APPLICABLE, PASS, Checker, Outcome
from model.rules.patterns import Budget

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def check(checker: Checker, text: str) -> Outcome:
    """What the checker says of the text; RuleError where it cannot decide within its limits.

    Text without a character is not applicable to every kind but length.
    """
    if checker.when and Budget().search(checker.when, text) is None:
        return Outcome(NOT_APPLICABLE, None, "its `when` is not in the text")
    if not text and checker.kind != "length":
        return Outcome(NOT_APPLICABLE, None, "there is no text")
    return _KINDS[checker.kind](checker, text)


def _regex(checker: Checker, text: str) -> Outcome:
    found = Budget().search(checker.pattern, text)
    if found is None:
        return Outcome(PASS if checker.forbid else FAIL, None, "the pattern does not occur")
    return Outcome(FAIL if checker.forbid else PASS, found.span(), "the pattern occurs")


def _json(checker: Checker, text: str) -> Outcome:
    from model.rules.json_checker import check_json

    return check_json(text, checker.schema)


def _allowed(checker: Checker, text: str) -> Outcome:
    allowed = set(checker.allowed)
    if checker.unit == "text":
        start = len(text) - len(text.lstrip())
        whole = text.strip()
        span = (start, start + len(whole))
        if not whole:
            return Outcome(NOT_APPLICABLE, None, "there is only white space")
        known = whole in allowed
        return Outcome(PASS if known else FAIL, span, "is allowed" if known else "is not allowed")
    words = list(_WORD.finditer(text))
    if not words:
        return Outcome(NOT_APPLICABLE, None, "there are no words")
    folded = {each.casefold() for each in allowed}
    for word in words:
        if word.group().casefold() not in folded:
            return Outcome(FAIL, word.span(), f"the word {word.group()[:40]!r} is not allowed")
    return Outcome(PASS, (words[0].start(), words[-1].end()), f"{len(words)} words are allowed")


def _arithmetic(checker: Checker, text: str) -> Outcome:
    first = last = None
    count = 0
    for start, end, values in equations(text):
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return Outcome(FAIL, (start, end), "divides by zero")
        if max(known) - min(known) > checker.tolerance:
            return Outcome(FAIL, (start, end), f"its sides differ by {_number(known)}")
        first, last, count = start if first is None else first, end, count + 1
    if first is None or last is None:
        return Outcome(NOT_APPLICABLE, None, "there is no equation")
    said = "the equation holds" if count == 1 else f"{count} equations hold"
    return Outcome(PASS, (first, last), said)


def _length(checker: Checker, text: str) -> Outcome:
    ends = (
        [match.end() for match in _WORD.finditer(text)]
        if checker.unit == "words"
        else range(1, len(text) + 1)
    )
    count, whole = len(ends), (0, len(text))
    if checker.at_most is not None and count > checker.at_most:
        start = ends[checker.at_most - 1] if checker.at_most else 0
        return Outcome(FAIL, (start, len(text)), f"{count} {checker.unit}, too many")
    if checker.at_least is not None and count < checker.at_least:
        return Outcome(FAIL, whole, f"{count} {checker.unit}, too few")
    return Outcome(PASS, whole, f"{count} {checker.unit}")


def _number(values: list) -> str:
    difference = float(max(values) - min(values))
    return f"{difference:g}"


_KINDS: dict[str, Callable[[Checker, str], Outcome]] = {
    "regex": _regex,
    "json-schema": _json,
    "allowed": _allowed,
    "arithmetic": _arithmetic,
    "length": _length,
}

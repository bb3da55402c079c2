"""Equations in text, read by a parser of their own and computed exactly: never by running text.

    sum     = product {("+" | "-") product}
    product = factor {("*" | "/") factor}
    factor  = ["-" | "+"] factor | number | "(" sum ")"

Numbers are decimal and become fractions, so that 0.1 + 0.2 = 0.3 is true.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

LONGEST_EQUATION = 200  # characters
LONGEST_NUMBER = 30  # characters
DEEPEST = 20  # brackets and signs inside each other
_TYPED = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-"})
# Maximal runs, so that any text is read once, however long.
_RUN = re.compile(r"[0-9+\-*/×·÷−().= \t]+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+", re.ASCII)


class NotArithmetic(Exception):  # noqa: N818 - an answer, not a failure of the program
    """The text is no expression of the grammar, or beyond a stated limit."""


def equations(text: str) -> Iterator[tuple[int, int, list[Fraction | None]]]:
    """(start, end, value of each side) of every equation; a side is None where it divides by 0.

    Runs of signs that are no equation of the grammar are passed over.
    """
    for found in _RUN.finditer(text):
        run, start = found.group(), found.start()
        if "=" not in run or (start and text[start - 1].isalnum() and run[0] not in " \t"):
            continue
        start += len(run) - len(run.lstrip(" \t"))
        run = run.strip(" \t").rstrip(".")  # which ends a sentence
        if run[:2] in ("- ", "* ", "+ "):  # a list, and no sign
            start, run = start + 2, run[2:]
        for cut in (0, 1):  # the whole run, then without brackets around it
            sides = run[cut : len(run) - cut].split("=")
            if len(run) > LONGEST_EQUATION or not any(_operates(side) for side in sides):
                break
            try:
                values = [value_of(side) for side in sides]
            except NotArithmetic:
                if run[0] + run[-1] != "()":
                    break
                continue
            yield start + cut, start + len(run) - cut, values
            break


def value_of(expression: str) -> Fraction | None:
    """The value of an expression, None where it divides by zero; NotArithmetic where it is none."""
    if len(expression) > LONGEST_EQUATION:
        raise NotArithmetic("too long")
    parser = _Parser(expression.translate(_TYPED))
    try:
        value = parser.sum()
    except ZeroDivisionError:
        return None
    if parser.peek():
        raise NotArithmetic(f"{parser.peek()!r} is left over")
    return value


def _operates(side: str) -> bool:
    """Whether a side computes anything: `a = 5` and dates are no equations."""
    return bool(re.search(r"[0-9)][ \t]*[+\-*/×·÷−][ \t]*[0-9(.+\-−]", side))


class _Parser:
    """Recursive descent over one expression."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._depth = text, 0, 0

    def peek(self) -> str:
        while self._text[self._at : self._at + 1] in (" ", "\t"):
            self._at += 1
        return self._text[self._at : self._at + 1]

    def sum(self) -> Fraction:
        value = self._product()
        while self.peek() in ("+", "-"):
            sign = self._take()
            other = self._product()
            value = value + other if sign == "+" else value - other
        return value

    def _product(self) -> Fraction:
        value = self._factor()
        while self.peek() in ("*", "/"):
            sign = self._take()
            other = self._factor()
            value = value * other if sign == "*" else value / other
        return value

    def _factor(self) -> Fraction:
        self._depth += 1
        if self._depth > DEEPEST:
            raise NotArithmetic("too deep")
        sign = self.peek()
        if sign in ("+", "-"):
            self._take()
            value = self._factor() if sign == "+" else -self._factor()
        elif sign == "(":
            self._take()
            value = self.sum()
            if self.peek() != ")":
                raise NotArithmetic("a bracket is not closed")
            self._take()
        else:
            value = self._number()
        self._depth -= 1
        return value

    def _number(self) -> Fraction:
        self.peek()
        found = _NUMBER.match(self._text, self._at)
        if found is None or len(found.group()) > LONGEST_NUMBER:
            raise NotArithmetic("no number")
        self._at = found.end()
        return Fraction(found.group() if found.group()[0] != "." else f"0{found.group()}")

    def _take(self) -> str:
        self._at += 1
        return self._text[self._at - 1]

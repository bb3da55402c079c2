"""When rules fire: conditions read one token at a time, and never a token that is still to come.

A regex sees the text of the tokens so far: whole characters only, the last `WINDOW` of them. It is
searched at every query: `ate` fires from there on, and `ate$` where the text so far ends with it.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.errors import RuleError
from model.rules.binding import Bound
from model.rules.patterns import Budget

WINDOW = 2_000  # characters


class Watch:
    """Reads a text token by token; `step` says which rules fire there."""

    def __init__(self, bound: Bound) -> None:
        self._bound = bound
        self._position = 0
        self._text = ""
        self._reads_text = any(rule.when.regex for rule in bound.rules)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._budget = Budget()

    def step(self, token_id: int, class_id: int) -> list[int]:
        """Rows of the bound rules whose condition holds at this token, in their order."""
        bound, position = self._bound, self._position
        self._position += 1
        if self._reads_text:
            piece = self._decoder.decode(bound.vocabulary.token_bytes[token_id] or b"")
            self._text = (self._text + piece)[-WINDOW:]
        found = []
        for row in bound.by_class[class_id]:
            tokens, when = bound.tokens[row], bound.rules[row].when
            if tokens is not None and token_id not in tokens:
                continue
            if position < (when.first or 0) or (when.last is not None and position > when.last):
                continue
            if when.regex and not self._found(row):
                continue
            found.append(row)
        return found

    def _found(self, row: int) -> bool:
        rule = self._bound.rules[row]
        try:
            return self._budget.search(rule.when.regex, self._text) is not None
        except RuleError as error:
            line = "" if rule.line is None else f"Line {rule.line}: "
            raise RuleError(
                f"{line}regex of rule {rule.id}",
                error.value,
                error.rule,
                error.remedy,
                "when.regex",
            ) from error


def fired(
    bound: Bound, ids: Sequence[Sequence[int]], classes: Sequence[Sequence[int]]
) -> NDArray[np.bool_]:
    """Where each rule's condition holds: bool [sequence, position, rule].

    ids and classes: [sequence, position] each. RuleError where a regex runs out of time.
    """
    rows, length = len(ids), len(ids[0]) if len(ids) else 0
    found = np.zeros((rows, length, len(bound)), dtype=bool)
    for row in range(rows):
        watch = Watch(bound)
        pairs = zip(ids[row], classes[row], strict=True)
        for position, (token_id, class_id) in enumerate(pairs):
            found[row, position, watch.step(int(token_id), int(class_id))] = True
    return found

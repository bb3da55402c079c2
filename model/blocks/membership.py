"""The class of every token: a function of the tokens up to it, never of those after it.

A piece with letters has the class of the word so far (see `words`): of the last word in it,
together with the pieces before it that belong to the same word. Other pieces have the class of
their shape.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.blocks.lexicon import Lexicon
from model.blocks.partition import Partition
from model.blocks.words import START, WordState, read
from model.errors import PartitionError

_QUOTES = "\"'`“”‘’«»()[]{}"


@dataclass(frozen=True)
class Membership:
    """One row a token: class id, score and margin (fractions; NaN where no lexicon was asked)."""

    classes: NDArray[np.int64]
    scores: NDArray[np.float32]
    margins: NDArray[np.float32]
    reasons: list[str]


@dataclass(frozen=True)
class _Verdict:
    class_id: int
    score: float
    margin: float
    reason: str


def membership(
    pieces: Sequence[str | bytes | None],
    partition: Partition,
    lexicon: Lexicon,
) -> Membership:
    """Classes of the pieces of one text, with a reason a person can read for each.

    A piece is its text or its bytes (which need not be whole characters), None is begin of text.
    A word has a block if its best share is ≥ theta and leads the runner-up by ≥ delta, which the
    partition says.
    """
    judge = _Judge(partition, lexicon)
    verdicts = []
    state = START
    for piece in pieces:
        raw = piece.encode("utf-8") if isinstance(piece, str) else piece
        verdict, state = judge.step(state, raw)
        verdicts.append(verdict)
    return Membership(
        np.array([v.class_id for v in verdicts], dtype=np.int64),
        np.array([v.score for v in verdicts], dtype=np.float32),
        np.array([v.margin for v in verdicts], dtype=np.float32),
        [v.reason for v in verdicts],
    )


class MembershipTable:
    """Classes of token ids by a memo: (state of the word so far, token id) -> class and next state.

    The memo is filled as text is read and holds at most `MOST_TRANSITIONS` entries. Several threads
    may share a table.
    """

    MOST_TRANSITIONS = 2_000_000

    def __init__(
        self,
        token_bytes: Sequence[bytes | None],
        partition: Partition,
        lexicon: Lexicon,
    ) -> None:
        """`token_bytes`: the bytes of every token id, None for begin of text."""
        self.partition, self.lexicon = partition, lexicon
        self._token_bytes = tuple(token_bytes)
        self._judge = _Judge(partition, lexicon)
        self._lock = threading.Lock()
        self._forget()

    def classes_for_ids(self, ids: NDArray[np.integer]) -> NDArray[np.int64]:
        """Class ids, in the shape of `ids`: [T], or [rows, T] where every row is a text of its own.

        Begin-of-text tokens inside a row start a new word. Reads 3M tokens in seconds.
        """
        ids = np.asarray(ids)
        if ids.size and (ids.min() < 0 or ids.max() >= len(self._token_bytes)):
            raise PartitionError(
                "Token ids",
                (int(ids.min()), int(ids.max())),
                f"must lie in [0, {len(self._token_bytes)})",
                "Use the tokenizer that this table was made of",
            )
        rows = ids.reshape(1, -1) if ids.ndim < 2 else ids.reshape(-1, ids.shape[-1])
        with self._lock:
            classes = [self._row(row.tolist()) for row in rows]
        return np.array(classes, dtype=np.int64).reshape(ids.shape)

    def membership(self, ids: Sequence[int] | NDArray[np.integer]) -> Membership:
        """As `classes_for_ids` for one text, with scores, margins and reasons."""
        ids = np.asarray(ids, dtype=np.int64)
        self.classes_for_ids(ids)  # refuses foreign ids
        pieces = [self._token_bytes[i] for i in ids.tolist()]
        return membership(pieces, self.partition, self.lexicon)

    def _row(self, ids: list[int]) -> list[int]:
        d_vocab = len(self._token_bytes)
        step, classes, state = self._step, [], 0
        for token_id in ids:
            found = step.get(state * d_vocab + token_id)
            if found is None:
                if len(step) >= self.MOST_TRANSITIONS:
                    resumed = self._states[state]
                    self._forget()
                    step, state = self._step, self._number(resumed)
                found = self._learn(state, token_id)
            classes.append(found[0])
            state = found[1]
        return classes

    def _learn(self, state: int, token_id: int) -> tuple[int, int]:
        verdict, after = self._judge.step(self._states[state], self._token_bytes[token_id])
        found = (verdict.class_id, self._number(after))
        self._step[state * len(self._token_bytes) + token_id] = found
        return found

    def _number(self, state: WordState) -> int:
        number = self._numbers.setdefault(state, len(self._states))
        if number == len(self._states):
            self._states.append(state)
        return number

    def _forget(self) -> None:
        self._step: dict[int, tuple[int, int]] = {}
        self._states: list[WordState] = [START]
        self._numbers: dict[WordState, int] = {START: 0}


class _Judge:
    """The transition function: state and piece -> verdict and next state."""

    def __init__(self, partition: Partition, lexicon: Lexicon) -> None:
        if lexicon.names != partition.names:
            raise PartitionError(
                "Blocks of the lexicon",
                ", ".join(lexicon.names),
                "must be those of the partition, in its order",
                "Load the lexicon with this partition",
            )
        self._names = partition.names
        self._none, self._bos = partition.none_id, partition.bos_id
        self._lexicon, self._theta, self._delta = lexicon, partition.theta, partition.delta
        self._shapes = partition.shape_blocks()

    def step(self, state: WordState, piece: bytes | None) -> tuple[_Verdict, WordState]:
        if piece is None:
            return _Verdict(self._bos, float("nan"), float("nan"), "begin of text"), START
        reading = read(state, piece)
        after = reading.after
        if reading.word:
            return self._word(reading.word), after
        if not reading.text:
            return self._plain(self._none, "part of a character"), after
        shape = _shape(reading.text)
        if shape is None:
            return self._plain(self._none, "white space or a control character"), after
        return self._plain(self._shapes.get(shape, self._none), shape), after

    def _plain(self, class_id: int, reason: str) -> _Verdict:
        return _Verdict(class_id, float("nan"), float("nan"), reason)

    def _word(self, word: str) -> _Verdict:
        entry = self._lexicon.lookup(word)
        if entry is None:
            return self._plain(self._none, f"no block: {word!r} is not in the lexicon")
        best = self._names[entry.block]
        if entry.score < self._theta:
            reason = f"no block: best is {best} at {entry.score:.2f}, below {self._theta:g}"
        elif entry.margin < self._delta:
            reason = f"no block: {best} leads by {entry.margin:.2f}, below {self._delta:g}"
        else:
            numbers = f"score {entry.score:.2f}, margin {entry.margin:.2f}"
            reason = f"lexicon: {word!r} is {best} ({numbers})"
            return _Verdict(entry.block, entry.score, entry.margin, reason)
        return _Verdict(self._none, entry.score, entry.margin, reason)


def _shape(text: str) -> str | None:
    """Shape of a piece without letters, by its last character that shows."""
    for character in reversed(text):
        kind = unicodedata.category(character)[0]
        if kind == "N":
            return "digits"
        if kind in "PS":
            return "quotes" if character in _QUOTES else "punctuation"
    return None

"""The class of every token: a function of the tokens up to it, never of those after it.

A **word** is a run of letters, with the combining marks on them. An apostrophe inside a word starts
a clitic, which is a word of its own ("dog's" is "dog" and "'s"); a hyphen ends a word. A piece with
letters has the class of the word so far: of the last run of letters in it, together with the pieces
before it that belong to the same run. Other pieces have the class of their shape.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.blocks.lexicon import Lexicon
from model.blocks.partition import Partition
from model.errors import PartitionError

THETA = 0.4
DELTA = 0.05
LONGEST_WORD = 40  # letters; longer runs have no entry in any lexicon, and are not kept

_APOSTROPHES = "'’"
_QUOTES = "\"'`“”‘’«»()[]{}"


@dataclass(frozen=True)
class Membership:
    """One row a token: class id, score and margin (fractions; NaN where no lexicon was asked)."""

    classes: NDArray[np.int64]
    scores: NDArray[np.float32]
    margins: NDArray[np.float32]
    reasons: list[str]


@dataclass(frozen=True)
class _State:
    """All that the past says about the next piece: the word so far, and bytes not yet a character.

    `open_apostrophe`: the last character was an apostrophe right behind a letter.
    """

    word: str = ""
    pending: bytes = b""
    open_apostrophe: bool = False


@dataclass(frozen=True)
class _Verdict:
    class_id: int
    score: float
    margin: float
    reason: str


_START = _State()


def membership(
    pieces: Sequence[str | bytes | None],
    partition: Partition,
    lexicon: Lexicon,
    theta: float = THETA,
    delta: float = DELTA,
) -> Membership:
    """Classes of the pieces of one text, with a reason a person can read for each.

    A piece is its text or its bytes (which need not be whole characters), None is begin of text.
    A word has a block if its best share is ≥ `theta` and leads the runner-up by ≥ `delta`.
    """
    judge = _Judge(partition, lexicon, theta, delta)
    verdicts = []
    state = _START
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

    The memo is filled as text is read and holds at most `MOST_TRANSITIONS` entries.
    """

    MOST_TRANSITIONS = 2_000_000

    def __init__(
        self,
        token_bytes: Sequence[bytes | None],
        partition: Partition,
        lexicon: Lexicon,
        theta: float = THETA,
        delta: float = DELTA,
    ) -> None:
        """`token_bytes`: the bytes of every token id, None for begin of text."""
        self.partition, self.lexicon, self.theta, self.delta = partition, lexicon, theta, delta
        self._token_bytes = tuple(token_bytes)
        self._judge = _Judge(partition, lexicon, theta, delta)
        self._forget()

    def classes_for_ids(self, ids: NDArray[np.integer]) -> NDArray[np.int64]:
        """Class ids, in the shape of `ids`: [T], or [rows, T] where every row is a text of its own.

        Begin-of-text tokens inside a row start a new word. Reads 3M tokens in seconds.
        """
        ids = np.asarray(ids)
        if ids.size and not (0 <= int(ids.min()) and int(ids.max()) < len(self._token_bytes)):
            raise PartitionError(
                "Token ids",
                (int(ids.min()), int(ids.max())),
                f"must lie in [0, {len(self._token_bytes)})",
                "Use the tokenizer that this table was made of",
            )
        rows = ids.reshape(1, -1) if ids.ndim < 2 else ids.reshape(-1, ids.shape[-1])
        classes = [self._row(row.tolist()) for row in rows]
        return np.array(classes, dtype=np.int64).reshape(ids.shape)

    def membership(self, ids: Sequence[int] | NDArray[np.integer]) -> Membership:
        """As `classes_for_ids` for one text, with scores, margins and reasons."""
        ids = np.asarray(ids, dtype=np.int64)
        self.classes_for_ids(ids)  # refuses foreign ids
        pieces = [self._token_bytes[i] for i in ids.tolist()]
        return membership(pieces, self.partition, self.lexicon, self.theta, self.delta)

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

    def _number(self, state: _State) -> int:
        number = self._numbers.setdefault(state, len(self._states))
        if number == len(self._states):
            self._states.append(state)
        return number

    def _forget(self) -> None:
        self._step: dict[int, tuple[int, int]] = {}
        self._states: list[_State] = [_START]
        self._numbers: dict[_State, int] = {_START: 0}


class _Judge:
    """The transition function: state and piece -> verdict and next state."""

    def __init__(self, partition: Partition, lexicon: Lexicon, theta: float, delta: float) -> None:
        for name, value in (("theta", theta), ("delta", delta)):
            if not 0.0 <= value <= 1.0:
                raise PartitionError(name, value, "must lie in [0, 1]", "Choose such a value")
        if lexicon.names != partition.names:
            raise PartitionError(
                "Blocks of the lexicon",
                ", ".join(lexicon.names),
                "must be those of the partition, in its order",
                "Load the lexicon with this partition",
            )
        self._names = partition.names
        self._none, self._bos = partition.none_id, partition.bos_id
        self._lexicon, self._theta, self._delta = lexicon, theta, delta
        self._words, self._shapes = partition.word_blocks(), partition.shape_blocks()

    def step(self, state: _State, piece: bytes | None) -> tuple[_Verdict, _State]:
        if piece is None:
            return _Verdict(self._bos, float("nan"), float("nan"), "begin of text"), _START
        text, pending = _decode(state.pending + piece)
        after = replace(_advance(state, text), pending=pending)
        letters = any(map(str.isalpha, text))
        if not text:
            return self._plain(self._none, "part of a character"), after
        if letters or (after.word and after.word != state.word):
            word = after.word or _last_word(state, text)
            return self._word(word), after
        shape = _shape(text)
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


def _decode(raw: bytes) -> tuple[str, bytes]:
    """The whole characters of `raw` (bytes that can be none become U+FFFD), and what is left."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(raw)
    return text, decoder.getstate()[0]


def _advance(state: _State, text: str) -> _State:
    """Reads whole characters one by one; keeps the word that is still open at the end."""
    word, open_apostrophe = state.word, state.open_apostrophe
    for character in text:
        if character.isalpha() or (word and unicodedata.category(character).startswith("M")):
            if open_apostrophe:
                word = "'"
            word = (word + character.lower())[: LONGEST_WORD + 1]
            open_apostrophe = False
        else:
            open_apostrophe = bool(word) and character in _APOSTROPHES and not open_apostrophe
            if not open_apostrophe:
                word = ""
    return _State(word, b"", open_apostrophe)


def _last_word(state: _State, text: str) -> str:
    """The last word that `text` touches, for a piece that ends behind it."""
    word = ""
    for end in range(1, len(text) + 1):
        word = _advance(state, text[:end]).word or word
    return word


def _shape(text: str) -> str | None:
    """Shape of a piece without letters, by its last character that shows."""
    for character in reversed(text):
        kind = unicodedata.category(character)[0]
        if kind == "N":
            return "digits"
        if kind in "PS":
            return "quotes" if character in _QUOTES else "punctuation"
    return None

"""The word so far: what the pieces read until now say about the word that is being spelled.

A **word** is a run of letters, with the combining marks on them, lower-cased. An apostrophe inside
a word starts a clitic, which is a word of its own ("dog's" is "dog" and "'s"). A hyphen ends a
word.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LONGEST_WORD = (
    40  # characters; of a longer run the head stands for the whole, so that states stay small
)

_APOSTROPHES = "'’"


@dataclass(frozen=True)
class WordState:
    """All that the past says about the next piece.

    `word` is open: letters that follow belong to it. `pending`: bytes that are no character yet.
    `at_apostrophe`: the last character was an apostrophe right behind the word.
    """

    word: str = ""
    pending: bytes = b""
    at_apostrophe: bool = False


@dataclass(frozen=True)
class Reading:
    """What one piece adds.

    `text`: its whole characters. `word`: the last word so far that a letter of it belongs to, ""
    if none does. `finished`: the words that it ends, in order.
    """

    text: str
    word: str
    finished: tuple[str, ...]
    after: WordState


START = WordState()


def read(state: WordState, piece: bytes) -> Reading:
    """Reads one piece; bytes that can be no character become U+FFFD."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(state.pending + piece)
    pending = decoder.getstate()[0]
    word, at_apostrophe, touched = state.word, state.at_apostrophe, ""
    finished = []
    for character in text:
        if character.isalpha() or (word and unicodedata.category(character)[0] == "M"):
            if at_apostrophe:
                finished.append(word)
                word, at_apostrophe = "'", False
            word = (word + character.lower())[:LONGEST_WORD]
            touched = word
        elif word and character in _APOSTROPHES and not at_apostrophe:
            at_apostrophe = True
        else:
            if word:
                finished.append(word)
            word, at_apostrophe = "", False
    return Reading(text, touched, tuple(finished), WordState(word, pending, at_apostrophe))


def count_words_so_far(
    docs: Iterable[Sequence[int]], token_bytes: Sequence[bytes | None]
) -> Counter[tuple[str, str]]:
    """How often each word so far, at the end of a piece, became which finished word.

    `docs`: token ids of texts; `token_bytes`: the bytes of every id, None for begin of text.
    Returns (word so far, finished word) -> occurrences; a word read whole counts for itself.
    """
    counts: Counter[tuple[str, str]] = Counter()
    memo: dict[tuple[WordState, int], Reading] = {}
    for doc in docs:
        state = START
        open_keys: list[str] = []  # words so far of the word that is still open
        for token_id in doc:
            piece = token_bytes[token_id]
            if piece is None:
                counts.update((key, state.word) for key in open_keys)
                state, open_keys = START, []
                continue
            reading = memo.get((state, token_id))
            if reading is None:
                reading = memo[state, token_id] = read(state, piece)
            if reading.finished:
                counts.update((key, reading.finished[0]) for key in open_keys)
                open_keys = []
            state = reading.after
            if not reading.word:
                continue
            if state.word:
                open_keys.append(reading.word)
            else:
                counts[reading.word, reading.word] += 1
        counts.update((key, state.word) for key in open_keys)
    return counts

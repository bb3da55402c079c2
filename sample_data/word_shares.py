"""Shares of blocks for whole words, from WordNet's senses, tag counts and inflections.

A word is looked up as WordNet's own `morphy` does: irregular forms first, then regular endings, in
every part of speech. Each sense counts its annotated occurrences plus `SMOOTHING`: these say how a
word is shared among parts of speech. Inside one, training glosses count too: an occurrence in a
gloss of category c speaks for the word's senses in c ("the act of …" is the gloss of an act, not of
a law).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from model.blocks.partition import Partition
from sample_data.wordnet_source import PARTS_OF_SPEECH, Sense

SMOOTHING = 0.5  # annotated occurrences, per sense
HEARD = 0.1  # annotated occurrences that one gloss is worth

# Regular endings of morphy(7WN); adverbs have none.
_ENDINGS = {
    "noun": (
        ("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"),
        ("men", "man"), ("ies", "y"),
    ),
    "verb": (
        ("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"),
        ("ing", ""),
    ),
    "adj": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "adv": (),
}  # fmt: skip

_LETTERS = re.compile(r"[^\W\d_]+")


class WordShares:
    """Shares of blocks by word; closed-class words of the partition belong to their block alone."""

    def __init__(
        self,
        senses: Iterable[Sense],
        exceptions: Mapping[str, Mapping[str, tuple[str, ...]]],
        partition: Partition,
    ) -> None:
        self._blocks = partition.category_blocks()
        self._closed = partition.word_blocks()
        self._exceptions = exceptions
        self._weights: dict[str, dict[str, dict[int, float]]] = {p: {} for p in PARTS_OF_SPEECH}
        self._topics: dict[tuple[str, str, int], int] = defaultdict(int)
        self._parts: dict[str, dict[int, float]] = {}  # of names with several words
        for sense in senses:
            block = self._blocks.get(sense.category)
            if block is None:
                continue
            weight = sense.tagged + SMOOTHING
            words = _LETTERS.findall(sense.word)
            if words == [sense.word]:
                row = self._weights[_pos(sense.category)].setdefault(sense.word, {})
                row[block] = row.get(block, 0.0) + weight
            else:
                for word in words:
                    row = self._parts.setdefault(word, {})
                    row[block] = row.get(block, 0.0) + weight

    def hear(self, glosses: Iterable[tuple[str, str]]) -> None:
        """Counts (category, text) pairs; give it training text only."""
        memo: dict[tuple[str, str], list[str]] = {}
        for category, text in glosses:
            block, pos = self._blocks.get(category), _pos(category)
            if block is None:
                continue
            for word in set(_LETTERS.findall(text.lower())):
                if (word, pos) not in memo:
                    memo[word, pos] = self._bases(word, pos)
                for base in memo[word, pos]:
                    if block in self._weights[pos][base]:
                        self._topics[pos, base, block] += 1

    def of(self, word: str) -> dict[int, float]:
        """Block id -> share, summing to 1; empty if WordNet does not know the word.

        A word that occurs only inside names of several words ("angeles") has their shares.
        """
        if word in self._closed:
            return {self._closed[word]: 1.0}
        total: dict[int, float] = defaultdict(float)
        for pos in PARTS_OF_SPEECH:
            for base in self._bases(word, pos):
                row = self._weights[pos][base]
                heard = {b: w + HEARD * self._topics[pos, base, b] for b, w in row.items()}
                scale = sum(row.values()) / sum(heard.values())
                for block, weight in heard.items():
                    total[block] += weight * scale
        found = total or self._parts.get(word, {})
        whole = sum(found.values())
        return {block: weight / whole for block, weight in sorted(found.items())}

    def known_words(self) -> list[str]:
        """Every word that `of` answers without taking off a regular ending, sorted."""
        words = set(self._closed) | set(self._parts)
        for pos in PARTS_OF_SPEECH:
            words |= set(self._weights[pos]) | set(self._exceptions[pos])
        return sorted(word for word in words if _LETTERS.fullmatch(word) or word in self._closed)

    def _bases(self, word: str, pos: str) -> list[str]:
        candidates = [word, *self._exceptions[pos].get(word, ())]
        if word not in self._exceptions[pos]:
            candidates += [
                word[: len(word) - len(ending)] + replacement
                for ending, replacement in _ENDINGS[pos]
                if word.endswith(ending) and len(word) > len(ending) + 1
            ]
        return [base for base in dict.fromkeys(candidates) if base in self._weights[pos]]


def _pos(category: str) -> str:
    return category.partition(".")[0]

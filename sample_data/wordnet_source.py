"""Reads the WordNet 3.0 database files as Debian's package `wordnet-base` installs them.

Formats: wndb(5WN), lexnames(5WN), cntlist(5WN). Nothing here knows of blocks, tokens or models.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model.blocks.partition import CATEGORIES

WORDNET_DIR = Path("/usr/share/wordnet")
PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")


@dataclass(frozen=True)
class Synset:
    """One synset: `id` is part of speech and byte offset, such as "n07745197"."""

    id: str
    category: str
    words: tuple[str, ...]  # spaces for underscores, capitals kept
    gloss: str
    hyponyms: tuple[str, ...]  # ids of direct hyponyms and instances


@dataclass(frozen=True)
class Sense:
    """One sense of one word: its category and how often annotators tagged it (0 if never)."""

    word: str
    category: str
    tagged: int


def read_synsets(source: Path = WORDNET_DIR) -> list[Synset]:
    """All synsets: nouns, verbs, adjectives, adverbs, each in the order of its file."""
    return [synset for pos in PARTS_OF_SPEECH for synset, _ in _read_data(source, pos)]


def read_senses(source: Path = WORDNET_DIR) -> list[Sense]:
    """All (word, synset) pairs, lower-cased, with the tag counts of cntlist.rev.

    Senses of `noun.Tops` ("person", "animal", "plant") take the category that most of their direct
    hyponyms have: the file holds the tops of all other files, and says nothing about its members.
    """
    counts = _read_counts(source)
    pairs = [pair for pos in PARTS_OF_SPEECH for pair in _read_data(source, pos)]
    categories = {synset.id: synset.category for synset, _ in pairs}
    senses = []
    for synset, keys in pairs:
        category = synset.category
        if category == "noun.Tops":
            category = _category_below(synset, categories)
        for word, key in zip(synset.words, keys, strict=True):
            senses.append(Sense(word.lower(), category, counts.get(key, 0)))
    return senses


def read_exceptions(source: Path = WORDNET_DIR) -> dict[str, dict[str, tuple[str, ...]]]:
    """Irregular inflections: part of speech -> inflected form -> base forms."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for pos in PARTS_OF_SPEECH:
        lines = (source / f"{pos}.exc").read_text("ascii").splitlines()
        fields = [line.replace("_", " ").split() for line in lines if "_" not in line]
        found[pos] = {line[0]: tuple(line[1:]) for line in fields if len(line) > 1}
    return found


def _read_data(source: Path, pos: str) -> Iterator[tuple[Synset, tuple[tuple[str, ...], ...]]]:
    """Synsets of one data file, each with the keys of its words in cntlist.rev."""
    for line in (source / f"data.{pos}").read_text("ascii").splitlines():
        if line.startswith("  "):  # the licence, repeated at the head of each file
            continue
        head, gloss = line.split("|", 1)
        fields = head.split()
        offset, file_number, kind, n_words = fields[0], fields[1], fields[2], int(fields[3], 16)
        spelled = [fields[4 + 2 * i].split("(")[0] for i in range(n_words)]
        lex_ids = [int(fields[5 + 2 * i], 16) for i in range(n_words)]
        rest = fields[4 + 2 * n_words :]
        pointers = [rest[1 + 4 * i : 5 + 4 * i] for i in range(int(rest[0]))]
        hyponyms = tuple(p[2] + p[1] for p in pointers if p[0] in ("~", "~i"))
        type_number = {"n": "1", "v": "2", "a": "3", "r": "4", "s": "5"}[kind]
        keys = tuple(
            (word.lower(), type_number, file_number, f"{lex_id:02d}")
            for word, lex_id in zip(spelled, lex_ids, strict=True)
        )
        words = tuple(word.replace("_", " ") for word in spelled)
        letter = "a" if kind == "s" else kind
        category = CATEGORIES[int(file_number)]
        yield Synset(letter + offset, category, words, gloss.strip(), hyponyms), keys


def _read_counts(source: Path) -> dict[tuple[str, ...], int]:
    counts: dict[tuple[str, ...], int] = defaultdict(int)
    for line in (source / "cntlist.rev").read_text("ascii").splitlines():
        key, _, tagged = line.split()
        lemma, lex_sense = key.split("%")
        kind, file_number, lex_id = lex_sense.split(":")[:3]
        counts[lemma, kind, file_number, lex_id] += int(tagged)
    return counts


def _category_below(synset: Synset, categories: dict[str, str]) -> str:
    below: dict[str, int] = defaultdict(int)
    for identifier in synset.hyponyms:
        if categories[identifier] != "noun.Tops":
            below[categories[identifier]] += 1
    return max(sorted(below), key=below.__getitem__) if below else synset.category

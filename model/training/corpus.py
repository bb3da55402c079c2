"""Dictionary glosses as training text: read, split without a leak, encoded and packed.

A gloss is one document: a definition and its example sentences, one line, as WordNet prints them.
"""

from __future__ import annotations

import hashlib
import lzma
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.errors import TextError
from model.transformer.tokenizer import Tokenizer

SAMPLE_DATA = Path(__file__).resolve().parents[2] / "sample_data"
GLOSSES_PATH = SAMPLE_DATA / "wordnet" / "glosses.tsv.xz"
MANIFEST_PATH = SAMPLE_DATA / "manifest.json"
SPLITS = ("train", "validation", "test")

_COLUMNS = ("id", "category", "words", "gloss")
_QUOTED = re.compile(r'"([^"]*)"')
_BEFORE_EXAMPLES = re.compile(r';\s*"')


@dataclass(frozen=True)
class Gloss:
    """One synset's line: `text` is the document, `category` one of 45 lexicographer categories."""

    id: str  # part of speech and offset in WordNet 3.0, such as "n07745197"
    category: str
    words: tuple[str, ...]
    text: str


def load_glosses(path: Path = GLOSSES_PATH) -> list[Gloss]:
    """All glosses in the order of the file; TextError if it is missing or cut short."""
    try:
        text = lzma.decompress(path.read_bytes()).decode("utf-8")
    except (OSError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise TextError(
            "File of glosses", path.name, f"cannot be read ({error})", "Restore or rebuild it"
        ) from error
    lines = text.removesuffix("\n").split("\n")
    if tuple(lines[0].split("\t")) != _COLUMNS:
        raise TextError(
            f"Header of {path.name}",
            lines[0],
            f"must name the columns {', '.join(_COLUMNS)}",
            "Rebuild the file with `python -m sample_data.build`",
        )
    glosses = []
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split("\t")
        if len(fields) != len(_COLUMNS):
            raise TextError(
                f"Line {number} of {path.name}",
                line,
                f"must have {len(_COLUMNS)} columns",
                "Rebuild the file with `python -m sample_data.build`",
            )
        glosses.append(Gloss(fields[0], fields[1], tuple(fields[2].split("|")), fields[3]))
    return glosses


def data_hash(path: Path = MANIFEST_PATH) -> str:
    """SHA-256 of the manifest, which holds the SHA-256 of every file: provenance of a model."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def keys_of(text: str) -> tuple[str, ...]:
    """What two glosses may not share across splits: the definition, then each quoted string.

    Folded: case, punctuation and white space do not make a difference.
    """
    definition = _BEFORE_EXAMPLES.split(text, maxsplit=1)[0]
    folded = [_fold(part) for part in (definition, *_QUOTED.findall(text))]
    return tuple(part for part in folded if part) or (text,)


def split_of(definition_key: str) -> str:
    """The split of a definition: 90 / 5 / 5 % by a hash of its folded text."""
    digest = hashlib.sha256(definition_key.encode("utf-8")).digest()
    percent = int.from_bytes(digest[:8], "big") % 100
    if percent < 90:
        return "train"
    return "validation" if percent < 95 else "test"


def assign_splits(texts: Sequence[str]) -> list[str]:
    """A split for each text, such that texts that share a key share a split.

    Texts are joined into components by their keys (union-find); a component goes where
    `split_of` sends its alphabetically first definition. So a split depends on no order.
    """
    parents: dict[str, str] = {}

    def root(key: str) -> str:
        while parents.setdefault(key, key) != key:
            parents[key] = parents[parents[key]]
            key = parents[key]
        return key

    definitions = []
    for text in texts:
        first, *others = keys_of(text)
        definitions.append(first)
        root(first)
        for other in others:
            parents[root(other)] = root(first)
    names: dict[str, str] = {}
    for definition in definitions:
        top = root(definition)
        names[top] = min(names[top], definition) if top in names else definition
    return [split_of(names[root(definition)]) for definition in definitions]


def split_texts(glosses: Sequence[Gloss]) -> dict[str, list[str]]:
    """The texts of each split, in the order of the glosses."""
    texts: dict[str, list[str]] = {name: [] for name in SPLITS}
    for gloss, name in zip(glosses, assign_splits([g.text for g in glosses]), strict=True):
        texts[name].append(gloss.text)
    return texts


def encode_split(
    name: str, tokenizer: Tokenizer, glosses: Sequence[Gloss] | None = None
) -> list[NDArray[np.int64]]:
    """The documents of one split as token ids, without begin-of-text."""
    if name not in SPLITS:
        raise TextError("Split", name, f"must be one of {', '.join(SPLITS)}", "Choose one of them")
    texts = split_texts(load_glosses() if glosses is None else glosses)[name]
    return [np.asarray(ids, dtype=np.int64) for ids in tokenizer.encode_batch(texts)]


def pack(
    docs: Sequence[NDArray[np.int64]], length: int, bos_id: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows of `length` tokens [rows, length]: whole documents, each behind its own begin-of-text.

    Greedy in an order drawn from `rng`: the next document that fits; then the longest of those
    left that fits the rest; where none fits, the next document is cut at the end of the row. A
    document longer than `length - 1` is cut. What is cut off is dropped, as is a last row that
    cannot be filled. Each document is used at most once; the same `rng` state, the same rows.
    """
    if length < 2:
        raise TextError("Row length", length, "must be at least 2", "Choose a longer row")
    order = [int(i) for i in rng.permutation(len(docs)) if len(docs[i])]
    needs = [len(doc) + 1 for doc in docs]
    by_need: dict[int, list[int]] = defaultdict(list)
    for i in reversed(order):  # so that pop() takes the first of the order
        by_need[needs[i]].append(i)
    used = bytearray(len(docs))
    queue = iter(order)
    head = next(queue, None)
    rows: list[NDArray[np.int64]] = []
    row = np.empty(length, dtype=np.int64)
    filled = 0
    while True:
        while head is not None and used[head]:
            head = next(queue, None)
        if head is None:
            break
        free = length - filled
        chosen = head
        if filled and needs[head] > free:
            fitting = _longest_fitting(by_need, used, free)
            chosen = head if fitting is None else fitting
        used[chosen] = 1
        size = min(needs[chosen], free)
        row[filled] = bos_id
        row[filled + 1 : filled + size] = docs[chosen][: size - 1]
        filled += size
        if filled == length:
            rows.append(row.copy())
            filled = 0
    return np.stack(rows) if rows else np.empty((0, length), dtype=np.int64)


def _longest_fitting(by_need: dict[int, list[int]], used: bytearray, free: int) -> int | None:
    for need in range(free, 1, -1):
        bucket = by_need.get(need, [])
        while bucket and used[bucket[-1]]:
            bucket.pop()
        if bucket:
            return bucket[-1]
    return None


def _fold(text: str) -> str:
    return " ".join(re.sub(r"[\W_]+", " ", text.casefold()).split())

"""The lexicon: how a word, or a word so far, is shared among the blocks.

Keys are lower-cased strings. For a string at which the tokenizer cuts words of the training text,
the entry is the mixture of the words that begin with it and are cut there, weighted by their
counts: all that can be known before the next piece is read. Any other word has the entry of its
own senses.

File format (lexicon.tsv): a header line, then one line a key, sorted: the key, a tab, then block
names each followed by its share in percent; a block with nothing behind it has the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from model.blocks.partition import Partition
from model.errors import PartitionError

HEADER = (
    "# localist lexicon, format 1: word or word so far, then blocks with their shares in percent"
)

# Regular English inflections, tried in this order where a string has no entry of its own.
_ENDINGS = (("ies", "y"), ("s", ""), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", ""))
_SHORTEST_STEM = 3


@dataclass(frozen=True)
class LexiconEntry:
    """Best block of a string, its share in [0, 1], and the lead over the runner-up."""

    block: int
    score: float
    runner_up: int | None
    margin: float


class Lexicon:
    """Read-only map from strings to shares of blocks; the shares of a key sum to at most 1."""

    def __init__(self, shares: Mapping[str, tuple[tuple[int, int], ...]], names: tuple[str, ...]):
        """`shares`: key -> ((block id, percent), …), highest first; `names`: block names by id."""
        self.names = names
        self._shares = dict(shares)

    @classmethod
    def from_shares(
        cls, shares: Mapping[str, Mapping[int, float]], partition: Partition, kept: int = 3
    ) -> Lexicon:
        """Rounds fractions to percent and keeps the `kept` largest of each key, if at least 1 %."""
        rounded = {}
        for key, row in shares.items():
            pairs = [(block, int(100 * share + 0.5)) for block, share in row.items()]
            pairs = sorted((p for p in pairs if p[1] > 0), key=lambda p: (-p[1], p[0]))[:kept]
            if pairs:
                rounded[key] = tuple(pairs)
        return cls(rounded, partition.names)

    def __len__(self) -> int:
        return len(self._shares)

    def __contains__(self, key: str) -> bool:
        return key in self._shares

    def shares(self, text: str) -> tuple[tuple[int, int], ...] | None:
        """((block id, percent), …) of `text` or of its regular stem, highest first."""
        key = text.lower()
        found = self._shares.get(key)
        if found is not None:
            return found
        for ending, replacement in _ENDINGS:
            if key.endswith(ending):
                stem = key[: len(key) - len(ending)] + replacement
                if len(stem) >= _SHORTEST_STEM and stem in self._shares:
                    return self._shares[stem]
        return None

    def lookup(self, text: str) -> LexiconEntry | None:
        """The entry of a word or a word so far; None where nothing is known of it."""
        shares = self.shares(text)
        if shares is None:
            return None
        block, score = shares[0]
        second = shares[1] if len(shares) > 1 else None
        margin = (score - second[1] if second else score) / 100
        return LexiconEntry(block, score / 100, second[0] if second else None, margin)

    def to_tsv(self) -> str:
        lines = [HEADER]
        for key in sorted(self._shares):
            row = self._shares[key]
            whole = len(row) == 1 and row[0][1] == 100
            shown = (
                self.names[row[0][0]]
                if whole
                else " ".join(f"{self.names[block]} {percent}" for block, percent in row)
            )
            lines.append(f"{key}\t{shown}")
        return "\n".join(lines) + "\n"

    @classmethod
    def from_tsv(cls, text: str, partition: Partition) -> Lexicon:
        """Strict: every line must be of the format and name blocks of `partition`."""
        lines = text.removesuffix("\n").split("\n")
        if lines[0] != HEADER:
            raise PartitionError(
                "Header of the lexicon",
                lines[0],
                f"must be {HEADER!r}",
                "Save it again",
            )
        ids = {name: i for i, name in enumerate(partition.names)}
        memo: dict[str, tuple[tuple[int, int], ...]] = {}
        shares = {}
        for number, line in enumerate(lines[1:], start=2):
            key, tab, row = line.partition("\t")
            if not tab or not key or key in shares:
                raise PartitionError(
                    f"Line {number} of the lexicon",
                    line,
                    "must be a new key, a tab and blocks",
                    "Correct it",
                )
            if row not in memo:
                memo[row] = _parse_row(row, ids, number)
            shares[key] = memo[row]
        return cls(shares, partition.names)

    @classmethod
    def load(cls, path: Path | str, partition: Partition) -> Lexicon:
        try:
            text = Path(path).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PartitionError(
                "Lexicon file", str(path), f"cannot be read ({error})", "Check the path"
            ) from error
        return cls.from_tsv(text, partition)

    def save(self, path: Path | str) -> None:
        Path(path).write_text(self.to_tsv(), "utf-8")


def mix(
    counts: Iterable[tuple[str, str, int]], words: Mapping[str, Mapping[int, float]]
) -> dict[str, dict[int, float]]:
    """Mixtures for words so far.

    `counts`: (word so far, completed word, occurrences); `words`: word -> block id -> share. A word
    without an entry counts in the total, so that its share belongs to no block.
    """
    totals: dict[str, int] = {}
    sums: dict[str, dict[int, float]] = {}
    for so_far, word, n in counts:
        totals[so_far] = totals.get(so_far, 0) + n
        row = sums.setdefault(so_far, {})
        for block, share in words.get(word, {}).items():
            row[block] = row.get(block, 0.0) + n * share
    return {key: {b: s / totals[key] for b, s in row.items()} for key, row in sums.items()}


def _parse_row(row: str, ids: Mapping[str, int], number: int) -> tuple[tuple[int, int], ...]:
    fields = row.split(" ")
    if len(fields) == 1:
        fields = [row, "100"]
    pairs = []
    for name, percent in zip(fields[::2], fields[1::2], strict=False):
        if name not in ids:
            raise PartitionError(
                f"Block in line {number} of the lexicon",
                name,
                "is not in the partition",
                "Correct it",
            )
        if not (percent.isascii() and percent.isdigit() and 1 <= int(percent) <= 100):
            raise PartitionError(
                f"Share in line {number} of the lexicon", percent, "must be 1 to 100", "Correct it"
            )
        pairs.append((ids[name], int(percent)))
    distinct = {block for block, _ in pairs}
    ordered = all(a[1] >= b[1] for a, b in pairwise(pairs))
    total = sum(percent for _, percent in pairs)
    if len(fields) % 2 or len(distinct) < len(pairs) or not ordered or total > 101:
        raise PartitionError(
            f"Line {number} of the lexicon",
            row,
            "must pair different blocks with falling shares that sum to at most 100",
            "Correct it",
        )
    return tuple(pairs)

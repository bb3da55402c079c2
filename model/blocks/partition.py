"""The partition of tokens into semantic blocks, and its file format (blocks.json).

Class ids of K blocks: 0 … K−1 are the blocks in their order, K is NONE (a token of no block),
K + 1 is BOS (begin of text, the attention sink).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from model.errors import PartitionError

FORMAT = 1
NONE = "NONE"
BOS = "BOS"
SHAPES = ("digits", "punctuation", "quotes")

# lexnames(5WN): the 45 lexicographer categories of WordNet 3.0.
_NOUNS = (
    "Tops act animal artifact attribute body cognition communication event feeling food group "
    "location motive object person phenomenon plant possession process quantity relation shape "
    "state substance time"
)
_VERBS = (
    "body change cognition communication competition consumption contact creation emotion motion "
    "perception possession social stative weather"
)
CATEGORIES = (  # in the order of their file numbers
    *("adj.all", "adj.pert", "adv.all"),
    *(f"noun.{name}" for name in _NOUNS.split()),
    *(f"verb.{name}" for name in _VERBS.split()),
    "adj.ppl",
)

_NAME = re.compile(r"[A-Z][A-Z0-9_]*\Z")


@dataclass(frozen=True)
class Block:
    """One semantic block.

    `categories`: WordNet categories whose words it holds. `words`: lower-cased words that belong to
    it alone, whatever their categories; a lexicon is built with them. `shapes`: kinds of pieces
    without a letter that it holds.
    """

    name: str
    title: str
    description: str
    provenance: str
    categories: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.match(self.name) or self.name in (NONE, BOS):
            raise PartitionError(
                "Name of a block",
                self.name,
                f"must be upper case such as FOOD, and neither {NONE} nor {BOS}",
                "Rename the block",
            )
        for category in self.categories:
            if category not in CATEGORIES:
                raise PartitionError(
                    f"Category of block {self.name}",
                    category,
                    "is none of WordNet's 45 lexicographer categories",
                    "Use a name such as noun.food",
                )
        for shape in self.shapes:
            if shape not in SHAPES:
                raise PartitionError(
                    f"Shape of block {self.name}",
                    shape,
                    f"must be one of {', '.join(SHAPES)}",
                    "Correct it or remove it",
                )
        for word in self.words:
            if not word or word != word.lower() or word.strip() != word:
                raise PartitionError(
                    f"Word of block {self.name}",
                    word,
                    "must be lower case without spaces around it",
                    "Correct it or remove it",
                )


@dataclass(frozen=True)
class Partition:
    """Blocks in the order of their class ids; every name, category, word and shape in one block.

    A word has a block if its best share of the lexicon is ≥ `theta` and leads the runner-up by ≥
    `delta` (fractions).
    """

    blocks: tuple[Block, ...]
    theta: float = 0.35
    delta: float = 0.03

    def __post_init__(self) -> None:
        if not self.blocks:
            raise PartitionError("Partition", 0, "must have at least one block", "Add a block")
        for name in ("theta", "delta"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0.0 <= value <= 1.0:
                raise PartitionError(name, value, "must lie in [0, 1]", "Choose such a value")
        for noun, members in (
            ("Block name", [block.name for block in self.blocks]),
            ("Category", [item for block in self.blocks for item in block.categories]),
            ("Word", [item for block in self.blocks for item in block.words]),
            ("Shape", [item for block in self.blocks for item in block.shapes]),
        ):
            seen: set[str] = set()
            for member in members:
                if member in seen:
                    raise PartitionError(
                        noun, member, "must occur once in a partition", "Remove one of the two"
                    )
                seen.add(member)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(block.name for block in self.blocks)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class id, NONE and BOS at the end."""
        return (*self.names, NONE, BOS)

    @property
    def n_blocks(self) -> int:
        return len(self.blocks)

    @property
    def n_classes(self) -> int:
        return len(self.blocks) + 2

    @property
    def none_id(self) -> int:
        return len(self.blocks)

    @property
    def bos_id(self) -> int:
        """Class id of the begin-of-text token (not its token id)."""
        return len(self.blocks) + 1

    def index(self, name: str) -> int:
        """Class id of a class name; PartitionError if there is no such class."""
        try:
            return self.class_names.index(name)
        except ValueError:
            raise PartitionError(
                "Block",
                name,
                "is not in this partition",
                f"Use one of {', '.join(self.class_names)}",
            ) from None

    def category_blocks(self) -> dict[str, int]:
        """Category -> class id."""
        return {c: i for i, block in enumerate(self.blocks) for c in block.categories}

    def word_blocks(self) -> dict[str, int]:
        """Closed-class word -> class id."""
        return {w: i for i, block in enumerate(self.blocks) for w in block.words}

    def shape_blocks(self) -> dict[str, int]:
        """Shape -> class id."""
        return {s: i for i, block in enumerate(self.blocks) for s in block.shapes}

    def to_json(self) -> str:
        """Indented JSON with a final newline; `from_json` gives an equal partition."""
        blocks = [
            {key: value for key, value in asdict(block).items() if value != ()}
            for block in self.blocks
        ]
        document = {"format": FORMAT, "theta": self.theta, "delta": self.delta, "blocks": blocks}
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Partition:
        """Strict: unknown, missing, repeated and mistyped keys are a PartitionError."""
        document = _mapping(
            _parse(text), "Partition file", {"format", "blocks"}, {"theta", "delta"}
        )
        if type(document["format"]) is not int or document["format"] != FORMAT:
            raise PartitionError(
                "Format of the partition",
                document["format"],
                f"must be {FORMAT}",
                "Convert the file",
            )
        if not isinstance(document["blocks"], list):
            raise PartitionError(
                "Blocks", document["blocks"], "must be a list", "Write a list of blocks"
            )
        thresholds = {name: document[name] for name in ("theta", "delta") if name in document}
        return cls(tuple(_block(item) for item in document["blocks"]), **thresholds)

    @classmethod
    def load(cls, path: Path | str) -> Partition:
        try:
            text = Path(path).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PartitionError(
                "Partition file", str(path), f"cannot be read ({error})", "Check the path"
            ) from error
        return cls.from_json(text)

    def save(self, path: Path | str) -> None:
        Path(path).write_text(self.to_json(), "utf-8")

    def __iter__(self) -> Iterator[Block]:
        return iter(self.blocks)

    def __len__(self) -> int:
        return len(self.blocks)


def _block(value: object) -> Block:
    names = {field.name for field in fields(Block)}
    lists = {"categories", "words", "shapes"}
    item = _mapping(value, "Block", names - lists, lists)
    for key in names - lists:
        if not isinstance(item[key], str):
            raise PartitionError(f"Key {key} of a block", item[key], "must be text", "Correct it")
    for key in lists & item.keys():
        if not isinstance(item[key], list) or not all(isinstance(x, str) for x in item[key]):
            raise PartitionError(
                f"Key {key} of block {item['name']}",
                item[key],
                "must be a list of texts",
                "Correct it",
            )
    return Block(
        name=item["name"],
        title=item["title"],
        description=item["description"],
        provenance=item["provenance"],
        categories=tuple(item.get("categories", ())),
        words=tuple(item.get("words", ())),
        shapes=tuple(item.get("shapes", ())),
    )


def _parse(text: str) -> object:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise PartitionError("Key", key, "must occur once", "Remove one of the two")
            found[key] = value
        return found

    try:
        return json.loads(text, object_pairs_hook=unique)
    except (json.JSONDecodeError, RecursionError) as error:
        raise PartitionError(
            "Partition file", text[:40], f"is no JSON ({error})", "Correct the file"
        ) from error


def _mapping(
    value: object, subject: str, required: set[str], optional: set[str]
) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise PartitionError(subject, value, "must be a JSON object", "Correct the file")
    for key in value:
        if key not in required | optional:
            raise PartitionError(
                f"Key of {subject.lower()}",
                key,
                f"must be one of {', '.join(sorted(required | optional))}",
                "Remove it or correct its spelling",
            )
    for key in sorted(required):
        if key not in value:
            raise PartitionError(subject, value, f"must have the key {key}", "Add it")
    return value

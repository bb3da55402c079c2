"""The control for blocks that mean something: a random partition whose blocks keep their sizes.

Every word so far, and every shape of pieces without letters, is dealt to a class at random, the
chance of a class in proportion to the tokens it still lacks. Classes stay a function of the words
so far, so the control is as causal, and as fine, as the partition that it replaces.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from model.blocks.lexicon import Lexicon
from model.blocks.membership import MembershipTable
from model.blocks.partition import SHAPES, Block, Partition
from model.blocks.words import START, Reading, WordState, read

_NO_BLOCK = {0: 0.01}  # an entry that is below every threshold, and hides the stem's entry


def random_blocks(
    docs: Sequence[np.ndarray],
    token_bytes: Sequence[bytes | None],
    partition: Partition,
    lexicon: Lexicon,
    seed: int,
) -> tuple[Partition, Lexicon]:
    """A random partition of the sizes of `partition` and `lexicon`, and its lexicon.

    docs: token ids of the training texts, over which sizes are counted; token_bytes: the bytes of
    every id, None for begin of text. The same seed deals the same classes.
    """
    shapes = _count_shapes(docs, token_bytes)
    words = _count_words(docs, token_bytes)
    table = MembershipTable(token_bytes, partition, lexicon)
    sizes = np.zeros(partition.n_classes, dtype=np.int64)
    for doc in docs:
        sizes += np.bincount(table.classes_for_ids(doc), minlength=partition.n_classes)
    sizes = sizes[: partition.none_id + 1]
    dealt_tokens = sum(shapes.values()) + sum(words.values())
    # Pieces that no class can be dealt to (white space, parts of characters) stay where they were.
    sizes[partition.none_id] -= int(sizes.sum()) - dealt_tokens
    class_of = deal({**_keyed("shape", shapes), **_keyed("word", words)}, sizes, seed)
    blocks = [
        Block(
            name=f"RANDOM_{block.name}",
            title=f"random, as many tokens as {block.title}",
            description="Words dealt at random: a control, without a meaning of its own.",
            provenance=f"dealt with seed {seed}",
            shapes=tuple(s for s in SHAPES if class_of.get(("shape", s)) == index),
        )
        for index, block in enumerate(partition)
    ]
    dealt = Partition(tuple(blocks))
    shares: dict[str, Mapping[int, float]] = {}
    for word in words:
        found = class_of["word", word]
        shares[word] = _NO_BLOCK if found == partition.none_id else {found: 1.0}
    return dealt, Lexicon.from_shares(shares, dealt)


def deal(
    counts: Mapping[tuple[str, str], int], sizes: np.ndarray, seed: int
) -> dict[tuple[str, str], int]:
    """Deal items (with their token counts) to classes that lack `sizes` tokens: item -> class.

    Large items first, ties in an order drawn from the seed; a class is drawn among those that have
    room, or else the emptiest one takes the item.
    """
    rng = np.random.default_rng(seed)
    items = sorted(counts)
    items = [items[i] for i in rng.permutation(len(items))]
    items.sort(key=lambda item: -counts[item])
    left = sizes.astype(np.int64)
    found = {}
    for item, draw in zip(items, rng.random(len(items)).tolist(), strict=True):
        count = counts[item]
        room = np.where(left >= count, left, 0)
        total = int(room.sum())
        if total:
            chosen = int(np.searchsorted(room.cumsum(), draw * total, side="right"))
        else:
            chosen = int(left.argmax())
        left[chosen] -= count
        found[item] = chosen
    return found


def _keyed(kind: str, counts: Mapping[str, int]) -> dict[tuple[str, str], int]:
    return {(kind, name): n for name, n in counts.items() if n}


def _count_words(docs: Iterable[np.ndarray], token_bytes: Sequence[bytes | None]) -> Counter[str]:
    """Tokens by the word so far that decides their class."""
    counts: Counter[str] = Counter()
    memo: dict[tuple[WordState, int], Reading] = {}
    for doc in docs:
        state = START
        for token_id in doc.tolist():
            reading = memo.get((state, token_id))
            if reading is None:
                piece = token_bytes[token_id]
                reading = Reading("", "", (), START) if piece is None else read(state, piece)
                memo[state, token_id] = reading
            state = reading.after
            if reading.word:
                counts[reading.word] += 1
    return counts


def _count_shapes(
    docs: Iterable[np.ndarray], token_bytes: Sequence[bytes | None]
) -> dict[str, int]:
    """Tokens by shape, found with a probe partition that knows shapes and no word."""
    probe = Partition(
        tuple(Block(shape.upper(), shape, "", "", shapes=(shape,)) for shape in SHAPES)
    )
    table = MembershipTable(token_bytes, probe, Lexicon({}, probe.names))
    totals = np.zeros(probe.n_classes, dtype=np.int64)
    for doc in docs:
        totals += np.bincount(table.classes_for_ids(doc), minlength=probe.n_classes)
    return dict(zip(SHAPES, totals.tolist(), strict=False))

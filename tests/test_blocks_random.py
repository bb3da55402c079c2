"""The random control: blocks of the same sizes, as fine and as causal as those they replace."""

from __future__ import annotations

import numpy as np
import pytest

from model.blocks.membership import MembershipTable
from model.blocks.random import deal, random_blocks
from tests.model_dirs import BLOCKS, TEXTS, tiny_lexicon, tiny_sources, tiny_tokenizer
from workbench.sources import Sources, with_random_blocks


def sizes(sources: Sources) -> np.ndarray:
    classes = np.concatenate([np.asarray(doc) for doc in sources.training.classes])
    return np.bincount(classes, minlength=sources.partition.n_classes)


def test_items_are_dealt_to_classes_that_have_room() -> None:
    counts = {("word", "big"): 6, ("word", "mid"): 3, ("word", "a"): 1, ("word", "b"): 1}
    for seed in range(20):
        found = deal(counts, np.array([7, 4]), seed)
        assert found["word", "big"] == 0  # only the first class has room for it
        left = np.array([7, 4])
        for item, count in counts.items():
            left[found[item]] -= count
        assert left.tolist() == [0, 0]
    assert len({deal(counts, np.array([50, 50]), seed)["word", "big"] for seed in range(20)}) == 2


def test_an_item_without_room_goes_where_most_is_left() -> None:
    assert deal({("word", "x"): 9}, np.array([2, 5, 4]), 0) == {("word", "x"): 1}


def test_the_odds_of_a_class_are_its_size() -> None:
    counts = {("word", f"w{n}"): 1 for n in range(400)}
    found = deal(counts, np.array([300, 100]), 1)
    assert sum(c == 0 for c in found.values()) == 300
    firsts = [deal({("word", "w"): 1}, np.array([300, 100]), seed) for seed in range(400)]
    share = np.mean([each["word", "w"] == 0 for each in firsts])
    assert share == pytest.approx(0.75, abs=0.08)


def test_sizes_stay_and_meaning_goes() -> None:
    sources = tiny_sources(copies=1)
    other = with_random_blocks(sources, 1)
    # Six short texts leave nothing small enough to fill the last gaps.
    assert np.abs(sizes(other) - sizes(sources)).max() <= 4
    assert sizes(other).sum() == sizes(sources).sum()
    moved = np.concatenate(sources.training.classes) != np.concatenate(other.training.classes)
    assert moved.mean() > 0.3
    assert other.training.ids is sources.training.ids
    assert other.partition.names == tuple(f"RANDOM_{name}" for name in BLOCKS.names)


def test_the_seed_decides() -> None:
    tokenizer = tiny_tokenizer()
    docs = [np.asarray(tokenizer.encode(text)) for text in TEXTS]

    def dealt(seed: int) -> tuple[str, str]:
        partition, lexicon = random_blocks(
            docs, tokenizer.token_bytes, BLOCKS, tiny_lexicon(), seed
        )
        return partition.to_json(), lexicon.to_tsv()

    assert dealt(5) == dealt(5)
    assert dealt(5) != dealt(6)


def test_a_word_has_one_class_and_no_later_token_changes_it() -> None:
    sources = with_random_blocks(tiny_sources(copies=1), 2)
    tokenizer = sources.tokenizer
    table = MembershipTable(tokenizer.token_bytes, sources.partition, sources.lexicon)
    for text in TEXTS:
        ids = np.asarray(tokenizer.encode_with_bos(text))
        whole = table.classes_for_ids(ids)
        for cut in range(1, len(ids)):
            assert np.array_equal(table.classes_for_ids(ids[:cut]), whole[:cut])
    cats = {
        int(c)
        for text in ("the cat ate", "a cat", "my cat ran")
        for piece, c in zip(
            tokenizer.pieces(tokenizer.encode(text)),
            table.classes_for_ids(np.asarray(tokenizer.encode(text))),
            strict=True,
        )
        if piece == " cat"
    }
    assert len(cats) == 1


def test_words_dealt_to_no_block_are_not_found_by_their_stem() -> None:
    sources = tiny_sources(copies=1)
    outcomes = set()
    for seed in range(30):
        other = with_random_blocks(sources, seed)
        table = MembershipTable(sources.tokenizer.token_bytes, other.partition, other.lexicon)
        found = table.membership(sources.tokenizer.encode(" days")).classes[-1]
        entry = other.lexicon.lookup("days")
        assert entry is not None
        assert (found == other.partition.none_id) == (entry.score < 0.5)
        outcomes.add(found == other.partition.none_id)
    assert outcomes == {True, False}

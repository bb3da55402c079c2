"""Glosses, their splits, and the packing of documents into rows."""

from __future__ import annotations

import lzma
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.blocks.partition import CATEGORIES
from model.errors import TextError
from model.training import corpus
from model.training.corpus import Gloss, assign_splits, encode_split, keys_of, load_glosses, pack
from model.transformer.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def glosses() -> list[Gloss]:
    return load_glosses()


def straddling(texts: list[str], splits: list[str]) -> set[str]:
    """Keys that occur in more than one split."""
    found = defaultdict(set)
    for text, split in zip(texts, splits, strict=True):
        for key in keys_of(text):
            found[key].add(split)
    return {key for key, names in found.items() if len(names) > 1}


def test_all_of_wordnet_is_there_with_its_categories(glosses):
    assert len(glosses) == 117_659
    assert len({gloss.id for gloss in glosses}) == 117_659
    assert {gloss.category for gloss in glosses} == set(CATEGORIES)
    assert len(CATEGORIES) == 45
    assert all(gloss.words and all(gloss.words) and gloss.text.strip() for gloss in glosses)
    apple = next(gloss for gloss in glosses if gloss.words == ("apple",))
    assert apple.category == "noun.food"
    assert apple.text.startswith("fruit with red or yellow or green skin")


def test_no_definition_and_no_example_is_in_two_splits(glosses):
    texts = [gloss.text for gloss in glosses]
    splits = assign_splits(texts)
    assert straddling(texts, splits) == set()
    shares = {name: count / len(texts) for name, count in Counter(splits).items()}
    assert shares == pytest.approx({"train": 0.9, "validation": 0.05, "test": 0.05}, abs=0.003)


def test_the_check_for_a_leak_finds_one():
    texts = ['a fruit; "he ate it"', 'to eat; "He ate  it!"']
    assert straddling(texts, ["train", "test"]) == {"he ate it"}


def test_keys_fold_what_does_not_make_a_difference():
    assert keys_of('A Fruit;  "He ate it!"; "so"') == ("a fruit", "he ate it", "so")
    assert keys_of('a  fruit ; "he ate it"') == ("a fruit", "he ate it")
    assert keys_of("--") == ("--",)


def test_a_chain_of_shared_texts_is_one_component():
    links = [f'd{i}; "e{i}"; "e{i + 1}"' for i in range(200)]
    apart = [f'd{i}; "x{i}"' for i in range(200)]
    assert len(set(assign_splits(links))) == 1
    assert set(assign_splits(apart)) == set(corpus.SPLITS)


word = st.sampled_from(["red", "Red", "fruit", "dog", "a  dog", "run"])
gloss_text = st.tuples(word, st.lists(word, max_size=3)).map(
    lambda parts: "; ".join([parts[0], *(f'"{example}"' for example in parts[1])])
)


@given(st.lists(gloss_text, max_size=30), st.randoms(use_true_random=False))
def test_splits_never_leak_and_know_no_order(texts, random):
    splits = assign_splits(texts)
    assert straddling(texts, splits) == set()
    order = list(range(len(texts)))
    random.shuffle(order)
    shuffled = assign_splits([texts[i] for i in order])
    assert shuffled == [splits[i] for i in order]


def test_encode_split_gives_the_documents_of_that_split(glosses):
    tokenizer = Tokenizer.load(corpus.SAMPLE_DATA / "tokenizer.json")
    docs = encode_split("validation", tokenizer, glosses)
    texts = corpus.split_texts(glosses)["validation"]
    assert [tokenizer.decode(doc) for doc in docs] == texts
    assert not any(tokenizer.bos_id in doc for doc in docs)
    with pytest.raises(TextError, match="must be one of train, validation, test"):
        encode_split("valid", tokenizer, glosses)


def test_files_that_are_no_glosses_are_refused(tmp_path):
    path = tmp_path / "glosses.tsv.xz"
    with pytest.raises(TextError, match="cannot be read"):
        load_glosses(path)
    whole = corpus.GLOSSES_PATH.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TextError, match="cannot be read"):
        load_glosses(path)
    for text, message in (
        ("id\tgloss\n", "must name the columns"),
        ("id\tcategory\twords\tgloss\nn1\tnoun.food\n", "Line 2 .* must have 4 columns"),
    ):
        path.write_bytes(lzma.compress(text.encode()))
        with pytest.raises(TextError, match=message):
            load_glosses(path)


BOS = 0
documents = st.lists(st.integers(0, 12), max_size=60)


def numbered(lengths: list[int]) -> list[np.ndarray]:
    """Documents whose tokens say which document they are of, and where in it they are."""
    return [1000 * (i + 1) + np.arange(length) for i, length in enumerate(lengths)]


@given(documents, st.integers(2, 16), st.integers(0, 5))
def test_rows_are_whole_documents_and_only_the_last_of_a_row_is_cut(lengths, length, seed):
    docs = numbered(lengths)
    rows = pack(docs, length, BOS, np.random.default_rng(seed))
    assert rows.shape == (len(rows), length)
    assert rows.dtype == np.int64
    seen = Counter()
    for row in rows.tolist():
        assert row[0] == BOS
        starts = [i for i, token in enumerate(row) if token == BOS]
        for start, end in zip(starts, [*starts[1:], length], strict=True):
            piece = row[start + 1 : end]
            if not piece:
                assert end == length
                continue
            number = piece[0] // 1000 - 1
            assert piece == docs[number][: len(piece)].tolist()
            assert len(piece) == len(docs[number]) or end == length
            seen[number] += 1
    assert all(count == 1 for count in seen.values())


@given(documents, st.integers(2, 16), st.integers(0, 5))
def test_packing_is_a_function_of_lengths_and_seed(lengths, length, seed):
    docs = numbered(lengths)
    first = pack(docs, length, BOS, np.random.default_rng(seed))
    np.testing.assert_array_equal(first, pack(docs, length, BOS, np.random.default_rng(seed)))
    negated = pack([-doc for doc in docs], length, BOS, np.random.default_rng(seed))
    np.testing.assert_array_equal(-first, negated)


def test_packing_loses_little_and_a_seed_decides_the_order():
    rng = np.random.default_rng(3)
    docs = numbered(rng.integers(4, 40, size=3000).tolist())
    rows = pack(docs, 128, BOS, np.random.default_rng(0))
    kept = int((rows != BOS).sum()) / sum(map(len, docs))
    assert 0.96 < kept <= 1
    assert (rows != pack(docs, 128, BOS, np.random.default_rng(1))).any()


def test_a_long_document_is_cut_and_nothing_makes_no_row():
    rows = pack(numbered([50]), 8, BOS, np.random.default_rng(0))
    assert rows.tolist() == [[BOS, *range(1000, 1007)]]
    assert pack([], 8, BOS, np.random.default_rng(0)).shape == (0, 8)
    with pytest.raises(TextError, match="at least 2"):
        pack(numbered([3]), 1, BOS, np.random.default_rng(0))

"""The partition and the lexicon: what they hold, and files that they refuse."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.blocks.lexicon import HEADER, Lexicon, mix
from model.blocks.partition import CATEGORIES, Block, Partition
from model.errors import PartitionError
from model.training.corpus import SAMPLE_DATA

PARTITION = Partition.load(SAMPLE_DATA / "blocks.json")
DOCUMENT = json.loads(PARTITION.to_json())


def partition(*names: str) -> Partition:
    return Partition(tuple(Block(name, name.lower(), "", "test") for name in names))


def test_the_bundled_blocks_hold_every_category_and_shape_once():
    assert len(PARTITION) >= 12
    assert set(PARTITION.category_blocks()) == set(CATEGORIES)
    assert set(PARTITION.shape_blocks()) == {"digits", "punctuation", "quotes"}
    assert PARTITION.names[PARTITION.category_blocks()["noun.food"]] == "FOOD"
    assert all(block.title and block.description and block.provenance for block in PARTITION)
    assert PARTITION.to_json() == (SAMPLE_DATA / "blocks.json").read_text("utf-8")


def test_class_ids_are_blocks_then_none_then_begin_of_text():
    small = partition("FOOD", "ANIMAL")
    assert small.class_names == ("FOOD", "ANIMAL", "NONE", "BOS")
    assert (small.n_blocks, small.n_classes, small.none_id, small.bos_id) == (2, 4, 2, 3)
    assert [small.index(name) for name in small.class_names] == [0, 1, 2, 3]
    with pytest.raises(PartitionError, match=r"'WINE'.* is not in this partition"):
        small.index("WINE")


def test_a_partition_comes_back_from_its_file(tmp_path):
    PARTITION.save(tmp_path / "blocks.json")
    assert Partition.load(tmp_path / "blocks.json") == PARTITION
    with pytest.raises(PartitionError, match="cannot be read"):
        Partition.load(tmp_path / "none.json")


def changed(change) -> str:
    document = copy.deepcopy(DOCUMENT)
    change(document, document["blocks"])
    return json.dumps(document)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d, b: d.update(version=2),
            "'version'.* must be one of blocks, delta, format, theta",
        ),
        (lambda d, b: d.update(format=2), "must be 1"),
        (lambda d, b: d.update(format=True), "must be 1"),
        (lambda d, b: d.pop("format"), "must have the key format"),
        (lambda d, b: d.update(blocks={}), "must be a list"),
        (lambda d, b: d.update(blocks=[]), "at least one block"),
        (lambda d, b: b[0].update(colour="red"), "'colour'.* must be one of categories"),
        (lambda d, b: b[0].pop("title"), "must have the key title"),
        (lambda d, b: b[0].update(title=3), "must be text"),
        (lambda d, b: b[0].update(words="the"), "must be a list of texts"),
        (lambda d, b: b[0].update(words=["the", 3]), "must be a list of texts"),
        (lambda d, b: b[0].update(words=["The"]), "must be lower case"),
        (lambda d, b: b[0].update(categories=["noun.wine"]), "45 lexicographer categories"),
        (lambda d, b: b[0].update(shapes=["round"]), "must be one of digits"),
        (lambda d, b: b.append(b[0]), "'DETERMINER'.* must occur once"),
        (lambda d, b: b[0].update(categories=["noun.food"]), "'noun.food'.* must occur once"),
        (lambda d, b: b[0].update(words=["of"]), "'of'.* must occur once"),
        (lambda d, b: b[0].update(shapes=["digits"]), "'digits'.* must occur once"),
        (lambda d, b: b[0].update(name="food"), "must be upper case"),
        (lambda d, b: b[0].update(name="NONE"), "must be upper case"),
        (lambda d, b: b[0].update(name="FOOD\n"), "must be upper case"),
        (lambda d, b: b.append("FOOD"), "must be a JSON object"),
    ],
)
def test_a_file_against_the_format_is_refused(change, message):
    with pytest.raises(PartitionError, match=message):
        Partition.from_json(changed(change))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "must be a JSON object"),
        ('{"format": 1, "format": 1, "blocks": []}', "'format'.* must occur once"),
    ],
)
def test_a_text_that_is_no_partition_is_refused(text, message):
    with pytest.raises(PartitionError, match=message):
        Partition.from_json(text)


FOOD, ANIMAL = 0, 1
SMALL = partition("FOOD", "ANIMAL")


def test_an_entry_has_the_best_share_and_its_lead():
    lexicon = Lexicon.from_shares({"chicken": {FOOD: 0.6, ANIMAL: 0.37}, "dog": {ANIMAL: 1}}, SMALL)
    entry = lexicon.lookup("Chicken")
    assert entry is not None
    assert (entry.block, entry.score, entry.runner_up) == (FOOD, 0.6, ANIMAL)
    assert entry.margin == pytest.approx(0.23)
    assert lexicon.lookup("dogs") == lexicon.lookup("dog")
    assert lexicon.lookup("do") is None
    assert lexicon.lookup("") is None
    assert len(lexicon) == 2
    assert "dog" in lexicon


def test_a_word_so_far_is_the_mixture_of_what_it_may_become():
    words = {"straw": {ANIMAL: 1.0}, "strawberry": {FOOD: 0.5, ANIMAL: 0.5}}
    counts = [("straw", "straw", 6), ("straw", "strawberry", 2), ("straw", "strawx", 2)]
    mixed = mix([*counts, ("strawberry", "strawberry", 2)], words)
    assert mixed["straw"] == pytest.approx({ANIMAL: (6 + 1) / 10, FOOD: 1 / 10})
    assert mixed["strawberry"] == words["strawberry"]


keys = st.text(st.characters(categories=["Ll"]), min_size=1, max_size=8)
rows = st.dictionaries(st.sampled_from([FOOD, ANIMAL]), st.floats(0, 0.5), max_size=2)


@given(st.dictionaries(keys, rows, max_size=8))
def test_a_lexicon_comes_back_from_its_file(shares):
    lexicon = Lexicon.from_shares(shares, SMALL)
    back = Lexicon.from_tsv(lexicon.to_tsv(), SMALL)
    assert back.to_tsv() == lexicon.to_tsv()
    assert [back.lookup(key) for key in shares] == [lexicon.lookup(key) for key in shares]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "must be '# localist lexicon"),
        ("# other\n", "must be '# localist lexicon"),
        (f"{HEADER}\ndog\n", "Line 2 .* must be a new key"),
        (f"{HEADER}\n\tFOOD\n", "Line 2 .* must be a new key"),
        (f"{HEADER}\ndog\tANIMAL\ndog\tFOOD\n", "Line 3 .* must be a new key"),
        (f"{HEADER}\ndog\tPLANT\n", "'PLANT': is not in the partition"),
        (f"{HEADER}\ndog\tFOOD x\n", "must be 1 to 100"),
        (f"{HEADER}\ndog\tFOOD 0\n", "must be 1 to 100"),
        (f"{HEADER}\ndog\tFOOD 101\n", "must be 1 to 100"),
        (f"{HEADER}\ndog\tFOOD 30 ANIMAL\n", "must pair different blocks"),
        (f"{HEADER}\ndog\tFOOD 30 FOOD 20\n", "must pair different blocks"),
        (f"{HEADER}\ndog\tFOOD 30 ANIMAL 40\n", "must pair different blocks"),
        (f"{HEADER}\ndog\tFOOD 90 ANIMAL 40\n", "must pair different blocks"),
    ],
)
def test_a_lexicon_against_the_format_is_refused(lines, message):
    with pytest.raises(PartitionError, match=message):
        Lexicon.from_tsv(lines, SMALL)


def test_a_lexicon_without_a_file_is_refused(tmp_path):
    with pytest.raises(PartitionError, match="cannot be read"):
        Lexicon.load(tmp_path / "lexicon.tsv", SMALL)


def test_the_bundled_lexicon_knows_words_and_is_small():
    path = SAMPLE_DATA / "lexicon.tsv"
    lexicon = Lexicon.load(path, PARTITION)
    assert lexicon.to_tsv() == path.read_text("utf-8")
    assert path.stat().st_size < 3_000_000
    for word, block in (
        ("the", "DETERMINER"),
        ("apple", "FOOD"),
        ("dogs", "ANIMAL"),
        ("teacher", "PERSON"),
        ("'s", "DETERMINER"),
        ("quickly", "MANNER"),
        ("Paris", "PLACE"),
    ):
        entry = lexicon.lookup(word)
        assert entry is not None
        assert PARTITION.names[entry.block] == block, word
    stra = lexicon.lookup("stra")
    assert stra is not None
    assert stra.score < 0.35

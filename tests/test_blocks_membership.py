"""Membership knows the past only, for any bytes, and the fast path agrees with the slow one."""

from __future__ import annotations

import math
import threading
import time
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.blocks.lexicon import Lexicon
from model.blocks.membership import MembershipTable, membership
from model.blocks.partition import Block, Partition
from model.blocks.words import LONGEST_WORD, START, count_words_so_far, read
from model.errors import PartitionError
from model.training.corpus import SAMPLE_DATA
from model.transformer.tokenizer import Tokenizer

TOKENIZER = Tokenizer.load(SAMPLE_DATA / "tokenizer.json")
BUNDLED = Partition.load(SAMPLE_DATA / "blocks.json")
LEXICON = Lexicon.load(SAMPLE_DATA / "lexicon.tsv", BUNDLED)
TABLE = MembershipTable(TOKENIZER.token_bytes, BUNDLED, LEXICON)

SMALL = Partition(
    (
        Block("FOOD", "food", "", "test"),
        Block("PLANT", "plants", "", "test"),
        Block("SIGN", "signs", "", "test", shapes=("punctuation", "quotes")),
        Block("NUMBER", "numbers", "", "test", shapes=("digits",)),
    )
)
FOOD, PLANT, SIGN, NUMBER, NONE, BEGIN = range(6)
ENTRIES = Lexicon.from_shares(
    {
        "straw": {FOOD: 0.2, PLANT: 0.75},
        "strawberry": {FOOD: 0.8, PLANT: 0.2},
        "'s": {SIGN: 1.0},
        "é": {FOOD: 1.0},
        "even": {FOOD: 0.5, PLANT: 0.49},
        "faint": {FOOD: 0.3},
    },
    SMALL,
)


def classes(*pieces: str | bytes | None) -> list[int]:
    return membership(pieces, SMALL, ENTRIES).classes.tolist()


def test_a_piece_has_the_class_of_the_word_so_far():
    assert classes(None, " straw", "berry", ".") == [BEGIN, PLANT, FOOD, SIGN]
    assert classes(" Straw", "BERRY") == [PLANT, FOOD]
    assert classes(" straw", " berry") == [PLANT, NONE]
    assert classes(" straw", None, "berry") == [PLANT, BEGIN, NONE]
    assert classes(" straw", "-", "straw") == [PLANT, SIGN, PLANT]
    assert classes(" 12", " ", "\x00", "½") == [NUMBER, NONE, NONE, NUMBER]


def test_an_apostrophe_in_a_word_starts_a_clitic():
    assert classes("straw", "'s") == [PLANT, SIGN]
    assert classes("straw", "'", "s") == [PLANT, SIGN, SIGN]
    assert classes("straw", "’s") == [PLANT, SIGN]
    assert classes("'straw", "'") == [PLANT, SIGN]
    assert classes("'s") == [NONE]  # no word before it


def test_bytes_wait_until_they_are_a_character():
    assert classes(b" \xc3", b"\xa9") == [NONE, FOOD]
    assert classes(b"\xc3", b"straw") == [NONE, PLANT]
    assert classes(b"\xff\xfe") == [SIGN]  # U+FFFD, a sign
    assert classes(b"\xf0\x9f", b"\x98\x80") == [NONE, SIGN]
    assert classes(b"") == [NONE]


def test_a_combining_mark_belongs_to_the_word_before_it():
    assert read(read(START, b"stra").after, "̈w".encode()).word == "stra" + "̈" + "w"
    assert read(START, "̈".encode()).word == ""


def test_reasons_scores_and_margins_say_why():
    found = membership(
        [None, "strawberry", " even", " faint", " zzz", "\x00", b"\xf0", "7"], SMALL, ENTRIES
    )
    assert found.reasons == [
        "begin of text",
        "lexicon: 'strawberry' is FOOD (score 0.80, margin 0.60)",
        "no block: FOOD leads by 0.01, below 0.03",
        "no block: best is FOOD at 0.30, below 0.35",
        "no block: 'zzz' is not in the lexicon",
        "white space or a control character",
        "part of a character",
        "digits",
    ]
    assert found.classes.tolist() == [BEGIN, FOOD, NONE, NONE, NONE, NONE, NONE, NUMBER]
    assert found.scores[1] == pytest.approx(0.8)
    assert found.margins[1] == pytest.approx(0.6)
    assert math.isnan(found.scores[0])
    assert math.isnan(found.margins[7])


def test_thresholds_decide_and_are_checked():
    loose = membership([" even", " faint"], replace(SMALL, theta=0.3, delta=0.0), ENTRIES)
    assert loose.classes.tolist() == [FOOD, FOOD]
    for theta, delta in ((1.1, 0.0), (0.5, -0.1), (math.nan, 0.0), ("0.3", 0.0), (True, 0.0)):
        with pytest.raises(PartitionError, match=r"must lie in \[0, 1\]"):
            replace(SMALL, theta=theta, delta=delta)
    assert Partition.from_json(replace(SMALL, theta=0.3).to_json()).theta == 0.3
    with pytest.raises(PartitionError, match="must be those of the partition"):
        membership([], BUNDLED, ENTRIES)


piece = st.one_of(
    st.sampled_from([None, " straw", "straw", "berry", "'", "'s", "-", " ", "é", "̈", "7", "İ"]),
    st.binary(max_size=4),
    st.text(st.characters(codec="utf-8"), max_size=4),
)


@given(st.lists(piece, max_size=12), st.lists(piece, max_size=12))
def test_what_comes_later_changes_nothing(past, future):
    alone = membership(past, SMALL, ENTRIES)
    followed = membership([*past, *future], SMALL, ENTRIES)
    assert alone.reasons == followed.reasons[: len(past)]
    assert alone.classes.tolist() == followed.classes[: len(past)].tolist()


some_ids = st.lists(st.integers(0, TOKENIZER.d_vocab - 1), max_size=30)


@given(some_ids, some_ids)
def test_ids_after_a_position_change_no_class_up_to_it(past, future):
    alone = TABLE.classes_for_ids(np.array(past, dtype=np.int64))
    followed = TABLE.classes_for_ids(np.array(past + future, dtype=np.int64))
    assert alone.tolist() == followed[: len(past)].tolist()
    fresh = MembershipTable(TOKENIZER.token_bytes, BUNDLED, LEXICON).membership(past)
    assert alone.tolist() == fresh.classes.tolist()
    assert ((alone >= 0) & (alone < BUNDLED.n_classes)).all()


def test_a_word_that_ends_otherwise_keeps_the_class_of_its_head():
    """Causality where it is at risk: two words with one head, in their own tokenization."""
    straw, strange = (TOKENIZER.encode(f"the {word}") for word in ("strawberry", "strange"))
    shared = next(
        i for i, pair in enumerate(zip(straw, strange, strict=False)) if len(set(pair)) > 1
    )
    assert shared >= 1
    one, other = TABLE.classes_for_ids(np.array(straw)), TABLE.classes_for_ids(np.array(strange))
    assert one[:shared].tolist() == other[:shared].tolist()


def test_a_lexicon_that_knows_the_whole_word_early_would_be_seen():
    """The property above can fail: here every piece has the class of the word it will become."""

    def cheating(pieces: list[str]) -> list[int]:
        entry = ENTRIES.lookup("".join(pieces).strip())
        return [entry.block if entry else NONE for _ in pieces]

    assert cheating([" straw"]) != cheating([" straw", "berry"])[:1]


def test_rows_are_texts_of_their_own_and_begin_of_text_starts_a_word():
    ids = TOKENIZER.encode(" strawberry")
    rows = np.array([[0, *ids], [*ids, 0]])
    found = TABLE.classes_for_ids(rows)
    assert found.shape == rows.shape
    assert found[0].tolist() == [BUNDLED.bos_id, *TABLE.classes_for_ids(np.array(ids))]
    assert found[1].tolist() == [*TABLE.classes_for_ids(np.array(ids)), BUNDLED.bos_id]
    assert TABLE.classes_for_ids(np.empty((0, 5), dtype=np.int64)).shape == (0, 5)
    for foreign in (-1, TOKENIZER.d_vocab):
        with pytest.raises(PartitionError, match="must lie in"):
            TABLE.classes_for_ids(np.array([0, foreign]))


def test_a_full_memo_is_forgotten_and_the_classes_stay(monkeypatch, rng):
    ids = rng.integers(0, TOKENIZER.d_vocab, size=600)
    expected = TABLE.classes_for_ids(ids)
    monkeypatch.setattr(MembershipTable, "MOST_TRANSITIONS", 7)
    small = MembershipTable(TOKENIZER.token_bytes, BUNDLED, LEXICON)
    assert small.classes_for_ids(ids).tolist() == expected.tolist()
    assert small.classes_for_ids(ids).tolist() == expected.tolist()


def test_threads_may_share_a_table(rng):
    texts = [rng.integers(0, TOKENIZER.d_vocab, size=400) for _ in range(8)]
    expected = [TABLE.classes_for_ids(ids).tolist() for ids in texts]
    shared = MembershipTable(TOKENIZER.token_bytes, BUNDLED, LEXICON)
    found: dict[int, list[int]] = {}

    def work(number: int) -> None:
        found[number] = shared.classes_for_ids(texts[number]).tolist()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[n] for n in range(len(texts))] == expected


def test_a_very_long_word_is_no_burden():
    state = START
    for _ in range(1000):
        state = read(state, b"abcdefgh").after
    assert len(state.word) == LONGEST_WORD
    started = time.perf_counter()
    TABLE.classes_for_ids(np.array(TOKENIZER.encode("a" * 20_000)))
    assert time.perf_counter() - started < 5


def test_words_so_far_are_counted_where_pieces_end():
    token_bytes = [None, b" straw", b"berry", b"'s", b".", b" dog", b"ma"]
    docs = [[1, 2, 4], [1, 4, 1], [1, 2, 3], [5, 6, 0, 6], [5, 4, 5, 3]]
    assert count_words_so_far(docs, token_bytes) == {
        ("straw", "strawberry"): 2,
        ("strawberry", "strawberry"): 2,
        ("straw", "straw"): 2,
        ("'s", "'s"): 2,
        ("dog", "dogma"): 1,
        ("dogma", "dogma"): 1,
        ("ma", "ma"): 1,
        ("dog", "dog"): 2,
    }


@given(st.text(st.characters(codec="utf-8"), max_size=30), st.data())
def test_how_bytes_are_cut_into_pieces_does_not_change_the_word(text, data):
    raw = text.encode("utf-8")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=5)))
    state = START
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        state = read(state, raw[start:end]).after
    assert state == read(START, raw).after
    assert state.pending == b""
    assert all(unicodedata.category(c)[0] in "LM'P" for c in state.word)

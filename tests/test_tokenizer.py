"""The tokenizer: lossless, deterministic, and without a way to write begin-of-text as text."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model.errors import CheckpointError, TextError
from model.training.corpus import SAMPLE_DATA
from model.transformer.tokenizer import BOS, Tokenizer

PATH = SAMPLE_DATA / "tokenizer.json"
TOKENIZER = Tokenizer.load(PATH)


@given(st.text(alphabet=st.characters(codec="utf-8")))
@example("\x00")
@example("\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e6\U0001f1f9")
@example("שלום العربية \u202eabc")
@example("́̂")
@example("  leading,  inner \t\r\n and trailing  ")
@example("\ufeffﬁ Å Å")
@example("<bos> <bos><bos>")
def test_any_text_comes_back(text):
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text
    assert TOKENIZER.bos_id not in ids
    assert b"".join(TOKENIZER.token_bytes[i] or b"" for i in ids) == text.encode("utf-8")
    assert TOKENIZER.encode_batch([text, "a"]) == [ids, TOKENIZER.encode("a")]


def test_begin_of_text_is_id_0_and_is_not_to_be_had_from_text():
    assert (TOKENIZER.bos_id, TOKENIZER.d_vocab) == (0, 4096)
    assert TOKENIZER.encode("") == []
    assert TOKENIZER.encode_with_bos("") == [0]
    ids = TOKENIZER.encode_with_bos("a <bos>")
    assert ids[0] == 0
    assert 0 not in ids[1:]
    assert TOKENIZER.decode(ids) == "a <bos>"
    assert TOKENIZER.token_bytes[0] is None
    assert TOKENIZER.pieces([0]) == [BOS]


@pytest.mark.parametrize("text", ["\ud83d", "fine \udc00 not"])
def test_half_a_surrogate_pair_is_refused(text):
    with pytest.raises(TextError, match="half of a surrogate pair"):
        TOKENIZER.encode(text)
    with pytest.raises(TextError, match="half of a surrogate pair"):
        TOKENIZER.encode_batch(["a", text])


def test_pieces_show_bytes_that_are_no_character():
    ids = TOKENIZER.encode("a sweet \U0001f34e")
    assert TOKENIZER.pieces(ids)[:2] == ["a", " sweet"]
    assert "".join(TOKENIZER.pieces(ids)).endswith("\\xf0\\x9f\\x8d\\x8e")
    assert TOKENIZER.decode(ids[:-1]) == "a sweet �"
    with pytest.raises(TextError, match=r"must lie in \[0, 4096\)"):
        TOKENIZER.decode([4096])
    with pytest.raises(TextError, match=r"must lie in \[0, 4096\)"):
        TOKENIZER.pieces([-1])


def test_saving_and_training_again_give_the_same_bytes(tmp_path):
    TOKENIZER.save(tmp_path / "t.json")
    assert (tmp_path / "t.json").read_bytes() == PATH.read_bytes()
    texts = [f"the {word} of a {word}ing" for word in ("act", "play", "run", "tree")] * 3
    first = Tokenizer.train(texts, d_vocab=280)
    assert first.to_json() == Tokenizer.train(texts[::-1], d_vocab=280).to_json()
    assert first.to_json() != Tokenizer.train(["abc abc"], d_vocab=280).to_json()


def test_files_that_are_no_such_tokenizer_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        Tokenizer.load(tmp_path / "none.json")
    with pytest.raises(CheckpointError, match="cannot be parsed"):
        Tokenizer.from_json(TOKENIZER.to_json()[:1000])
    document = json.loads(TOKENIZER.to_json())
    without_bos = {**document, "added_tokens": []}
    without_bos["model"] = {
        **document["model"],
        "vocab": {("A<b" if k == BOS else k): v for k, v in document["model"]["vocab"].items()},
    }
    with pytest.raises(CheckpointError, match="must know <bos>"):
        Tokenizer.from_json(json.dumps(without_bos))
    folding = {**document, "normalizer": {"type": "Lowercase"}}
    with pytest.raises(CheckpointError, match="must give text back as it went in"):
        Tokenizer.from_json(json.dumps(folding))
    spaced = {**document, "pre_tokenizer": {**document["pre_tokenizer"], "add_prefix_space": True}}
    with pytest.raises(CheckpointError, match="must give text back as it went in"):
        Tokenizer.from_json(json.dumps(spaced))
    assert Tokenizer.from_json(json.dumps(document)).d_vocab == 4096

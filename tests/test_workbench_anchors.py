"""Membership by anchors alone on held-out words: places, splits, scores, and planted labels."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.blocks.lexicon import Lexicon
from model.blocks.partition import Block, Partition
from model.errors import AnchorError
from model.training.corpus import Gloss
from model.transformer.checkpoint import LoadedModel, load_model
from tests.model_dirs import TEXTS, tiny_tokenizer, write_tiny_model
from workbench import anchors, models, paths
from workbench.anchor_words import find_places, labelled_words, mean_activations
from workbench.anchors import evaluate_anchors, implied_blocks, judge, score, split_words
from workbench.cli import main

PARTITION = Partition(
    (
        Block("FUNCTION", "function words", "closed classes", "test", words=("the", "of")),
        Block("FOOD", "food", "what is eaten", "test", categories=("noun.food",)),
        Block("ANIMAL", "animals", "living things", "test", categories=("noun.animal",)),
    )
)


def planted_words() -> dict[str, int]:
    """Food ends in -p, -t or -s, animals in -k, -l or -r: the last piece tells the block."""
    stems = [a + b + c for a in "bdfg" for b in "aeo" for c in "mn"]
    endings = {"ip": 1, "it": 1, "is": 1, "ok": 2, "ol": 2, "or": 2}
    return {stem + ending: block for stem in stems for ending, block in endings.items()}


def planted_glosses(rng: np.random.Generator) -> list[Gloss]:
    words = planted_words()
    names = list(words)
    glosses = []
    for n, word in enumerate([*names, *names]):
        others = " the ".join(names[i] for i in rng.integers(len(names), size=6))
        category = ("", "noun.food", "noun.animal")[words[word]]
        glosses.append(Gloss(f"n{n:08d}", category, (word,), f"the {others} of {n}"))
    return glosses


@pytest.fixture
def tiny(tmp_path: Path) -> LoadedModel:
    write_tiny_model(tmp_path / "tiny")
    shares = {word: {block: 1.0} for word, block in planted_words().items()}
    lexicon = Lexicon.from_shares(shares, PARTITION)
    return replace(load_model(tmp_path / "tiny"), partition=PARTITION, lexicon=lexicon)


def test_labels_are_the_lexicons_where_the_dictionary_agrees() -> None:
    glosses = [
        Gloss("1", "noun.food", ("Apple", "apple pie", "the", "bat"), "x"),
        Gloss("2", "noun.animal", ("cat", "bat", "egg"), "x"),
        Gloss("3", "verb.motion", ("run",), "x"),
    ]
    lexicon = Lexicon.from_shares(
        {
            "apple": {1: 1.0}, "apple pie": {1: 1.0}, "the": {0: 1.0}, "run": {1: 1.0},
            "bat": {1: 0.51, 2: 0.49},  # leads by less than delta
            "cat": {2: 0.9}, "egg": {1: 1.0},  # the dictionary knows no egg that is food
        },
        PARTITION,
    )  # fmt: skip
    assert labelled_words(glosses, PARTITION, lexicon) == {"apple": 1, "cat": 2}
    assert "bat" not in labelled_words(glosses, PARTITION, lexicon)


def test_places_are_where_a_reader_finds_the_words() -> None:
    """By spelling the text out piece by piece, and by a search in the whole text."""
    tokenizer, wanted = tiny_tokenizer(), {"cat", "tree", "bread", "a"}
    texts = [*TEXTS, "cat", "the catalog; cat's (tree) category tree"]
    docs = tokenizer.encode_batch(texts)
    found = find_places(docs, tokenizer.token_bytes, wanted)
    assert set(found) == wanted
    for word in wanted:
        expected = []
        for number, (text, ids) in enumerate(zip(texts, docs, strict=True)):
            ends = np.cumsum([len(tokenizer.token_bytes[i] or b"") for i in ids])
            for match in re.finditer(rf"\b{word}\b", text):
                expected.append((number, int(np.searchsorted(ends, match.end()))))
        assert found[word] == expected


def test_means_are_those_of_the_cached_forward_pass(tiny: LoadedModel) -> None:
    docs = tiny.tokenizer.encode_batch(TEXTS)
    chosen = [[(0, 3), (2, 1)], [(1, 4)], [(0, 3)]]
    found = mean_activations(tiny.decoder, tiny.tokenizer.bos_id, docs, chosen)
    assert list(found) == ["hook_embed", "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]
    for name, means in found.items():
        for word, places in enumerate(chosen):
            rows = []
            for doc, position in places:
                ids = torch.tensor([[tiny.tokenizer.bos_id, *docs[doc]]])
                _, cache = tiny.decoder.run_with_cache(ids)
                rows.append(cache[name][0, position + 1].double().numpy())
            assert np.allclose(means[word], np.mean(rows, axis=0), atol=1e-5)
            assert not np.allclose(means[word], np.mean(rows, axis=0) + 1e-3, atol=1e-5)


def test_parts_are_disjoint_and_complete(seed: int) -> None:
    for count in (5, 100, 1237):
        parts = split_words(count, seed)
        joined = np.concatenate(list(parts.values()))
        assert sorted(joined.tolist()) == list(range(count))
        assert list(parts) == ["design", "selection", "held_out"]
    assert [len(part) for part in split_words(100, seed).values()] == [60, 20, 20]
    assert np.array_equal(split_words(100, 3)["held_out"], split_words(100, 3)["held_out"])
    assert not np.array_equal(split_words(100, 3)["held_out"], split_words(100, 4)["held_out"])


def test_scores_by_hand() -> None:
    truth, decided = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 3, 0])
    found = score(truth, decided, 3)
    assert found["accuracy"] == pytest.approx(0.5) and found["error"] == pytest.approx(0.5)
    # F1: 2·2/(3+3), 2·1/(2+2), 0.
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert found["entropy_bits"] == pytest.approx(1.4591479170272448)
    perfect = score(truth, truth, 3)
    assert perfect["accuracy"] == perfect["macro_f1"] == 1.0 and perfect["fano_bound"] == 0.0
    assert perfect["information_bits"] == pytest.approx(perfect["entropy_bits"])


def test_planted_blocks_are_recognised_on_held_out_words(
    tiny: LoadedModel, rng: np.random.Generator
) -> None:
    glosses = planted_glosses(rng)
    found = evaluate_anchors(tiny, 1, glosses, least_words=5)
    assert found["blocks"] == ["FOOD", "ANIMAL"]
    assert found["anchors"]["accuracy"] > 0.9 > found["majority"]["accuracy"]
    assert found["anchors"]["fano_bound"] <= found["anchors"]["error"] + 1e-12
    words = found["design"]["first_anchors"]
    for name, ending in (("FOOD", ("p", "t", "s")), ("ANIMAL", ("k", "l", "r"))):
        assert all(word.endswith(ending) for word in words[name])
    assert found["design"]["implied_by_the_rest"] in (["FOOD"], ["ANIMAL"])
    assert found == evaluate_anchors(tiny, 1, glosses, least_words=5)
    with pytest.raises(AnchorError, match="categories of the dictionary"):
        evaluate_anchors(tiny, 1, glosses, least_words=1000)


def clouds(rng: np.random.Generator) -> dict[str, Any]:
    y = np.arange(300) % 3
    x = rng.normal(size=(300, 6)) * np.array([0.5, 30, 30, 1, 1, 1])
    x[:, 0] += 2.0 * y
    return {
        "features": {"noise": rng.normal(size=(300, 6)), "signal": x},
        "y": y,
        "words": [f"w{n}" for n in range(300)],
        "occurrences": rng.integers(3, 90, size=300),
        "names": ("A", "B", "C"),
        "parts": split_words(300, 1),
    }


def test_held_out_words_decide_nothing(rng: np.random.Generator) -> None:
    """Other labels on the held-out words change their scores, and neither design nor selection."""
    given = clouds(rng)
    plain = judge(**given)
    assert plain["hook"] == "signal" and plain["beats"] == {"majority": True, "nearest_mean": True}
    turned = given["y"].copy()
    turned[given["parts"]["held_out"]] = (turned[given["parts"]["held_out"]] + 1) % 3
    other = judge(**{**given, "y": turned})
    for key in ("design", "hook", "shrinkage", "nearest_mean_hook", "words"):
        assert other[key] == plain[key]
    assert other["anchors"]["accuracy"] < 0.5 < plain["anchors"]["accuracy"]


def test_the_rest_stands_for_a_block() -> None:
    left, occurrences = np.array([2, 2, 1, 1, 3]), np.array([5, 4, 20, 1, 1])
    assert implied_blocks(np.array([0, 0, 1, 2]), left, occurrences, 4) == [1, 3]
    assert implied_blocks(np.array([0, 1, 2, 3]), left, occurrences, 4) == [1]
    empty = np.array([], dtype=np.int64)
    assert implied_blocks(np.array([0, 1]), empty, empty, 2) == []


def test_labels_without_meaning_beat_nothing(rng: np.random.Generator) -> None:
    given = clouds(rng)
    given["features"] = {"noise": given["features"]["noise"]}
    found = judge(**given)
    assert found["anchors"]["accuracy"] < 0.6
    assert found["anchors"]["information_bits"] < 0.3


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(paths.STORE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(paths, "SHIPPED_MODELS", tmp_path / "shipped")
    models.forget_models()
    write_tiny_model(tmp_path / "models" / "tiny")
    given = clouds(np.random.default_rng(0))
    monkeypatch.setattr(anchors, "evaluate_anchors", lambda model, seed: judge(**given))
    assert main(["anchors", "--model", "tiny", "--seed", "2", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert {"model", "content_hash", "anchors", "majority", "nearest_mean", "beats"} <= set(found)
    assert err.count("accuracy") == 3
    assert main(["anchors", "--model", "tiny", "--seed", "-1", "--json", "-"]) == 2
    assert "Seed is -1" in capsys.readouterr().err

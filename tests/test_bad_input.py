"""Bad input, one test each: a message that says what to do, an unharmed program, nothing lost."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from model.blocks.partition import Partition
from model.errors import (
    CheckpointError,
    DialError,
    LocalistError,
    ModelNotFoundError,
    PartitionError,
    TextError,
)
from model.locality.dial import Dial, Schedule
from model.transformer.checkpoint import LoadedModel
from tests.model_dirs import BLOCKS, reseal, write_tiny_model
from workbench import models, paths
from workbench.inference import next_tokens, prepare
from workbench.models import list_models, model_card, open_model, same_model
from workbench.views import dial_view


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with the model `tiny`, and nothing that ships."""
    monkeypatch.setenv(paths.STORE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(paths, "SHIPPED_MODELS", tmp_path / "shipped")
    models.forget_models()
    write_tiny_model(tmp_path / "models" / "tiny")
    return tmp_path / "models"


@pytest.fixture
def model(store: Path) -> LoadedModel:
    return open_model("tiny", "cpu")


def goes_on(model: LoadedModel) -> None:
    """The same model still answers."""
    rows = next_tokens(model, prepare(model, "the cat"), Dial(0.5))
    assert len(rows) == 10 and rows[0].probability > 0


# Prompts


def test_an_empty_prompt(model: LoadedModel) -> None:
    with pytest.raises(TextError, match="Type some text"):
        prepare(model, "")
    goes_on(model)


def test_one_token(model: LoadedModel) -> None:
    prompt = prepare(model, "a")
    view = dial_view(model, prompt, Dial(1.0), 0)
    assert view.n_tokens == 2 and math.isfinite(view.entropy_bits.sum())


def test_a_hundred_thousand_characters(model: LoadedModel) -> None:
    with pytest.raises(TextError, match="at most 20,000"):
        prepare(model, "a" * 100_000)
    with pytest.raises(TextError, match="at most 64, begin-of-text included"):
        prepare(model, "a" * 10_000)
    goes_on(model)


@pytest.mark.parametrize(
    "text",
    [
        "\x00",
        "a\x00b",
        "\x07\x1b[31m",
        "\u202eabc\u202c",
        "שלום עולם",
        "🙂👩\u200d🔬",
        "e\u0301\u0301",
        " ",
    ],
    ids=["nul", "nul inside", "control", "turned", "hebrew", "emoji", "marks", "blank"],
)
def test_odd_characters_are_read_losslessly_and_shown_safely(model: LoadedModel, text: str) -> None:
    prompt = prepare(model, text)
    assert model.tokenizer.decode(prompt.ids) == text
    view = dial_view(model, prompt, Dial(0.9), 1)
    assert all(token.isprintable() for token in view.tokens)
    assert all(reason.isprintable() for reason in view.reasons)


def test_half_a_surrogate_pair(model: LoadedModel) -> None:
    with pytest.raises(TextError, match="no UTF-8 form"):
        prepare(model, "a\ud800b")
    goes_on(model)


def test_text_that_spells_a_special_token(model: LoadedModel) -> None:
    prompt = prepare(model, "<bos> the")
    assert prompt.ids.count(model.tokenizer.bos_id) == 1
    assert list(prompt.classes).count(model.partition.bos_id) == 1


# Dial values


@pytest.mark.parametrize(
    "value",
    [math.nan, -0.1, 1.0000001, math.inf, "0.5", "high", None, True, [0.1, "x"], [2.0], 1 + 0j],
    ids=repr,
)
def test_a_dial_that_is_none(model: LoadedModel, value: object) -> None:
    with pytest.raises(DialError, match=r"Dial is .*Choose a value in \[0, 1\]"):
        Dial(value)  # pyright: ignore[reportArgumentType]
    goes_on(model)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, "4", None])
def test_a_gain_or_temperature_that_is_none(value: object) -> None:
    with pytest.raises(DialError, match="Gain"):
        Dial(0.5, gain=value)  # pyright: ignore[reportArgumentType]
    with pytest.raises(DialError, match="Temperature"):
        Dial(0.5, temperature=value)  # pyright: ignore[reportArgumentType]


def test_a_hand_set_schedule_of_another_model(model: LoadedModel) -> None:
    dial = Dial(0.5, schedule=Schedule("hand", weights=((1.0, 1.0),)))
    with pytest.raises(DialError, match="this model has 2 layers of 4 heads"):
        dial_view(model, prepare(model, "the cat"), dial, 0)
    goes_on(model)


# Checkpoints


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json", "tokenizer.json",
                                  "blocks.json", "lexicon.tsv", "reads.json"])  # fmt: skip
@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "gone"])
def test_a_damaged_checkpoint(store: Path, name: str, damage: str) -> None:
    write_tiny_model(store / "whole", seed=1)
    path = store / "tiny" / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(
            {"cut": content[: len(content) // 2], "garbage": b"\x93" * 99}.get(damage, b"")
        )
    with pytest.raises(CheckpointError, match=r"Restore"):
        open_model("tiny", "cpu")
    assert {card.name for card in list_models()} == {"tiny", "whole"}
    goes_on(open_model("whole", "cpu"))


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json", "tokenizer.json",
                                  "blocks.json", "lexicon.tsv", "reads.json"])  # fmt: skip
@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[1]", b"\x93" * 99, b"null"])
def test_a_damaged_checkpoint_with_a_fitting_manifest(
    store: Path, name: str, content: bytes
) -> None:
    (store / "tiny" / name).write_bytes(content)
    reseal(store / "tiny")
    with pytest.raises(LocalistError):
        open_model("tiny", "cpu")


def test_weights_that_are_not_those_of_the_config(store: Path) -> None:
    path = store / "tiny" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "d_mlp": config["d_mlp"] + 1}))
    reseal(store / "tiny")
    with pytest.raises(CheckpointError, match="exactly the tensors"):
        open_model("tiny", "cpu")


# Block files


def edited(store: Path, **changes: object) -> None:
    """Writes tiny's blocks.json with its second block changed, under a fitting manifest."""
    path = store / "tiny" / "blocks.json"
    document = json.loads(path.read_text("utf-8"))
    document["blocks"][1].update(changes)
    path.write_text(json.dumps(document), "utf-8")
    reseal(store / "tiny")


def test_a_block_file_with_a_duplicate_name(store: Path) -> None:
    edited(store, name="FOOD")
    with pytest.raises(PartitionError, match=r"Block name is 'FOOD': must occur once.*Remove one"):
        open_model("tiny", "cpu")
    with pytest.raises(PartitionError, match="FOOD"):
        Partition.load(store / "tiny" / "blocks.json")


def test_a_block_file_that_lexicon_and_reads_do_not_know(store: Path) -> None:
    edited(store, name="VEHICLE")
    with pytest.raises(PartitionError, match=r"ANIMAL|VEHICLE"):
        open_model("tiny", "cpu")


def test_a_lexicon_with_an_unknown_block(store: Path) -> None:
    path = store / "tiny" / "lexicon.tsv"
    path.write_text(path.read_text("utf-8") + "zebra\tSTRIPES\n", "utf-8")
    reseal(store / "tiny")
    with pytest.raises(PartitionError, match=r"'STRIPES': is not in the partition"):
        open_model("tiny", "cpu")


def test_reads_of_an_unknown_block(store: Path) -> None:
    path = store / "tiny" / "reads.json"
    document = json.loads(path.read_text("utf-8"))
    document["heads"][0]["reads"]["ANIMAL"] = ["STRIPES"]
    path.write_text(json.dumps(document), "utf-8")
    reseal(store / "tiny")
    with pytest.raises(PartitionError, match=r"STRIPES.*unknown block.*Known are FUNCTION"):
        open_model("tiny", "cpu")


@pytest.mark.parametrize(
    "changes",
    [{"colour": "red"}, {"name": "food"}, {"title": 3}, {"categories": ["noun.x"]}, {"words": "a"}],
)
def test_a_block_file_that_breaks_the_format(store: Path, changes: dict[str, object]) -> None:
    edited(store, **changes)
    with pytest.raises(PartitionError, match=next(iter(changes)) + "|Name|Category"):
        open_model("tiny", "cpu")
    assert BLOCKS.names[1] == "ANIMAL"


# Links


def test_a_link_to_a_model_that_is_gone(store: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"'departed'.*Choose one of tiny"):
        model_card("departed")
    goes_on(open_model("tiny", "cpu"))


def test_a_link_to_a_model_that_has_changed(store: Path) -> None:
    link = model_card("tiny").short_hash
    assert same_model(model_card("tiny"), link) is None
    write_tiny_model(store / "tiny", seed=2)
    message = same_model(model_card("tiny"), link)
    assert message is not None and link in message and "will differ" in message
    goes_on(open_model("tiny", "cpu"))


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc", "a/b", "\x00", "TINY", ""])
def test_a_link_that_names_a_path(store: Path, name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="no path"):
        open_model(name, "cpu")

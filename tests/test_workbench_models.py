"""Listing and opening models: by name only, broken ones shown, a bounded memo."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from model.errors import CheckpointError, DeviceError, ModelNotFoundError
from model.transformer import checkpoint
from tests.model_dirs import save_tiny, write_tiny_model
from tests.serving import ROOT
from workbench import models, paths
from workbench.devices import device_choices, resolve_device
from workbench.models import ModelCard, list_models, model_card, open_model, same_model


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store, nothing that ships, and an empty memo."""
    monkeypatch.setenv(paths.STORE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(paths, "SHIPPED_MODELS", tmp_path / "shipped")
    models.forget_models()
    return tmp_path / "models"


def test_a_card_says_what_the_directory_holds(store: Path) -> None:
    content_hash = write_tiny_model(store / "one")
    [card] = list_models()
    model = open_model("one", "cpu")
    assert card == ModelCard(
        name="one",
        title="tiny 0",
        content_hash=content_hash,
        n_layers=2,
        n_heads=4,
        d_model=16,
        n_ctx=64,
        n_params=sum(p.numel() for p in model.decoder.parameters()),
        trained_tokens=7,
        description="for tests",
        bytes=(store / "one" / "weights.safetensors").stat().st_size,
    )
    assert card.short_hash == content_hash[:12]
    assert model_card("one") == card


def test_an_empty_store_is_an_empty_list_and_creates_nothing(store: Path) -> None:
    assert list_models() == []
    assert not store.exists()
    with pytest.raises(ModelNotFoundError, match="train trial"):
        open_model("bundled")


def test_the_store_is_runs_in_the_project_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(paths.STORE_VARIABLE)
    assert paths.store() == ROOT / "runs"
    monkeypatch.setenv(paths.STORE_VARIABLE, "  ")
    assert paths.store() == ROOT / "runs"


@pytest.mark.parametrize("file", ["config.json", "manifest.json", "provenance.json"])
@pytest.mark.parametrize("content", ["", "[1]", "{", '{"surprise": 1}', "\x00\xff"])
def test_a_broken_directory_is_listed_with_its_error(store: Path, file: str, content: str) -> None:
    write_tiny_model(store / "bad")
    write_tiny_model(store / "good", seed=1)
    (store / "bad" / file).write_text(content, "latin-1")
    bad, good = list_models()
    assert (bad.name, good.name, good.error) == ("bad", "good", "")
    if not (file == "provenance.json" and content.startswith('{"')):  # an object is all it must be
        assert file in bad.error or "Config" in bad.error
    with pytest.raises(CheckpointError):
        open_model("bad", "cpu")


@pytest.mark.parametrize("kept", [0, 7, 50, -1])
def test_cut_weights_are_seen_without_reading_them(store: Path, kept: int) -> None:
    write_tiny_model(store / "cut")
    path = store / "cut" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    [card] = list_models()
    assert "cut short" in card.error and "Restore" in card.error
    with pytest.raises(CheckpointError, match="hash differs"):
        open_model("cut", "cpu")


def test_a_missing_weights_file_is_named(store: Path) -> None:
    write_tiny_model(store / "gone")
    (store / "gone" / "weights.safetensors").unlink()
    assert "weights.safetensors" in list_models()[0].error
    with pytest.raises(CheckpointError, match=r"gone/weights\.safetensors"):
        open_model("gone", "cpu")


def test_one_changed_byte_is_found_when_opening(store: Path) -> None:
    write_tiny_model(store / "flip")
    path = store / "flip" / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"flip/weights\.safetensors.*altered"):
        open_model("flip", "cpu")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../one", "one/../one", "/etc", "One", "one\n", " one", "a" * 65, None, 3],
)
def test_a_name_is_never_a_path(store: Path, name: object) -> None:
    write_tiny_model(store / "one")
    with pytest.raises(ModelNotFoundError, match="no path"):
        open_model(name, "cpu")  # pyright: ignore[reportArgumentType]


def test_a_directory_that_is_no_name_is_not_listed(store: Path) -> None:
    write_tiny_model(store / "one")
    for other in (".one.old", ".draft", "Upper", "with space"):
        (store / other).mkdir()
    (store / "file").write_text("not a directory")
    assert [card.name for card in list_models()] == ["one"]


def test_a_save_sweeps_away_what_a_kill_left_of_the_last(store: Path) -> None:
    for name in ("one", "other"):
        (store / f".{name}.draft-x1").mkdir(parents=True)
    before = save_tiny(store / "one", seed=1)
    assert save_tiny(store / "one", seed=2) != before
    assert sorted(path.name for path in store.iterdir()) == [".other.draft-x1", "one"]
    assert checkpoint.verify(store / "one") == save_tiny(store / "one", seed=2)


def test_an_unknown_name_lists_those_there_are(store: Path) -> None:
    write_tiny_model(store / "one")
    write_tiny_model(store / "two")
    with pytest.raises(ModelNotFoundError, match=r"'three'.*Choose one of one, two"):
        open_model("three", "cpu")


def test_what_ships_hides_a_namesake_in_the_store(store: Path) -> None:
    shipped = write_tiny_model(paths.SHIPPED_MODELS / "one", seed=5)
    write_tiny_model(store / "one", seed=6)
    assert [card.content_hash for card in list_models()] == [shipped]
    assert open_model("one", "cpu").content_hash == shipped


def test_the_memo_shares_models_and_is_bounded(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "MOST_OPEN", 2)
    for seed in range(3):
        write_tiny_model(store / f"m{seed}", seed)
    zero, one = open_model("m0", "cpu"), open_model("m1", "cpu")
    assert open_model("m0", "cpu") is zero
    open_model("m2", "cpu")  # m1 was used longest ago
    assert open_model("m0", "cpu") is zero
    assert open_model("m1", "cpu") is not one
    assert not zero.decoder.training
    assert not any(p.requires_grad for p in zero.decoder.parameters())


def test_a_renamed_copy_is_one_model_and_a_changed_one_is_another(store: Path) -> None:
    write_tiny_model(store / "one")
    write_tiny_model(store / "copy")
    first = open_model("one", "cpu")
    assert open_model("copy", "cpu") is first
    write_tiny_model(store / "one", seed=9)
    assert open_model("one", "cpu") is not first


def test_threads_that_want_one_model_load_it_once(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_model(store / "one")
    loads = []
    original = checkpoint.load_model
    monkeypatch.setattr(
        checkpoint, "load_model", lambda *args: (loads.append(1), original(*args))[1]
    )
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(open_model("one", "cpu"))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1 and len(found) == 6 and len(set(map(id, found))) == 1


def test_a_link_to_another_version_is_said(store: Path) -> None:
    content_hash = write_tiny_model(store / "one")
    card = model_card("one")
    assert same_model(card, content_hash) is None
    assert same_model(card, card.short_hash) is None
    message = same_model(card, "ffffffffffff")
    assert message is not None and "ffffffffffff" in message and card.short_hash in message
    assert "another version" in (same_model(card, "") or "")


def test_listing_loads_no_torch(store: Path) -> None:
    write_tiny_model(store / "one")
    code = (
        "import sys; from workbench.models import list_models; "
        "print(len(list_models()), sorted({'torch', 'transformer_lens'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split(maxsplit=1)[1].strip() == "[]"
    assert int(done.stdout.split()[0]) >= 1


def test_devices_are_offered_with_a_reason() -> None:
    auto, cpu, cuda = device_choices()
    assert (auto.available, cpu.available) == (True, True)
    assert cuda.available == torch.cuda.is_available()
    assert cuda.available or "CUDA" in cuda.reason or "CPU only" in cuda.reason
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


def test_an_absent_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="Choose cpu or auto"):
        resolve_device("cuda")
    with pytest.raises(DeviceError, match="must be one of auto, cpu, cuda"):
        resolve_device("tpu")

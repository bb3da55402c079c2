"""Stored examples: what is read back is what was computed, and no torch is needed for it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.errors import LocalistError, ModelNotFoundError
from model.transformer.checkpoint import LoadedModel, load_model
from tests.model_dirs import write_tiny_model
from tests.serving import ROOT
from workbench import examples
from workbench.canvas import encode_payload, to_payload
from workbench.curves import MEASURED
from workbench.examples import EXAMPLES, FOLDER, compute, example, pack, stored_example, unpack
from workbench.models import list_models

SHORT = tuple(replace(each, text=each.text[:30]) for each in EXAMPLES)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples that a tiny model can read."""
    monkeypatch.setattr(examples, "EXAMPLES", SHORT)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    directory = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(directory)
    return load_model(directory)


def test_an_example_comes_back_as_it_was_computed(model: LoadedModel, short: None) -> None:
    computed = compute(model, "tiny", SHORT[0])
    stored = unpack(pack(computed), SHORT[0])
    assert to_payload(stored.view) == to_payload(computed.view)
    assert (stored.model_name, stored.model_hash) == ("tiny", model.content_hash)
    assert stored.next_tokens == computed.next_tokens and len(stored.next_tokens) == 10
    assert stored.heads == computed.heads and len(stored.heads) == 8
    for field in ("text", "ids", "tokens", "reasons"):
        assert getattr(stored.prompt, field) == getattr(computed.prompt, field)
    for field in ("classes", "scores", "margins"):
        a, b = (getattr(each.prompt, field) for each in (stored, computed))
        assert a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)
        assert not a.flags.writeable
    assert stored.curves.tokens == computed.curves.tokens
    assert np.array_equal(stored.curves.nats, computed.curves.nats)
    for name in MEASURED:
        np.testing.assert_allclose(
            stored.curves.measures[name], computed.curves.measures[name], rtol=1e-6, atol=1e-7
        )


def test_all_are_written_and_read_by_name(model: LoadedModel, tmp_path: Path, short: None) -> None:
    assert stored_example("ship", tmp_path) is None
    written = list(examples.write_examples(model, "tiny", tmp_path))
    assert [path.name for path in written] == [f"{each.name}.lwdv" for each in EXAMPLES]
    found = stored_example("ship", tmp_path)
    assert found is not None and found.prompt.text == example("ship").text
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in written}


def test_an_example_of_another_text_is_not_shown(
    model: LoadedModel, tmp_path: Path, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(examples.write_examples(model, "tiny", tmp_path))
    changed = tuple(replace(each, text=each.text + "!") for each in SHORT)
    monkeypatch.setattr(examples, "EXAMPLES", changed)
    assert stored_example("ship", tmp_path) is None


def test_an_unknown_example_lists_those_there_are() -> None:
    with pytest.raises(ModelNotFoundError, match="Choose orchard, doctor"):
        example("../orchard")


@pytest.mark.parametrize("kept", [0, 5, 40, -8])
def test_a_cut_example_is_an_error_with_a_remedy(
    model: LoadedModel, tmp_path: Path, short: None, kept: int
) -> None:
    content = pack(compute(model, "tiny", SHORT[2]))
    (tmp_path / "ship.lwdv").write_bytes(content[:kept])
    with pytest.raises(LocalistError):
        stored_example("ship", tmp_path)


@pytest.mark.parametrize(
    "header",
    [{}, {"kind": "localist-example", "format": 2}, {"kind": "localist-example", "format": 1},
     {"kind": "localist-example", "format": 1, "view": {"tokens": 3}, "grid": []}],
)  # fmt: skip
def test_a_container_of_something_else_is_an_error(
    tmp_path: Path, header: dict[str, object]
) -> None:
    (tmp_path / "ship.lwdv").write_bytes(encode_payload(header, {}))
    with pytest.raises(LocalistError, match="python -m workbench examples"):
        stored_example("ship", tmp_path)


def test_reading_loads_no_torch(model: LoadedModel, tmp_path: Path, short: None) -> None:
    (tmp_path / "ship.lwdv").write_bytes(pack(compute(model, "tiny", SHORT[2])))
    code = (
        "import sys; from pathlib import Path; from workbench.examples import example, unpack; "
        f"found = unpack(Path({str(tmp_path / 'ship.lwdv')!r}).read_bytes(), example('ship')); "
        "print(found.view.n_heads, sorted({'torch', 'transformer_lens'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["4", "[]"]


def test_what_ships_belongs_to_the_bundled_model() -> None:
    cards = {card.name: card for card in list_models()}
    stored = sorted(path.stem for path in FOLDER.glob("*.lwdv"))
    if "bundled" not in cards and not stored:
        pytest.skip("the bundled model does not ship yet")
    assert stored == sorted(each.name for each in EXAMPLES)
    for name in stored:
        found = stored_example(name)
        assert found is not None and found.model_hash == cards["bundled"].content_hash

"""The models there are, and opening one by its name.

Listing reads JSON only, never torch, so that a page paints before torch is loaded. Opening verifies
every file, and keeps the last few models in a memo keyed by content hash and device.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.errors import CheckpointError, LocalistError, ModelNotFoundError
from workbench.devices import resolve_device
from workbench.files import read_object
from workbench.paths import check_name, model_folders

if TYPE_CHECKING:
    from model.transformer.checkpoint import LoadedModel

MOST_OPEN = 3
LINK_DIGITS = 12  # of the content hash, in links and on badges
_LARGEST_HEADER = 16 * 2**20
_HASH = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class ModelCard:
    """What a list says of a model. bytes: of its weights; error: why it cannot be opened, or "".

    Where `error` is set, everything but `name` may be empty or 0.
    """

    name: str
    title: str = ""
    content_hash: str = ""
    n_layers: int = 0
    n_heads: int = 0
    d_model: int = 0
    n_ctx: int = 0
    n_params: int = 0
    trained_tokens: int = 0
    description: str = ""
    bytes: int = 0
    error: str = ""

    @property
    def short_hash(self) -> str:
        return self.content_hash[:LINK_DIGITS]


class _Memo:
    """Opened models, at most `MOST_OPEN`, the least recently used goes first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: OrderedDict[tuple[str, str], LoadedModel] = OrderedDict()

    def get(self, directory: Path, content_hash: str, device: str) -> LoadedModel:
        from model.transformer.checkpoint import load_model

        with self._lock:  # two threads that want one model load it once
            model = self._models.get((content_hash, device))
            if model is None:
                model = load_model(directory, device)
                self._models[model.content_hash, device] = model
            self._models.move_to_end((model.content_hash, device))
            while len(self._models) > MOST_OPEN:
                self._models.popitem(last=False)
            return model

    def clear(self) -> None:
        with self._lock:
            self._models.clear()


_memo = _Memo()


def list_models() -> list[ModelCard]:
    """Cards of all model directories, those that ship first; a broken one carries its error."""
    return [_card(directory) for directory in _directories().values()]


def model_card(name: str) -> ModelCard:
    """The card of one model; ModelNotFoundError lists the names there are."""
    return _card(model_directory(name))


def open_model(name: str, device: str = "auto") -> LoadedModel:
    """The verified model of a listed name, on a device: read-only, shared by all who open it.

    ModelNotFoundError, CheckpointError or DeviceError say what to do.
    """
    directory = model_directory(name)
    place = resolve_device(device)
    content_hash = str(read_object(directory / "manifest.json").get("content_hash"))
    return _memo.get(directory, content_hash, place)


def forget_models() -> None:
    """Empty the memo; the next `open_model` reads from disk."""
    _memo.clear()


def same_model(card: ModelCard, hash_in_link: str) -> str | None:
    """None if a link's hash is that of the model, else a sentence that says what has changed."""
    if hash_in_link and card.content_hash.startswith(hash_in_link):
        return None
    shown = hash_in_link[:LINK_DIGITS] or "none"
    return (
        f"The link was made with another version of the model {card.name!r} (link {shown}, here "
        f"{card.short_hash}): its numbers will differ. The link's choices were applied to the "
        "model as it is here."
    )


def _directories() -> dict[str, Path]:
    """Name -> directory; a model that ships hides one of the same name in the store."""
    found: dict[str, Path] = {}
    for folder in model_folders():
        if not folder.is_dir():
            continue
        for directory in sorted(folder.iterdir()):
            try:
                name = check_name(directory.name)
            except ModelNotFoundError:
                continue
            if directory.is_dir():
                found.setdefault(name, directory)
    return found


def model_directory(name: str) -> Path:
    """Where a listed model lies; ModelNotFoundError lists the names there are."""
    found = _directories()
    if check_name(name) in found:
        return found[name]
    remedy = (
        f"Choose one of {', '.join(found)}"
        if found
        else "Train one with `python -m workbench train trial`"
    )
    raise ModelNotFoundError("Model", name, "there is no model of that name", remedy)


def _card(directory: Path) -> ModelCard:
    try:
        return _read_card(directory)
    except LocalistError as error:
        return ModelCard(directory.name, error=str(error))


def _read_card(directory: Path) -> ModelCard:
    from model.transformer.config import DecoderConfig

    content_hash = read_object(directory / "manifest.json").get("content_hash")
    if not isinstance(content_hash, str) or not _HASH.match(content_hash):
        raise CheckpointError(
            "Content hash in manifest.json", content_hash, "must be 64 hex digits", "Restore it"
        )
    config = DecoderConfig.from_dict(read_object(directory / "config.json"))
    provenance = read_object(directory / "provenance.json")
    n_params, size = _weights(directory / "weights.safetensors")
    return ModelCard(
        directory.name,
        str(provenance.get("title", directory.name)),
        content_hash,
        config.n_layers,
        config.n_heads,
        config.d_model,
        config.n_ctx,
        n_params,
        _count(provenance.get("trained_tokens")),
        str(provenance.get("description", "")),
        size,
    )


def _weights(path: Path) -> tuple[int, int]:
    """Parameters and bytes by the header of a safetensors file, and whether it is whole."""
    cut = CheckpointError(
        "Model file", f"{path.parent.name}/{path.name}", "is missing or cut short", "Restore it"
    )
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(size, _LARGEST_HEADER):
                raise cut
            header: dict[str, Any] = json.loads(file.read(length))
        tensors = [value for key, value in header.items() if key != "__metadata__"]
        end = max(int(tensor["data_offsets"][1]) for tensor in tensors)
        n_params = sum(prod(tensor["shape"]) for tensor in tensors)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise cut from error
    if 8 + length + end != size:
        raise cut
    return n_params, size


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0

"""A model directory: self-contained, readable, content-hashed; weights as safetensors only.

config.json  weights.safetensors  tokenizer.json  blocks.json  lexicon.tsv  reads.json
provenance.json  manifest.json (sha256 of every other file, and the content hash over them)

A model whose blocks have committed dimensions has them in subspaces.json and subspaces.safetensors;
certificate.json and path.json say what was certified of it, and are hashed like its provenance.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from model.blocks.lexicon import Lexicon
from model.blocks.partition import Partition
from model.blocks.subspaces import Subspaces
from model.errors import CheckpointError
from model.locality.reads import Reads
from model.transformer.config import DecoderConfig
from model.transformer.decoder import Decoder
from model.transformer.tokenizer import Tokenizer

CONFIG, WEIGHTS, TOKENIZER = "config.json", "weights.safetensors", "tokenizer.json"
BLOCKS, LEXICON, READS = "blocks.json", "lexicon.tsv", "reads.json"
PROVENANCE, MANIFEST = "provenance.json", "manifest.json"
SUBSPACES, BASIS = "subspaces.json", "subspaces.safetensors"
CERTIFICATE, PATH = "certificate.json", "path.json"
HASHED = (CONFIG, WEIGHTS, TOKENIZER, BLOCKS, LEXICON, READS)
HASHED_IF_THERE = (SUBSPACES, BASIS)
OPTIONAL = (*HASHED_IF_THERE, CERTIFICATE, PATH)
_FORMAT = 1
_LARGEST_JSON = 64 * 2**20


@dataclass(frozen=True)
class LoadedModel:
    """A model and all that gives its numbers meaning.

    content_hash: sha256 over `HASHED` and what there is of `HASHED_IF_THERE`, hex. subspaces: where
    blocks have committed dimensions, along the decoder's own axes. certificate, path: as stored.
    """

    decoder: Decoder
    tokenizer: Tokenizer
    partition: Partition
    lexicon: Lexicon
    reads: Reads
    provenance: Mapping[str, Any]
    content_hash: str
    subspaces: Subspaces | None = None
    certificate: Mapping[str, Any] | None = None
    path: Mapping[str, Any] | None = None

    @property
    def config(self) -> DecoderConfig:
        return self.decoder.config


def save_model(
    directory: Path,
    decoder: Decoder,
    tokenizer: Tokenizer,
    partition: Partition,
    lexicon: Lexicon,
    reads: Reads,
    provenance: Mapping[str, Any],
    subspaces: Subspaces | None = None,
    certificate: Mapping[str, Any] | None = None,
    path: Mapping[str, Any] | None = None,
) -> str:
    """Write a model directory whole or not at all, replacing what was there; its content hash.

    Two processes must not save one directory at once: drafts that a kill left are swept away.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    for stale in directory.parent.glob(f".{directory.name}.draft-*"):
        shutil.rmtree(stale, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{directory.name}.draft-", dir=directory.parent))
    try:
        weights = {
            name: value.detach().cpu().contiguous()
            for name, value in decoder.state_dict().items()
            if not (decoder.config.tied_embeddings and name == "unembed.weight")
        }
        save_file(weights, draft / WEIGHTS, metadata={"format": "pt"})
        write_json(draft / CONFIG, decoder.config.to_dict())
        tokenizer.save(draft / TOKENIZER)
        partition.save(draft / BLOCKS)
        lexicon.save(draft / LEXICON)
        write_json(draft / READS, reads.to_dict())
        write_json(draft / PROVENANCE, provenance)
        if subspaces is not None:
            write_json(draft / SUBSPACES, subspaces.to_dict())
            save_file(subspaces.to_tensors(), draft / BASIS, metadata={"format": "pt"})
        for name, data in ((CERTIFICATE, certificate), (PATH, path)):
            if data is not None:
                write_json(draft / name, data)
        present = [name for name in OPTIONAL if (draft / name).exists()]
        files = {name: _sha256(draft / name) for name in (*HASHED, PROVENANCE, *present)}
        content_hash = _content_hash(files)
        manifest = {"format": _FORMAT, "content_hash": content_hash, "files": files}
        write_json(draft / MANIFEST, manifest)
        for file in draft.iterdir():
            file.chmod(0o644)
            _flush(file)
        draft.chmod(0o755)
        _replace_directory(draft, directory)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return content_hash


def load_model(directory: Path, device: str | torch.device = "cpu") -> LoadedModel:
    """Read and verify a model directory; CheckpointError names the file that is at fault."""
    content_hash = verify(directory)
    config = DecoderConfig.from_dict(read_json(directory / CONFIG))
    decoder = Decoder(config)
    weights = _tensors(directory / WEIGHTS)
    if config.tied_embeddings and "embed.weight" in weights:
        weights["unembed.weight"] = weights["embed.weight"]
    expected = {name: tuple(value.shape) for name, value in decoder.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if expected != found:
        wrong = sorted(set(expected.items()) ^ set(found.items()))[:3]
        raise CheckpointError(
            WEIGHTS, wrong, "must hold exactly the tensors of config.json", "Restore both files"
        )
    if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
        raise CheckpointError(WEIGHTS, "NaN or infinity", "must be finite", "Restore the file")
    decoder.load_state_dict(weights)
    partition = Partition.load(directory / BLOCKS)
    reads = Reads.from_dict(
        read_json(directory / READS), partition.class_names, config.n_layers, config.n_heads
    )
    return LoadedModel(
        decoder.eval().requires_grad_(False).to(device),
        Tokenizer.load(directory / TOKENIZER),
        partition,
        Lexicon.load(directory / LEXICON, partition),
        reads,
        read_json(directory / PROVENANCE),
        content_hash,
        _subspaces(directory),
        _json_if_there(directory / CERTIFICATE),
        _json_if_there(directory / PATH),
    )


def verify(directory: Path) -> str:
    """The content hash, once every file has the hash that the manifest gives it."""
    if not directory.is_dir():
        raise CheckpointError(
            "Model directory", directory.name, "does not exist", "Choose a listed model"
        )
    manifest = read_json(directory / MANIFEST)
    files = manifest.get("files")
    if manifest.get("format") != _FORMAT or not isinstance(files, dict):
        raise CheckpointError(
            MANIFEST,
            manifest.get("format"),
            f"must be of format {_FORMAT}",
            "Use a model written by this version",
        )
    for name in (*HASHED, PROVENANCE, *(name for name in OPTIONAL if name in files)):
        if not (directory / name).is_file():
            raise CheckpointError(
                "Model file", f"{directory.name}/{name}", "is missing", "Restore the directory"
            )
        if files.get(name) != _sha256(directory / name):
            raise CheckpointError(
                "Model file",
                f"{directory.name}/{name}",
                "was altered or cut short: its hash differs from the manifest's",
                "Restore the directory",
            )
    for name in OPTIONAL:
        if name not in files and (directory / name).exists():
            raise CheckpointError(
                "Model file",
                f"{directory.name}/{name}",
                "is not in the manifest, so that nothing vouches for it",
                "Remove it, or restore the directory",
            )
    content_hash = _content_hash(files)
    if manifest.get("content_hash") != content_hash:
        raise CheckpointError(
            MANIFEST,
            manifest.get("content_hash"),
            "differs from the hash of the files",
            "Restore the directory",
        )
    return content_hash


def write_json(path: Path, data: Any) -> None:
    """Readable JSON, keys in the order given, floats in their shortest exact form."""
    path.write_text(
        json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of at most 64 MiB, else CheckpointError."""
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise CheckpointError(
                "File", path.name, f"is larger than {_LARGEST_JSON} bytes", "Restore the file"
            )
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(
            "File",
            path.name,
            f"cannot be read as JSON ({type(error).__name__})",
            "Restore the file",
        ) from error
    if not isinstance(data, dict):
        raise CheckpointError("File", path.name, "must hold a JSON object", "Restore the file")
    return data


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            path.name, str(error), "must be a whole safetensors file", "Restore the file"
        ) from error


def _subspaces(directory: Path) -> Subspaces | None:
    data = _json_if_there(directory / SUBSPACES)
    return None if data is None else Subspaces.from_stored(data, _tensors(directory / BASIS))


def _json_if_there(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.exists() else None


def _content_hash(files: Mapping[str, str]) -> str:
    present = (name for name in HASHED_IF_THERE if name in files)
    lines = "".join(f"{name} {files[name]}\n" for name in (*HASHED, *present))
    return hashlib.sha256(lines.encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _replace_directory(draft: Path, directory: Path) -> None:
    """Swap in the draft; a kill between the two renames leaves the old one beside it, whole."""
    old = directory.with_name(f".{directory.name}.old")
    if directory.exists():
        shutil.rmtree(old, ignore_errors=True)
        directory.rename(old)
    draft.rename(directory)
    shutil.rmtree(old, ignore_errors=True)

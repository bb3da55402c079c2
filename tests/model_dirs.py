"""Tiny model directories and training sources for tests: a real tokenizer, blocks and weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch

from model.blocks.lexicon import Lexicon
from model.blocks.membership import MembershipTable
from model.blocks.partition import Block, Partition
from model.locality.reads import Reads
from model.training.presets import Preset, preset
from model.transformer.checkpoint import (
    HASHED,
    HASHED_IF_THERE,
    MANIFEST,
    OPTIONAL,
    PROVENANCE,
    save_model,
)
from model.transformer.config import DecoderConfig
from model.transformer.tokenizer import Tokenizer
from tests.factories import lively_decoder
from workbench import paths
from workbench.models import forget_models
from workbench.sources import Sources, documents

TEXTS = (
    "the cat ate a red apple in the garden",
    "a dog ran to the old tree; the cat ran too",
    "an apple or a pear is a fruit of a tree",
    "the bird sat in the tree and sang of bread",
    "bread and fruit for the dog, the bird and the cat",
    "a small red bird ate the bread in 12 days",
)
BLOCKS = Partition(
    (
        Block("FUNCTION", "function words", "closed classes", "test"),
        Block("ANIMAL", "animals", "living things that move", "test"),
        Block("FOOD", "food", "what is eaten", "test"),
        Block("SIGN", "signs", "marks", "test", shapes=("punctuation", "quotes")),
    )
)
WORDS = {
    0: "the a an of or and in to is for too",
    1: "cat dog bird",
    2: "apple pear fruit bread",
}


def tiny_lexicon() -> Lexicon:
    shares = {word: {block: 1.0} for block, words in WORDS.items() for word in words.split()}
    return Lexicon.from_shares({**shares, "tree": {2: 0.3, 1: 0.2}}, BLOCKS)


@cache
def tiny_tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS, d_vocab=300)


def tiny_config() -> DecoderConfig:
    return DecoderConfig(
        d_vocab=tiny_tokenizer().d_vocab,
        d_model=16,
        n_layers=2,
        n_heads=4,
        n_kv_heads=2,
        d_head=4,
        d_mlp=24,
        n_ctx=64,
    )


def tiny_reads(seed: int = 0) -> Reads:
    config, names = tiny_config(), BLOCKS.class_names
    generator = torch.Generator().manual_seed(seed)
    shape = (config.n_layers, config.n_heads, len(names))
    blocks = torch.rand(*shape, len(names), generator=generator) < 0.3
    allowances = torch.rand(*shape, 3, generator=generator) < 0.3
    return Reads(blocks, allowances, names)


def write_tiny_model(directory: Path, seed: int = 0) -> str:
    """A model directory with random weights, in place of what was there; its content hash."""
    files, content_hash = _tiny_files(seed)
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return content_hash


@cache
def _tiny_files(seed: int) -> tuple[dict[str, bytes], str]:
    """The files of a tiny model, written once a seed: a hundred tests want one."""
    with TemporaryDirectory() as folder:
        directory = Path(folder) / "tiny"
        content_hash = save_tiny(directory, seed)
        return {path.name: path.read_bytes() for path in directory.iterdir()}, content_hash


def save_tiny(directory: Path, seed: int) -> str:
    return save_model(
        directory,
        lively_decoder(tiny_config(), seed),
        tiny_tokenizer(),
        BLOCKS,
        tiny_lexicon(),
        tiny_reads(seed),
        {"title": f"tiny {seed}", "description": "for tests", "trained_tokens": 7, "name": "tiny"},
    )


def reseal(directory: Path) -> None:
    """Rewrite the manifest after an edit, as a forger would: only the content checks are left."""
    present = [name for name in OPTIONAL if (directory / name).exists()]
    files = {
        name: hashlib.sha256((directory / name).read_bytes()).hexdigest()
        for name in (*HASHED, PROVENANCE, *present)
    }
    hashed = [name for name in (*HASHED, *HASHED_IF_THERE) if name in files]
    lines = "".join(f"{name} {files[name]}\n" for name in hashed)
    content_hash = hashlib.sha256(lines.encode()).hexdigest()
    manifest = {"format": 1, "content_hash": content_hash, "files": files}
    (directory / MANIFEST).write_text(json.dumps(manifest), "utf-8")


def tiny_sources(copies: int = 6) -> Sources:
    tokenizer, lexicon = tiny_tokenizer(), tiny_lexicon()
    table = MembershipTable(tokenizer.token_bytes, BLOCKS, lexicon)
    ids = [np.asarray(tokenizer.encode(text), dtype=np.int64) for text in TEXTS * copies]
    texts = documents(ids, table, tokenizer)
    return Sources(tokenizer, BLOCKS, lexicon, texts, texts, "0" * 64)


def tiny_recipe(steps: int = 12, seed: int = 3) -> Preset:
    config = tiny_config()
    sizes = {
        name: getattr(config, name)
        for name in ("d_model", "n_layers", "n_heads", "n_kv_heads", "d_head", "d_mlp", "n_ctx")
    }
    return replace(
        preset("trial"),
        **sizes,
        length=8,
        batch_tokens=64,
        total_tokens=64 * steps,
        discovery_tokens=64 * 5,
        warmup_steps=2,
        precision="fp32",
        seed=seed,
    )


def store_of_one(folder: Path, monkeypatch: pytest.MonkeyPatch, lines: str) -> Path:
    """`folder` as the store, with one model, `tiny`, nothing that ships, and texts.txt."""
    monkeypatch.setenv(paths.STORE_VARIABLE, str(folder))
    monkeypatch.setattr(paths, "SHIPPED_MODELS", folder / "shipped")
    forget_models()
    write_tiny_model(folder / "models" / "tiny")
    (folder / "texts.txt").write_text(lines, "utf-8")
    return folder

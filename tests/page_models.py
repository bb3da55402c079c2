"""Small models for the tests of pages: real tokenizer, blocks and lexicon, weights from a seed."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path

import torch

from model.blocks.lexicon import Lexicon
from model.blocks.partition import Partition
from model.locality.reads import Reads
from model.transformer.checkpoint import save_model
from model.transformer.config import DecoderConfig
from model.transformer.decoder import Decoder
from model.transformer.tokenizer import Tokenizer
from workbench.models import forget_models
from workbench.paths import own_models
from workbench.sources import BLOCKS, LEXICON, TOKENIZER

N_LAYERS, N_HEADS, N_CTX = 2, 3, 64


@cache
def _parts() -> tuple[Tokenizer, Partition, Lexicon]:
    partition = Partition.load(BLOCKS)
    return Tokenizer.load(TOKENIZER), partition, Lexicon.load(LEXICON, partition)


def add_model(name: str, seed: int = 0) -> str:
    """Write a model into the tests' store; its content hash."""
    assert os.environ.get("LOCALIST_STORE"), "tests never write into a person's store"
    tokenizer, partition, lexicon = _parts()
    size = {"d_model": 24, "n_layers": N_LAYERS, "n_heads": N_HEADS, "n_kv_heads": N_HEADS}
    config = DecoderConfig(tokenizer.d_vocab, d_head=8, d_mlp=32, n_ctx=N_CTX, **size)
    decoder = Decoder(config, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in decoder.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0.0, 0.2, generator=generator)
    n = partition.n_classes
    blocks = torch.rand(N_LAYERS, N_HEADS, n, n, generator=generator) < 0.25
    allowances = torch.rand(N_LAYERS, N_HEADS, n, 3, generator=generator) < 0.5
    reads = Reads(blocks, allowances, partition.class_names)
    forget_models()
    about = {"title": name, "description": f"seed {seed}", "trained_tokens": 1000}
    return save_model(own_models() / name, decoder, tokenizer, partition, lexicon, reads, about)


def add_broken(name: str) -> Path:
    """A model whose weights were cut short on their way."""
    add_model(name)
    weights = own_models() / name / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    return weights


def remove(name: str) -> None:
    """Take a model away again."""
    shutil.rmtree(own_models() / name)
    forget_models()

"""Small random models, classes and reads for tests; everything follows from the seed."""

from __future__ import annotations

import torch
from torch import Tensor

from model.locality.reads import Reads
from model.locality.relevance import Relevance
from model.transformer.config import DecoderConfig
from model.transformer.decoder import Decoder

TINY = DecoderConfig(
    d_vocab=61, d_model=24, n_layers=3, n_heads=4, n_kv_heads=2, d_head=6, d_mlp=40, n_ctx=48
)
N_CLASSES = 7


def class_names(count: int = N_CLASSES) -> tuple[str, ...]:
    return (*(f"C{index}" for index in range(count - 2)), "NONE", "BOS")


def lively_decoder(config: DecoderConfig = TINY, seed: int = 0) -> Decoder:
    """A decoder with weights large enough that every part of it shows in the logits."""
    decoder = Decoder(config, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in decoder.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0.0, 0.25, generator=generator)
            else:
                parameter.uniform_(0.5, 1.5, generator=generator)
    return decoder.eval().requires_grad_(False)


def random_reads(
    n_layers: int,
    n_heads: int,
    seed: int = 0,
    share: float = 0.3,
    sink: bool = False,
    rest: float = 0.0,
) -> Reads:
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.rand(n_layers, n_heads, N_CLASSES, N_CLASSES, generator=generator) < share
    allowances = torch.rand(n_layers, n_heads, N_CLASSES, 3, generator=generator) < share
    if sink:
        allowances[..., 2] = True
    return Reads(blocks, allowances, class_names(), rest)


def random_text(batch: int, length: int, seed: int = 0, d_vocab: int = 61) -> tuple[Tensor, Tensor]:
    """ids and classes, int64 [batch, length]; every row begins with the sink."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, d_vocab, (batch, length), generator=generator)
    classes = torch.randint(0, N_CLASSES - 1, (batch, length), generator=generator)
    ids[:, 0], classes[:, 0] = 0, N_CLASSES - 1
    return ids, classes


def tiny_case(batch: int = 2, length: int = 11, seed: int = 0) -> tuple[Decoder, Tensor, Relevance]:
    ids, classes = random_text(batch, length, seed)
    reads = random_reads(TINY.n_layers, TINY.n_heads, seed, rest=0.5 * (seed % 2))
    return lively_decoder(seed=seed), ids, Relevance.compile(classes, reads)

"""The bundled recipe's decoder, with random weights: what the dial and a sweep cost in time.

Random weights and reads cost what trained ones do; nothing here measures quality.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.timing import Timing, timed
from model.locality.dial import Dial
from model.locality.reads import ALLOWANCES, Reads
from model.locality.relevance import Relevance
from model.locality.sweep import sweep_dials
from model.training.presets import PRESETS
from model.transformer.config import DecoderConfig
from model.transformer.decoder import Decoder

D_VOCAB = 4096
CLASSES = 10
DIALS = 21


def _decoder() -> Decoder:
    preset = PRESETS["bundled"]
    config = DecoderConfig(
        d_vocab=D_VOCAB,
        d_model=preset.d_model,
        n_layers=preset.n_layers,
        n_heads=preset.n_heads,
        n_kv_heads=preset.n_kv_heads,
        d_head=preset.d_head,
        d_mlp=preset.d_mlp,
        n_ctx=preset.n_ctx,
    )
    return Decoder(config, seed=1).eval()


def _reads(decoder: Decoder, generator: torch.Generator) -> Reads:
    shape = (decoder.config.n_layers, decoder.config.n_heads, CLASSES)
    blocks = torch.rand(*shape, CLASSES, generator=generator) < 0.28
    allowances = torch.ones(*shape, len(ALLOWANCES), dtype=torch.bool)
    return Reads(blocks, allowances, tuple(f"C{index}" for index in range(CLASSES)))


def measures() -> Iterator[Timing]:
    """One timing a length and path; the sequence starts with the sink, as every prompt does."""
    generator = torch.Generator().manual_seed(1)
    decoder = _decoder()
    reads = _reads(decoder, generator)
    for length in (64, decoder.config.n_ctx):
        tokens = torch.randint(1, D_VOCAB, (1, length), generator=generator)
        classes = torch.randint(0, CLASSES - 1, (1, length), generator=generator)
        classes[0, 0] = CLASSES - 1
        relevance = Relevance.compile(classes, reads)
        dials = [Dial(step / (DIALS - 1)) for step in range(DIALS)]
        paths = {
            "forward, no dial": lambda t=tokens: decoder(t),
            "forward, dial 0.5": lambda t=tokens, r=relevance: decoder(t, Dial(0.5), r),
            "relevance": lambda c=classes: Relevance.compile(c, reads),
            f"sweep of {DIALS} dials": lambda t=tokens, r=relevance, d=dials: sweep_dials(
                decoder, t, r, d
            ),
        }
        with torch.inference_mode():
            for name, call in paths.items():
                yield timed(f"{name}, {length} tokens", call)

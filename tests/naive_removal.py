"""Removal of a block from a prompt a second time: a hooked run each, loops in float64.

Written from the definition, with the relevance of every pair of positions spelled out.
"""

from __future__ import annotations

import numpy as np
import torch

from model.locality.dial import Dial
from model.locality.reads import Reads
from model.transformer.decoder import Decoder
from tests.naive_dial import dial_pattern


def relevance_and_visible(
    classes: np.ndarray, reads: Reads, layer: int, intervention: str, block: int
) -> tuple[np.ndarray, np.ndarray]:
    """r [head, T, T] before the fallback, and which keys each query sees, bool [T, T]."""
    count, heads, sink = len(classes), reads.n_heads, reads.n_classes - 1
    r, visible = np.zeros((heads, count, count)), np.zeros((count, count), bool)
    blocks, allowances = reads.blocks.numpy(), reads.allowances.numpy()
    for i in range(count):
        for j in range(i + 1):
            gone = classes[j] == block
            visible[i, j] = not (gone and intervention == "attention" and i != j)
            for h in range(heads):
                own, previous, bos = allowances[layer, h, classes[i]]
                read = blocks[layer, h, classes[i], classes[j]]
                if gone and intervention == "relevance":
                    read = False
                read = read or (own and i == j) or (previous and i - j == 1)
                read = read or (bos and classes[j] == sink)
                rest = reads.rest if classes[j] == sink else 0.0
                r[h, i, j] = 1.0 if read else rest
    return r, visible


def log_probabilities(
    decoder: Decoder,
    ids: torch.Tensor,
    classes: np.ndarray,
    reads: Reads,
    dial: Dial,
    intervention: str = "",
    block: int = -1,
) -> torch.Tensor:
    """[T, d_vocab], nats, float64, of ids [1, T] without the block, or of all of them."""
    assert isinstance(dial.value, float)
    weights = dial.schedule.weights_for(decoder.config.n_layers, decoder.config.n_heads).numpy()
    raw: dict[int, np.ndarray] = {}
    hooks = []
    for layer in range(decoder.config.n_layers):

        def keep(value, hook, layer=layer):
            raw[layer] = value[0].double().numpy()

        def replace(value, hook, layer=layer):
            r, visible = relevance_and_visible(classes, reads, layer, intervention, block)
            out = np.zeros_like(r)
            for i in range(len(classes)):  # each row alone, on the keys that it sees, itself last
                seen = np.flatnonzero(visible[i])
                count = len(seen)
                scores = np.repeat(raw[layer][:, i][:, None, seen], count, axis=1)
                row = np.repeat(r[:, i][:, None, seen], count, axis=1)
                pattern = dial_pattern(
                    scores, row, dial.value, weights[layer], dial.gain, dial.temperature
                )
                out[:, i, seen] = pattern[:, -1]
            return torch.tensor(out[None], dtype=value.dtype)

        hooks += [
            (f"blocks.{layer}.attn.hook_attn_scores", keep),
            (f"blocks.{layer}.attn.hook_pattern", replace),
        ]
    logits = decoder.run_with_hooks(ids, fwd_hooks=hooks)
    return logits[0].double().log_softmax(dim=-1)

"""A quick validation score on packed windows, for the training curve, not for reports."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from model.locality.dial import Dial
from model.locality.measures import MEASURES, Masks, row_measures
from model.locality.reads import Reads
from model.locality.relevance import Relevance
from model.training.batches import Documents
from model.transformer.decoder import Decoder

_ROWS, _MEASURED_ROWS = 1024, 64


@dataclass(frozen=True)
class Evaluation:
    """Validation at one dial value: nats per token, and means of `MEASURES` over rows and heads."""

    dial: float
    nats_per_token: float
    measures: dict[str, float]


@torch.no_grad()
def evaluate(
    decoder: Decoder, documents: Documents, dial: Dial, reads: Reads | None, length: int
) -> Evaluation:
    """Score at most 1,024 packed windows of `length` tokens; measures on the first 64 of them."""
    device = decoder.embed.weight.device
    ids, classes = documents.packed(length + 1, seed=0)
    ids, classes = ids[:_ROWS].to(device), classes[:_ROWS].to(device)
    total = 0.0
    for start in range(0, len(ids), 64):
        rows = slice(start, start + 64)
        relevance = None if reads is None else Relevance.compile(classes[rows, :-1], reads)
        total += float(decoder.loss(ids[rows], dial, relevance)) * len(ids[rows])
    return Evaluation(
        float(dial.value) if isinstance(dial.value, float) else float("nan"),
        total / len(ids),
        {} if reads is None else _measures(decoder, ids, classes, dial, reads),
    )


def _measures(
    decoder: Decoder, ids: torch.Tensor, classes: torch.Tensor, dial: Dial, reads: Reads
) -> dict[str, float]:
    relevance = Relevance.compile(classes[:_MEASURED_ROWS, :-1], reads)
    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(decoder.config.n_layers)]
    _, cache = decoder.run_with_cache(
        ids[:_MEASURED_ROWS, :-1], dial, relevance, names_filter=names
    )
    found = dict.fromkeys(MEASURES, 0.0)
    for layer, name in enumerate(names):
        for key, value in row_measures(cache[name], Masks.of(relevance, layer)).items():
            found[key] += float(value[..., 1:].mean()) / len(names)
    return found

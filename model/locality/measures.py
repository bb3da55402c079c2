"""What is measured of attention patterns: masses, entropy, fidelity, one value a row.

Masses of a row sum to 1. A key counts once, by the precedence self > sink > previous > semantic
(relevant by its block) > other. Our own definitions (README, "What is ours").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.locality.relevance import PREVIOUS, SELF, SINK, Relevance

MASSES: tuple[str, ...] = (
    "semantic_share",
    "self_share",
    "previous_share",
    "sink_share",
    "other_share",
)
MEASURES: tuple[str, ...] = (
    "entropy_bits",
    "entropy_normalised",
    "fidelity",
    "relevant_share",
    *MASSES,
    "fallback_share",
)


@dataclass(frozen=True)
class Masks:
    """Where the keys of one layer belong: bool, [batch, 1 or head, query, key] each."""

    own: Tensor
    previous: Tensor
    sink: Tensor
    semantic: Tensor
    relevant: Tensor
    visible: Tensor
    fallback: Tensor  # [batch, head, query]

    @classmethod
    def of(cls, relevance: Relevance, layer: int) -> Masks:
        relation = relevance.relation[:, None]
        own = (relation & SELF) > 0
        sink = ((relation & SINK) > 0) & ~own
        previous = ((relation & PREVIOUS) > 0) & ~sink
        length = relation.shape[-1]
        visible = torch.ones(length, length, dtype=torch.bool, device=relation.device).tril()
        r = relevance.raw(layer)
        largest = r.amax(dim=-1, keepdim=True)
        by_block = relevance.by_block(layer) > 0
        return cls(
            own,
            previous,
            sink,
            by_block & ~own & ~sink & ~previous,
            (r == largest) & (r > 0),
            visible[None, None].expand_as(own),
            (largest == 0)[..., 0],
        )


def entropy_bits(pattern: Tensor) -> Tensor:
    """Entropy over the last axis, bits; 0 log 0 = 0."""
    return -torch.special.xlogy(pattern, pattern).sum(dim=-1) / torch.log(torch.tensor(2.0))


def row_measures(pattern: Tensor, masks: Masks) -> dict[str, Tensor]:
    """Pattern [batch, head, query, key], rows summing to 1 -> each measure [batch, head, query].

    Fidelity is the mass on all keys of the row's largest relevance; a fallback row counts 0.
    Row 0 sees one key: its normalised entropy is set to 0, and means leave it out.
    """

    def mass(mask: Tensor) -> Tensor:
        return (pattern * mask).sum(dim=-1)

    visible = masks.visible.sum(dim=-1).to(pattern.dtype)
    bits = entropy_bits(pattern)
    shares = {
        "semantic_share": mass(masks.semantic),
        "self_share": mass(masks.own),
        "previous_share": mass(masks.previous),
        "sink_share": mass(masks.sink),
    }
    return {
        "entropy_bits": bits,
        "entropy_normalised": bits / visible.log2().clamp(min=1e-30) * (visible > 1),
        "fidelity": mass(masks.relevant),
        "relevant_share": masks.relevant.sum(dim=-1) / visible,
        **shares,
        "other_share": 1.0 - torch.stack(list(shares.values())).sum(dim=0),
        "fallback_share": masks.fallback.to(pattern.dtype),
    }

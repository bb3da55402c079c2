"""What a bound is told of each attention row: counts, raw margins and gaps, measured from scores.

Nothing here knows a bound. Raw means before the dial: neither its temperature nor its bias.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

CLASSES = 2  # of keys that are not relevant: those of the row's smallest gap, and all others


@dataclass(frozen=True)
class RowMargins:
    """Of every row, [batch, head, query] or, by class of keys that are not relevant, [.., class].

    n: visible keys. m: keys of the row's largest relevance, 0 where it sees none that is relevant.
    counts: keys of each class, summing to n - m where m > 0. margins: smallest relevant score minus
    the largest of the class, nats; infinite where either is empty. gaps: R - r, the smallest of the
    class; 1 where it is empty. largest: |score| at most, nats.
    """

    n: Tensor
    m: Tensor
    counts: Tensor
    margins: Tensor
    gaps: Tensor
    largest: Tensor

    @property
    def margin(self) -> Tensor:
        """Delta_s, over all keys that are not relevant, nats: [batch, head, query]."""
        return self.margins.amin(dim=-1)


def row_margins(scores: Tensor, relevance: Tensor) -> RowMargins:
    """Raw scores and r, [batch, head, query, key] each, later keys ignored -> its rows, float64.

    relevance: before the fallback, as `Relevance.raw` gives it: a fallback row has m = 0.
    """
    scores, r = scores.double(), relevance.double()
    length = scores.shape[-1]
    later = torch.ones(length, length, dtype=torch.bool, device=scores.device).triu(1)
    top = r.masked_fill(later, 0.0).amax(dim=-1, keepdim=True)
    relevant = (r == top) & (top > 0) & ~later
    gap = (top - r).masked_fill(later | (r == top), float("inf"))
    nearest = gap.amin(dim=-1, keepdim=True)
    near = (gap == nearest) & gap.isfinite()
    far = gap.isfinite() & ~near
    lowest = scores.masked_fill(~relevant, float("inf")).amin(dim=-1)
    counts, margins, gaps = [], [], []
    for each in (near, far):
        counts.append(each.sum(dim=-1))
        margins.append(lowest - scores.masked_fill(~each, float("-inf")).amax(dim=-1))
        gaps.append(gap.masked_fill(~each, float("inf")).amin(dim=-1))
    stacked = torch.stack(gaps, dim=-1)
    seen = torch.arange(1, length + 1, device=scores.device)
    return RowMargins(
        seen.expand(scores.shape[:-1]),
        relevant.sum(dim=-1),
        torch.stack(counts, dim=-1),
        torch.stack(margins, dim=-1),
        stacked.masked_fill(stacked.isinf(), 1.0),
        scores.masked_fill(later, 0.0).abs().amax(dim=-1),
    )


def row_bits(pattern: Tensor) -> Tensor:
    """Entropy over the last axis, bits, to the last digits of float64; 0 log 0 = 0."""
    return torch.special.entr(pattern.double()).sum(dim=-1) / math.log(2.0)


def row_mass(pattern: Tensor, keys: Tensor) -> Tensor:
    """Mass of a pattern on the keys of a mask, a fraction, summed in float64."""
    return (pattern.double() * keys).sum(dim=-1)

"""What a bound is told of each attention row: counts, raw margins and gaps, measured from scores.

Nothing here knows a bound. Raw means before the dial: neither its temperature nor its bias.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_CACHED = 2**18  # scores


@dataclass(frozen=True)
class RowMargins:
    """Of every row, [batch, head, query] or, by class of keys that are not relevant, [.., class].

    Two classes: the keys of the row's smallest gap, and all others that are not relevant.
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

    relevance: before the fallback, as `Relevance.raw` gives it: a fallback row has m = 0. Extremes
    are found in the number format of the scores, which is exact, and subtracted in float64.
    """
    length, shape = scores.shape[-1], scores.shape[:-1]
    later = torch.ones(length, length, dtype=torch.bool, device=scores.device).triu(1)
    planes = zip(
        scores.flatten(0, 1).split(_planes(length)),
        relevance.flatten(0, 1).split(_planes(length)),
        strict=True,
    )
    parts = [_rows(each, r, later) for each, r in planes]
    counts, margins, gaps, m, largest = (
        torch.cat(each).view(*shape, *each[0].shape[2:]) for each in zip(*parts, strict=True)
    )
    seen = torch.arange(1, length + 1, device=scores.device).expand(shape)
    return RowMargins(seen, m, counts, margins, gaps, largest)


def _planes(length: int) -> int:
    """How many matrices of scores go at once: what stays in the cache is twice as fast."""
    return max(1, _CACHED // length**2)


def _rows(scores: Tensor, relevance: Tensor, later: Tensor) -> tuple[Tensor, ...]:
    """counts, margins, gaps, m, largest of [plane, query, key]."""
    low = torch.tensor(float("-inf"), dtype=scores.dtype, device=scores.device)
    under = torch.tensor(-1.0, dtype=relevance.dtype, device=relevance.device)  # all relevance
    r = torch.where(later, under, relevance)
    top = r.amax(dim=-1, keepdim=True)
    top = top.masked_fill(top <= 0, float("inf"))  # a fallback row has neither block nor others
    relevant = r == top
    rest = torch.where(relevant, under, r)
    nearest = rest.amax(dim=-1, keepdim=True).masked_fill(top.isinf(), -1.0)
    near = (rest == nearest) & ~later
    near &= nearest >= 0
    far = (rest < nearest) & (rest >= 0)
    lowest = torch.where(relevant, -scores, low).amax(dim=-1).double().neg()
    counts, margins, gaps = [], [], []
    for each, most in ((near, nearest), (far, torch.where(far, rest, under).amax(-1, True))):
        count = each.sum(dim=-1)
        counts.append(count)
        margins.append(lowest - torch.where(each, scores, low).amax(dim=-1).double())
        gaps.append((top.double() - most.double())[..., 0].masked_fill(count == 0, 1.0))
    largest = torch.where(later, low, scores.abs()).amax(dim=-1).double()
    stacked = (torch.stack(each, dim=-1) for each in (counts, margins, gaps))
    return (*stacked, relevant.sum(dim=-1), largest)


def row_bits(pattern: Tensor) -> Tensor:
    """Entropy over the last axis, bits, to the last digits of float64; 0 log 0 = 0."""
    return torch.special.entr(pattern.double()).sum(dim=-1) / math.log(2.0)


def row_mass(pattern: Tensor, keys: Tensor) -> Tensor:
    """Mass of a pattern on the keys of a mask, a fraction, summed in float64."""
    return (pattern.double() * keys).sum(dim=-1)

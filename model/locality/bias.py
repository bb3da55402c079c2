"""What the dial adds to the scores of one layer: -strength * (R - r), with the causal mask.

`dial_bias` is the formula; `DialBias` is the same from a table, written as

    bias_ij = -strength * (1 - r_ij) + strength * (1 - R_i)

whose first part is a look-up and whose second is not 0 only in rows whose largest relevance is
below 1, of which there are few. Rows that see no relevant key read themselves (the fallback).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from model.locality.relevance import Relevance


def dial_bias(gap: Tensor, strengths: Tensor, causal: Tensor) -> Tensor:
    """-strength * (R - r) plus the causal mask, nats: [batch, head, query, key].

    gap: R - r, of that shape. strengths: [batch or 1, head], nats. causal: [query, key].
    """
    return torch.addcmul(causal.to(gap.dtype), gap, -strengths[:, :, None, None].to(gap.dtype))


@dataclass(frozen=True)
class DialBias:
    """One layer of one batch. strengths: [batch or 1, head], nats. dtype: that of the scores."""

    relevance: Relevance
    layer: int
    strengths: Tensor
    dtype: torch.dtype = torch.float32
    largest: Tensor = field(init=False)  # [batch, head, query]

    def __post_init__(self) -> None:
        object.__setattr__(self, "largest", self.relevance.largest(self.layer))

    def rows(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Queries from start to stop on the keys up to stop, -inf where later, nats.

        [batch, head, query, key], each head's rows together in memory, as attention reads them.
        """
        relevance, gap = self.relevance, 1.0 - self.relevance.table[self.layer]  # [head, pair]
        if len(self.strengths) == 1:
            forces = self.strengths[0].to(gap.dtype)
            table = gap * -forces[:, None]
            table[:, -1] = float("-inf")  # the pair of all later keys
            bias = relevance.look_up(table, start, stop)
            self._correct(bias, forces, start, stop)
            return bias.to(self.dtype)
        gaps = relevance.look_up(gap, start, stop)
        self._correct(gaps, -torch.ones_like(gap[:, 0]), start, stop)
        later = torch.full(gaps.shape[-2:], float("-inf"), device=gaps.device)
        later = later.triu(1 + gaps.shape[-1] - gaps.shape[-2])
        return dial_bias(gaps, self.strengths, later).to(self.dtype)

    def _correct(self, rows: Tensor, forces: Tensor, start: int, stop: int | None) -> None:
        """Add force * (1 - R) to the rows that need it, in place; 0 at a fallback's own key."""
        largest = self.largest[:, :, start:stop]
        batch, head, query = (largest < 1.0).nonzero(as_tuple=True)
        if not len(batch):
            return
        found = largest[batch, head, query]
        rows[batch, head, query] += (forces[head] * (1.0 - found) * (found > 0))[:, None]
        lost = found == 0
        own = query[lost]
        rows[batch[lost], head[lost], own, own + start] = 0.0

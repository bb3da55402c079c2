"""What the dial adds to the scores of one layer: -strength * (R - r), with the causal mask.

`dial_bias` is the formula; `DialBias` is the same from a table, written as

    bias_ij = -strength * (1 - r_ij) + strength * (1 - R_i)

whose first part is a look-up and whose second is 0 but in rows whose largest relevance is below 1.
Where r = R both products are equal, so that they cancel exactly at any strength. Rows that see no
relevant key read themselves (the fallback).
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.locality.relevance import Relevance


def dial_bias(gap: Tensor, strengths: Tensor, causal: Tensor) -> Tensor:
    """-strength * (R - r) plus the causal mask, nats: [batch, head, query, key].

    gap: R - r, of that shape. strengths: [batch or 1, head], nats. causal: [query, key].
    """
    return torch.addcmul(causal.to(gap.dtype), gap, -strengths[:, :, None, None].to(gap.dtype))


class DialBias:
    """One layer of one batch, any rows of it at a time.

    Where all sequences share one strength, it goes into the small table: a bias is then a look-up.
    """

    def __init__(
        self,
        relevance: Relevance,
        layer: int,
        strengths: Tensor,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """strengths: [batch or 1, head], nats. dtype: that of the scores."""
        self.relevance, self.dtype = relevance, dtype
        self.shared = len(strengths) == 1
        self.table = 1.0 - relevance.table[layer]  # [head, pair]
        self.strengths = strengths.to(self.table.dtype)
        top = relevance.largest(layer)
        lowest = float(top.min())
        self.lost = top == 0 if lowest == 0 else None
        self.rest = 1.0 - top if lowest < 1 else None
        if self.rest is not None and self.lost is not None:
            self.rest.masked_fill_(self.lost, 0.0)
        if self.shared:
            forces = self.strengths[0, :, None]
            self.table = self.table * -forces
            self.table[:, -1] = float("-inf")  # the pair of all later keys
            self.rest = None if self.rest is None else self.rest * forces

    def rows(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Queries from start to stop on the keys up to stop, -inf where later, nats.

        [batch, head, query, key], each head's rows together in memory, as attention reads them.
        """
        found = self.relevance.look_up(self.table, start, stop)
        if self.rest is not None:
            rest = self.rest[:, :, start:stop, None]
            found = found.add_(rest) if self.shared else found.sub_(rest)
        if self.lost is not None:
            own = found.diagonal(start, dim1=-2, dim2=-1)
            own.masked_fill_(self.lost[:, :, start:stop], 0.0)
        if not self.shared:
            later = torch.full(found.shape[-2:], float("-inf"), device=found.device)
            found = dial_bias(found, self.strengths, later.triu(1 + start))
        return found.to(self.dtype)

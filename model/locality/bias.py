"""What the dial adds to the scores of one layer: -strength * (R - r), with the causal mask.

`dial_bias` is the formula; `dial_biases` is the same from a table, written as

    bias_ij = -strength * (1 - r_ij) + strength * (1 - R_i)

whose first part is a look-up and whose second is 0 but in rows whose largest relevance is below 1.
Where all sequences share one strength, it goes into the small table before it is looked up.
Where r = R both products are equal, so that they cancel exactly at any strength. Rows that see no
relevant key read themselves (the fallback).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.locality.relevance import Relevance


def dial_bias(gap: Tensor, strengths: Tensor, causal: Tensor) -> Tensor:
    """-strength * (R - r) plus the causal mask, nats: [batch, head, query, key].

    gap: R - r, of that shape. strengths: [batch or 1, head], nats. causal: [query, key].
    """
    return torch.addcmul(causal.to(gap.dtype), gap, -strengths[:, :, None, None].to(gap.dtype))


def dial_biases(
    relevance: Relevance, strengths: Sequence[Tensor | None], dtype: torch.dtype = torch.float32
) -> list[DialBias | None]:
    """One bias a layer, None where there is no strength: what all layers need is made at once.

    strengths: one [batch or 1, head] a layer, nats. dtype: that of the scores.
    """
    known = [each for each in strengths if each is not None]
    if not known:
        return [None] * len(strengths)
    tables, rests = 1.0 - relevance.table, 1.0 - relevance.tops
    lows = relevance.tops.amin(dim=(1, 2)).tolist()  # [layer][query]
    lost = relevance.tops == 0 if min(map(min, lows)) == 0 else None
    if lost is not None:
        rests.masked_fill_(lost, 0.0)
    shared = len(known[0]) == 1
    if shared:
        none = torch.zeros_like(known[0])
        forces = torch.stack([none if each is None else each for each in strengths])
        forces = forces.to(tables.dtype)  # [layer, 1, head]
        tables = tables * -forces.transpose(1, 2)
        tables[..., -1] = float("-inf")  # the pair of all later keys
        rests = rests * forces[..., None]
    return [
        None
        if each is None
        else DialBias(
            relevance,
            tables[layer],
            rests[layer],
            None if lost is None else lost[layer],
            lows[layer],
            None if shared else each.to(tables.dtype),
            dtype,
        )
        for layer, each in enumerate(strengths)
    ]


@dataclass(frozen=True)
class DialBias:
    """One layer of one batch, any rows of it at a time.

    table: [head, pair], the first part of the bias, or 1 - r where sequences have strengths of
    their own. rest: [batch, head, query], the second part, or 1 - R. lost: rows that fall back,
    None where there are none. lows: smallest R of each query's rows. strengths: [batch, head] where
    sequences have their own, else None.
    """

    relevance: Relevance
    table: Tensor
    rest: Tensor
    lost: Tensor | None
    lows: list[float]
    strengths: Tensor | None
    dtype: torch.dtype

    def rows(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Queries from start to stop on the keys up to stop, -inf where later, nats.

        [batch, head, query, key], each head's rows together in memory, as attention reads them.
        """
        found = self.relevance.look_up(self.table, start, stop)
        if min(self.lows[start:stop]) < 1:
            rest = self.rest[:, :, start:stop, None]
            found = found.sub_(rest) if self.strengths is not None else found.add_(rest)
        if self.lost is not None:
            own = found.diagonal(start, dim1=-2, dim2=-1)
            own.masked_fill_(self.lost[:, :, start:stop], 0.0)
        if self.strengths is not None:
            later = torch.full(found.shape[-2:], float("-inf"), device=found.device)
            found = dial_bias(found, self.strengths, later.triu(1 + start))
        return found.to(self.dtype)

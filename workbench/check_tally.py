"""Rows of a check counted up, batch by batch: how many, how many fail, and which is the worst."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from workbench.check_rows import RowCheck

_COUNTS = ("rows", "rows_not_applicable", "rows_trivial", "failed")
_WORST = ("bound", "measured", "slack", "tolerance")


class Tally:
    """One slot for each name, dial, layer and head; float64 on the CPU."""

    def __init__(self, names: Sequence[str], n_dials: int, n_layers: int, n_heads: int) -> None:
        self.n_layers, self.n_heads = n_layers, n_heads
        shape = (n_dials, n_layers, n_heads)
        self._counts = {
            name: {count: torch.zeros(shape, dtype=torch.int64) for count in _COUNTS}
            for name in names
        }
        self._sums = {name: torch.zeros(2, *shape, dtype=torch.float64) for name in names}
        self._worst = {name: torch.zeros(len(_WORST), *shape).double() for name in names}
        # What ranks the worst row so far: its slack, and behind all of these the trivial rows.
        self._rank = {name: torch.full((2, *shape), float("inf")).double() for name in names}

    def add(self, rows: RowCheck, dial: int, layer: int, real: Tensor) -> None:
        """Take in the rows [batch, head, query] of one layer where `real` [batch, query] holds."""
        there = real[:, None].expand(rows.applies.shape)
        applies = (rows.applies & there).transpose(0, 1).flatten(1)  # [head, row]
        trivial = rows.trivial.transpose(0, 1).flatten(1) & applies
        values = torch.stack([getattr(rows, each) for each in _WORST])
        values = values.transpose(1, 2).flatten(2)  # [bound.., head, row]
        slack, tolerance = values[2], values[3]
        failed = applies & ~(slack >= -tolerance)  # also where the slack is NaN
        counts = (applies, there.transpose(0, 1).flatten(1) & ~applies, trivial, failed)
        for name, each in zip(_COUNTS, counts, strict=True):
            self._counts[rows.name][name][dial, layer] += each.sum(dim=1).cpu()
        sums = torch.where(applies, values[:2], 0.0).sum(dim=-1)
        self._sums[rows.name][:, dial, layer] += sums.cpu()
        self._keep_worst(rows.name, dial, layer, values, applies, trivial & ~failed)

    def _keep_worst(
        self, name: str, dial: int, layer: int, values: Tensor, applies: Tensor, last: Tensor
    ) -> None:
        """Least slack first (NaN before all), rows of `last` only where there are no others."""
        slack = values[2].nan_to_num(nan=float("-inf"))
        for group, mask in enumerate((applies & ~last, last)):
            least, index = slack.masked_fill(~mask, float("inf")).min(dim=1)
            kept = self._rank[name][:, dial, layer]
            better = (least.cpu() < kept[group]) & mask.any(dim=1).cpu()
            if group == 1:
                better &= kept[0] == float("inf")
            kept[group] = torch.where(better, least.cpu(), kept[group])
            chosen = values.gather(2, index.expand(len(values), -1)[..., None])[..., 0].cpu()
            worst = self._worst[name][:, dial, layer]
            worst.copy_(torch.where(better, chosen, worst))

    def entry(self, name: str, dial: int, layer: int, head: int) -> dict[str, Any]:
        """The fields of a check, and `failed`, the number of rows that did."""
        place = (dial, layer, head)
        found: dict[str, Any] = {c: int(self._counts[name][c][place]) for c in _COUNTS}
        there = found["rows"] > 0
        worst = self._worst[name][(slice(None), *place)].tolist()
        found |= {each: v if there else None for each, v in zip(_WORST, worst, strict=True)}
        bound, measured = self._sums[name][(slice(None), *place)].tolist()
        return found | {"tightness": bound / measured if there and measured else None}

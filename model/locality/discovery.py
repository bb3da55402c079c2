"""Reads learned from a trained model: which classes a head attends to, for which query class.

Attention mass per (head, query class, key class) is gathered at dial 0; then each head takes the
reads of greatest mass per relevant key until the share of keys that it may read is spent. Where it
sees nothing that it reads, it rests on the sink.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.locality.reads import ALLOWANCES, Reads
from model.locality.relevance import PREVIOUS, SELF, SINK

_OWN, _PREVIOUS, _SINK = 1, 2, 3  # kinds of key beside the ordinary one, 0


@dataclass
class AttentionStatistics:
    """Sums over rows of at least two keys, gathered batch by batch; float64.

    mass: [layer, head, query class, key class, kind]; cost: [query class, key class, kind], the
    share of the row's keys; rows: [query class]. Kind of key: ordinary, own position, previous
    position, sink; a key counts once, by the precedence own > sink > previous.
    """

    mass: Tensor
    cost: Tensor
    rows: Tensor

    @classmethod
    def empty(cls, n_layers: int, n_heads: int, n_classes: int) -> AttentionStatistics:
        n = n_classes
        shapes = (n_layers, n_heads, n, n, 4), (n, n, 4), (n,)
        return cls(*(torch.zeros(shape, dtype=torch.float64) for shape in shapes))

    def add(self, patterns: list[Tensor], classes: Tensor, relation: Tensor) -> None:
        """Count one batch.

        patterns: one [batch, head, query, key] a layer. classes: [batch, position]. relation:
        [batch, query, key] as in `Relevance`.
        """
        n = self.rows.shape[0]
        own, sink = (relation & SELF) > 0, (relation & SINK) > 0
        kind = torch.where((relation & PREVIOUS) > 0, _PREVIOUS, 0)
        kind = torch.where(own, _OWN, torch.where(sink, _SINK, kind))
        flat = ((classes[:, :, None] * n + classes[:, None, :]) * 4 + kind).flatten()
        length = classes.shape[1]
        visible = torch.ones(length, length, device=classes.device).tril()
        visible[0] = 0
        per_key = (visible / visible.sum(-1, keepdim=True).clamp(min=1)).expand(kind.shape)
        self.cost += _sums(per_key.flatten(), flat, 4 * n * n).view(n, n, 4)
        self.rows += torch.bincount(classes[:, 1:].flatten(), minlength=n).double().cpu()
        for layer, pattern in enumerate(patterns):
            for head in range(pattern.shape[1]):
                mass = (pattern[:, head] * visible).flatten()
                self.mass[layer, head] += _sums(mass, flat, 4 * n * n).view(n, n, 4)

    def choose(
        self,
        relevant_share: float,
        class_names: tuple[str, ...],
        allowances: tuple[str, ...] = ALLOWANCES,
        rest: float = 0.5,
        sink_worth: float = 1.0,
    ) -> Reads:
        """Greedy by mass per key, per head, within `relevant_share` of the keys of a mean row.

        allowances: which positions a head may read whatever their block. rest: as in `Reads`.
        sink_worth: what mass on the sink counts beside mass on a block; below 1, the sink is read
        openly only where a head has much use for it. Rows at rest come on top of the share: they
        see one relevant key, the sink.
        """
        layers, heads, n = self.mass.shape[:3]
        blocks = torch.zeros(layers, heads, n, n, dtype=torch.bool)
        granted = torch.zeros(layers, heads, n, 3, dtype=torch.bool)
        barred = torch.zeros(n, n + 3, dtype=torch.bool)
        barred[:, n - 1] = True  # the sink is read by its allowance
        barred[:, n:] = torch.tensor([each not in allowances for each in ALLOWANCES])
        budget = relevant_share * float(self.rows.sum())
        worth = torch.tensor([1.0, 1.0, 1.0, sink_worth], dtype=torch.float64)
        for layer in range(layers):
            for head in range(heads):
                chosen = _within_budget(worth * self.mass[layer, head], self.cost, barred, budget)
                blocks[layer, head], granted[layer, head] = chosen[:, :n], chosen[:, n:]
        return Reads(blocks, granted, class_names, rest)


def _within_budget(mass: Tensor, cost: Tensor, barred: Tensor, budget: float) -> Tensor:
    """Chosen reads, bool [query class, key classes, then `ALLOWANCES`], none of the barred.

    Each step takes the read that adds most mass per key it newly makes relevant.
    """
    n = mass.shape[0]
    mass, cost = mass.clone(), cost.clone()
    chosen = torch.zeros(n, n + 3, dtype=torch.bool)
    closed = barred.clone()
    while True:
        price = torch.cat((cost.sum(2), cost.sum(1)[:, 1:]), dim=1)
        worth = torch.cat((mass.sum(2), mass.sum(1)[:, 1:]), dim=1)
        open_now = ~closed & (price > 0) & (price <= budget) & (worth > 0)
        if not open_now.any():
            return chosen
        ratio = torch.where(open_now, worth / price.clamp(min=1e-300), -1.0)
        query, read = divmod(int(ratio.argmax()), n + 3)
        budget -= float(price[query, read])
        chosen[query, read] = closed[query, read] = True
        covered = (query, read) if read < n else (query, slice(None), read - n + 1)
        mass[covered], cost[covered] = 0.0, 0.0


def _sums(values: Tensor, index: Tensor, size: int) -> Tensor:
    return torch.bincount(index, weights=values.double(), minlength=size).cpu()

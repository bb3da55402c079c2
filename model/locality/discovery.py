"""Reads learned from a trained model: which classes a head attends to, for which query class.

Attention mass per (head, query class, key class) is gathered at dial 0; then each head takes the
reads of greatest mass per relevant key until the share of keys that it may read is spent. The sink
is always granted, so that no row is left without a relevant key.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.locality.reads import ALLOWANCES, Reads
from model.locality.relevance import PREVIOUS, SELF, SINK

_OTHER, _OWN, _PREVIOUS = range(3)


@dataclass
class AttentionStatistics:
    """Sums over rows of at least two keys, gathered batch by batch; float64, sink keys left out.

    mass: [layer, head, query class, key class, relation]; cost: [query class, key class,
    relation], the share of the row's keys; rows: [query class]; sink_cost: [query class].
    Relation: other, own position, previous position.
    """

    mass: Tensor
    cost: Tensor
    rows: Tensor
    sink_cost: Tensor

    @classmethod
    def empty(cls, n_layers: int, n_heads: int, n_classes: int) -> AttentionStatistics:
        n = n_classes
        shapes = (n_layers, n_heads, n, n, 3), (n, n, 3), (n,), (n,)
        return cls(*(torch.zeros(shape, dtype=torch.float64) for shape in shapes))

    def add(self, patterns: list[Tensor], classes: Tensor, relation: Tensor) -> None:
        """Count one batch.

        patterns: one [batch, head, query, key] a layer. classes: [batch, position]. relation:
        [batch, query, key] as in `Relevance`.
        """
        n = self.rows.shape[0]
        kind = ((relation & SELF) > 0) * _OWN + ((relation & PREVIOUS) > 0) * _PREVIOUS
        flat = ((classes[:, :, None] * n + classes[:, None, :]) * 3 + kind).flatten()
        length = classes.shape[1]
        visible = torch.ones(length, length, device=classes.device).tril()
        visible[0] = 0
        is_sink = ((relation & SINK) > 0).flatten()
        per_key = (visible / visible.sum(-1, keepdim=True).clamp(min=1)).expand(kind.shape)
        by_query = (flat // (3 * n))[is_sink]
        self.sink_cost += _sums(per_key.flatten()[is_sink], by_query, n)
        self.cost += _sums(per_key.flatten() * ~is_sink, flat, 3 * n * n).view(n, n, 3)
        self.rows += torch.bincount(classes[:, 1:].flatten(), minlength=n).double().cpu()
        for layer, pattern in enumerate(patterns):
            for head in range(pattern.shape[1]):
                mass = (pattern[:, head] * visible).flatten() * ~is_sink
                self.mass[layer, head] += _sums(mass, flat, 3 * n * n).view(n, n, 3)

    def choose(
        self,
        relevant_share: float,
        class_names: tuple[str, ...],
        allowances: tuple[str, ...] = ("self", "previous"),
    ) -> Reads:
        """Greedy by mass per key, per head, within `relevant_share` of the keys of a mean row.

        allowances: which positions, beside the sink, a head may read whatever their block.
        """
        layers, heads, n = self.mass.shape[:3]
        blocks = torch.zeros(layers, heads, n, n, dtype=torch.bool)
        granted = torch.zeros(layers, heads, n, 3, dtype=torch.bool)
        granted[..., 2] = True
        barred = torch.zeros(n, n + 2, dtype=torch.bool)
        barred[:, n:] = torch.tensor([each not in allowances for each in ALLOWANCES[:2]])
        budget = relevant_share * float(self.rows.sum()) - float(self.sink_cost.sum())
        for layer in range(layers):
            for head in range(heads):
                chosen = _within_budget(self.mass[layer, head], self.cost, barred, budget)
                blocks[layer, head], granted[layer, head, :, :2] = chosen[:, :n], chosen[:, n:]
        return Reads(blocks, granted, class_names)


def _within_budget(mass: Tensor, cost: Tensor, barred: Tensor, budget: float) -> Tensor:
    """Chosen reads, bool [query class, key classes, then self and previous], none of the barred.

    Each step takes the read that adds most mass per key it newly makes relevant.
    """
    n = mass.shape[0]
    mass, cost = mass.clone(), cost.clone()
    chosen = torch.zeros(n, n + 2, dtype=torch.bool)
    closed = barred.clone()
    while True:
        price = torch.cat((cost.sum(2), cost.sum(1)[:, 1:]), dim=1)
        worth = torch.cat((mass.sum(2), mass.sum(1)[:, 1:]), dim=1)
        open_now = ~closed & (price > 0) & (price <= budget) & (worth > 0)
        if not open_now.any():
            return chosen
        ratio = torch.where(open_now, worth / price.clamp(min=1e-300), -1.0)
        query, read = divmod(int(ratio.argmax()), n + 2)
        budget -= float(price[query, read])
        chosen[query, read] = closed[query, read] = True
        covered = (query, read) if read < n else (query, slice(None), read - n + 1)
        mass[covered], cost[covered] = 0.0, 0.0


def _sums(values: Tensor, index: Tensor, size: int) -> Tensor:
    return torch.bincount(index, weights=values.double(), minlength=size).cpu()

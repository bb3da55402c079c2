"""Reads learned from a trained model: which classes a head attends to, for which query class.

Attention mass per (head, query class, key class) is gathered at dial 0; then each head takes the
reads of greatest mass per relevant key until the share of keys that it may read is spent. The sink
is always granted, so that no row is left without a relevant key.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.locality.reads import Reads
from model.locality.relevance import PREVIOUS, SELF, SINK


@dataclass
class AttentionStatistics:
    """Sums over rows of at least two keys, gathered batch by batch; float64.

    mass: [layer, head, query class, item]; cost: [query class, item], the item's share of the
    row's keys; rows: [query class]. Items are the key classes, then self, previous, sink, each key
    counted once by the precedence self > sink > previous > class.
    """

    mass: Tensor
    cost: Tensor
    rows: Tensor

    @classmethod
    def empty(cls, n_layers: int, n_heads: int, n_classes: int) -> AttentionStatistics:
        return cls(
            torch.zeros(n_layers, n_heads, n_classes, n_classes + 3, dtype=torch.float64),
            torch.zeros(n_classes, n_classes + 3, dtype=torch.float64),
            torch.zeros(n_classes, dtype=torch.float64),
        )

    def add(self, patterns: list[Tensor], classes: Tensor, relation: Tensor) -> None:
        """Count one batch.

        patterns: one [batch, head, query, key] a layer. classes: [batch, position]. relation:
        [batch, query, key] as in `Relevance`.
        """
        n = self.rows.shape[0]
        item = torch.where(
            (relation & SELF) > 0,
            n,
            torch.where(
                (relation & SINK) > 0,
                n + 2,
                torch.where((relation & PREVIOUS) > 0, n + 1, classes[:, None, :]),
            ),
        )
        length = classes.shape[1]
        visible = torch.ones(length, length, device=classes.device).tril()
        visible[0] = 0
        flat = (classes[:, :, None] * (n + 3) + item).flatten()
        per_key = (visible / visible.sum(-1, keepdim=True).clamp(min=1)).expand(item.shape)
        self.cost += _sums(per_key.flatten(), flat, n * (n + 3)).view(n, n + 3)
        self.rows += torch.bincount(classes[:, 1:].flatten(), minlength=n).double().cpu()
        for layer, pattern in enumerate(patterns):
            for head in range(pattern.shape[1]):
                mass = (pattern[:, head] * visible).flatten()
                self.mass[layer, head] += _sums(mass, flat, n * (n + 3)).view(n, n + 3)

    def choose(self, relevant_share: float, class_names: tuple[str, ...]) -> Reads:
        """Greedy by mass per key, per head, within `relevant_share` of the keys of a mean row."""
        layers, heads, n, items = self.mass.shape
        total_rows = self.rows.sum()
        cost = self.cost / total_rows
        chosen = torch.zeros(layers, heads, n, items, dtype=torch.bool)
        chosen[..., n + 2] = True
        sink_cost = float(cost[:, n + 2].sum())
        for layer in range(layers):
            for head in range(heads):
                ratio = self.mass[layer, head] / total_rows / cost.clamp(min=1e-12)
                ratio[:, n + 2] = -1.0
                ratio[cost == 0] = -1.0
                spent = sink_cost
                for flat in torch.argsort(ratio.flatten(), descending=True, stable=True).tolist():
                    query, item = divmod(flat, items)
                    if ratio[query, item] <= 0:
                        break
                    if spent + float(cost[query, item]) > relevant_share:
                        continue
                    spent += float(cost[query, item])
                    chosen[layer, head, query, item] = True
        return Reads(chosen[..., :n].clone(), chosen[..., n:].clone(), class_names)


def _sums(values: Tensor, index: Tensor, size: int) -> Tensor:
    return torch.bincount(index, weights=values.double(), minlength=size).cpu()

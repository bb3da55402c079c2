"""Relevance r_ij of key j to query i, compiled from classes and reads for one batch.

The pair (class of query, class of key, relation of the two positions) indexes a small table, so
that a batch costs one lookup a layer. Relation code of (i, j): self 1, previous 2, sink 4, added.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from model.errors import PartitionError
from model.locality.reads import Reads

SELF, PREVIOUS, SINK = 1, 2, 4
_CODES = 8
_BITS = 63  # classes that fit the bits of an int64


@dataclass(frozen=True)
class Relevance:
    """Relevance of one batch, for every layer and head.

    classes: int64 [batch, position]. relation: uint8 [batch, query, key], codes as above, 0 also
    for later keys. pair: int64 [batch, query, key]. table: [layer, pair, head] in [0, 1].
    semantic_table: the same for what is relevant by its block alone.
    """

    classes: Tensor
    relation: Tensor
    pair: Tensor
    table: Tensor
    semantic_table: Tensor
    reads: Reads

    @classmethod
    def compile(
        cls, classes: Tensor, reads: Reads, dtype: torch.dtype = torch.float32
    ) -> Relevance:
        """classes int64 [batch, position] (the last class is the sink) and reads -> relevance.

        A function of token classes up to j and up to i only, hence causal where the classes are.
        """
        n = reads.n_classes
        if classes.ndim != 2 or classes.numel() == 0:
            raise PartitionError(
                "Classes",
                tuple(classes.shape),
                "must be [batch, position], not empty",
                "Partition at least one token",
            )
        low, high = int(classes.min()), int(classes.max())
        if low < 0 or high >= n:
            raise PartitionError(
                "Class",
                high if high >= n else low,
                f"these reads know the classes 0 to {n - 1}",
                "Partition the prompt with the model's own blocks",
            )
        length = classes.shape[1]
        position = torch.arange(length, device=classes.device)
        distance = position[:, None] - position[None, :]
        relation = (distance == 0) * SELF + (distance == 1) * PREVIOUS
        is_sink = (classes == n - 1)[:, None, :] & (distance >= 0)
        relation = relation[None] + is_sink * SINK
        pair = (relation * n + classes[:, :, None]) * n + classes[:, None, :]
        pair = pair.masked_fill(distance < 0, _CODES * n * n)
        table, semantic = _tables(reads, classes.device, dtype)
        return cls(classes, relation.to(torch.uint8), pair, table, semantic, reads)

    @property
    def n_layers(self) -> int:
        return self.table.shape[0]

    def raw(self, layer: int) -> Tensor:
        """r before the fallback: [batch, head, query, key] in [0, 1], 0 for later keys."""
        return F.embedding(self.pair, self.table[layer]).permute(0, 3, 1, 2)

    def largest(self, layer: int) -> Tensor:
        """R before the fallback, the largest r of a row: [batch, head, query].

        From the classes seen so far, not from the keys: a fraction of what `raw` costs.
        """
        reads, classes = self.reads, self.classes
        blocks = reads.blocks[layer].transpose(0, 1).to(classes.device)  # [query class, head, key]
        allowed = reads.allowances[layer].transpose(0, 1).to(classes.device)[classes]
        seen = F.one_hot(classes, reads.n_classes).cummax(dim=1).values
        if reads.n_classes < _BITS:
            bit = 2 ** torch.arange(reads.n_classes, device=classes.device)
            full = ((blocks * bit).sum(-1)[classes] & (seen * bit).sum(-1)[..., None]) != 0
        else:
            full = (blocks[classes] & (seen > 0)[:, :, None]).any(dim=-1)
        has_previous = torch.arange(classes.shape[1], device=classes.device)[:, None] > 0
        sink_seen = seen[..., -1:] > 0
        full = full | allowed[..., 0] | (allowed[..., 1] & has_previous)
        full = full | (allowed[..., 2] & sink_seen)  # [batch, query, head]
        rest = torch.where(sink_seen, reads.rest, 0.0)
        return torch.where(full, 1.0, rest).to(self.table.dtype).permute(0, 2, 1)

    def fallback(self, layer: int) -> Tensor:
        """Rows that see no relevant key: bool [batch, head, query]."""
        return self.largest(layer) == 0

    def dense(self, layer: int) -> Tensor:
        """r with the fallback applied: a row without a relevant key reads itself, r = 1."""
        r = self.raw(layer)
        own = torch.eye(r.shape[-1], dtype=torch.bool, device=r.device)
        return torch.where(own & self.fallback(layer)[..., None], torch.ones_like(r), r)

    def gap(self, layer: int) -> Tensor:
        """R_i - r_ij >= 0, [batch, head, query, key]; what it says of later keys is not used."""
        gap = F.embedding(self.pair, 1.0 - self.table[layer]).permute(0, 3, 1, 2)
        largest = self.largest(layer)
        batch, head, query = (largest < 1.0).nonzero(as_tuple=True)
        if len(batch):
            own = largest[batch, head, query]
            gap[batch, head, query] -= torch.where(own > 0, 1.0 - own, 0.0)[:, None]
            lost = own == 0
            gap[batch[lost], head[lost], query[lost], query[lost]] = 0.0
        return gap

    def by_block(self, layer: int) -> Tensor:
        """Whether j is relevant by its block alone: [batch, head, query, key], 0 or 1."""
        return F.embedding(self.pair, self.semantic_table[layer]).permute(0, 3, 1, 2)


def _tables(reads: Reads, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """[layer, relation * query class * key class + 1, head]: all relevance, and that by block."""
    layers, heads, n = reads.n_layers, reads.n_heads, reads.n_classes
    semantic = reads.blocks[:, :, None].expand(layers, heads, _CODES, n, n)
    full = semantic.clone()
    resting = torch.zeros(_CODES, n, n)
    resting[[bool(code & SINK) for code in range(_CODES)]] = reads.rest
    for allowance, code in enumerate((SELF, PREVIOUS, SINK)):
        has_code = torch.tensor([bool(c & code) for c in range(_CODES)])
        granted = reads.allowances[..., allowance][:, :, None, :, None]
        full |= granted & has_code[None, None, :, None, None]
    tables = []
    for each in (torch.maximum(full.float(), resting), semantic.float()):
        flat = F.pad(each.reshape(layers, heads, _CODES * n * n), (0, 1))
        tables.append(flat.transpose(1, 2).to(device=device, dtype=dtype).contiguous())
    return tables[0], tables[1]

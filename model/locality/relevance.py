"""Relevance r_ij of key j to query i, compiled from classes and reads for one batch.

The pair (class of query, class of key, whether it is the query's own or previous position) indexes
a small table, so that a batch costs one lookup a layer. Relation code of (i, j): self 1, previous
2, sink 4, added; the sink needs no pairs of its own, since a class says it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from model.errors import PartitionError
from model.locality.reads import Reads

SELF, PREVIOUS, SINK = 1, 2, 4
_NEAR = 3  # neither, self, previous
_BITS = 63  # that an int64 holds beside its sign


@dataclass(frozen=True)
class Relevance:
    """Relevance of one batch, for every layer and head.

    classes: int64 [batch, position]. relation: uint8 [batch, query, key], codes as above, 0 also
    for later keys. pair: int32 [batch, query, key], the last one for all later keys. table and
    semantic_table: [layer, head, pair] in [0, 1], all relevance and that by block alone. tops:
    [layer, batch, head, query], the largest r of each row, 0 where it sees no relevant key.
    """

    classes: Tensor
    relation: Tensor
    pair: Tensor
    table: Tensor
    semantic_table: Tensor
    tops: Tensor

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
        relation, pair = _pairs(classes, n)
        table, semantic = _tables(reads, classes.device, dtype)
        return cls(classes, relation, pair, table, semantic, _tops(classes, reads, dtype))

    @property
    def n_layers(self) -> int:
        return self.table.shape[0]

    def look_up(self, table: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """table [head, pair] at queries start to stop and the keys up to stop.

        [batch, head, query, key]; in memory each head's rows lie together, as attention reads them.
        """
        pair = self.pair[:, start:stop, :stop]
        found = table.index_select(1, pair.flatten())
        return found.view(-1, *pair.shape).transpose(0, 1)

    def raw(self, layer: int) -> Tensor:
        """r before the fallback: [batch, head, query, key] in [0, 1], 0 for later keys."""
        return self.look_up(self.table[layer])

    def largest(self, layer: int) -> Tensor:
        """R before the fallback, the largest r of a row: [batch, head, query]."""
        return self.tops[layer]

    def fallback(self, layer: int) -> Tensor:
        """Rows that see no relevant key: bool [batch, head, query]."""
        return self.largest(layer) == 0

    def dense(self, layer: int) -> Tensor:
        """r with the fallback applied: a row without a relevant key reads itself, r = 1."""
        r = self.raw(layer)
        own = torch.eye(r.shape[-1], dtype=torch.bool, device=r.device)
        return torch.where(own & self.fallback(layer)[..., None], torch.ones_like(r), r)

    def gap(self, layer: int) -> Tensor:
        """R - r >= 0, [batch, head, query, key]; what it says of later keys is not used."""
        r = self.dense(layer)
        return r.amax(dim=-1, keepdim=True) - r

    def by_block(self, layer: int) -> Tensor:
        """Whether j is relevant by its block alone: [batch, head, query, key], 0 or 1."""
        return self.look_up(self.semantic_table[layer])


def _tops(classes: Tensor, reads: Reads, dtype: torch.dtype) -> Tensor:
    """The largest r of every row, [layer, batch, head, query], from the classes seen so far.

    A fraction of what the largest over all keys costs: what a row sees, and what a head reads, are
    the bits of one number each, a bit a class and one for each of self, previous and sink.
    """
    n, (batch, length), device = reads.n_classes, classes.shape, classes.device
    position = torch.arange(length, device=device)
    first = torch.full((batch, n), length, device=device)
    first.scatter_reduce_(1, classes, position.expand(batch, length), "amin")
    sink_seen = first[:, -1:] <= position
    allowed = torch.stack(
        ((position >= 0).expand(batch, length), (position > 0).expand(batch, length), sink_seen)
    )  # self, previous and sink, as in `ALLOWANCES`
    if n + len(allowed) <= _BITS:
        place = torch.arange(n, n + len(allowed), device=device)
        new = first.gather(1, classes) == position
        seen = (new << classes).cumsum(dim=1) + (allowed << place[:, None, None]).sum(dim=0)
        read = _bits(reads, device).index_select(1, classes.flatten())
        full = (read & seen.flatten()) != 0
    else:
        known = first[:, None, :] <= position[:, None]
        seen = torch.cat((known, allowed.permute(1, 2, 0)), dim=-1)
        read = torch.cat((reads.blocks, reads.allowances), dim=-1).flatten(0, 1).to(device)
        full = torch.stack([(each[classes] & seen).any(dim=-1) for each in read])
    rest = torch.where(sink_seen, reads.rest, 0.0)
    tops = torch.where(full.view(-1, batch, length), 1.0, rest).to(dtype)
    return tops.view(reads.n_layers, reads.n_heads, batch, length).transpose(1, 2)


@lru_cache(maxsize=8)
def _bits(reads: Reads, device: torch.device) -> Tensor:
    """What heads read, a bit a class and allowance: int64 [layer * head, query class]."""
    with torch.inference_mode(False):
        read = torch.cat((reads.blocks, reads.allowances), dim=-1).flatten(0, 1)
        return (read.long() << torch.arange(read.shape[-1])).sum(dim=-1).to(device)


def _pairs(classes: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Relation uint8 and pair int32 of all positions, [batch, query, key] each.

    A pair is a sum of one number a distance, one a query and one a key, cut off at the last pair.
    """
    near, visible, by_distance = _distances(classes.shape[1], n, classes.device)
    relation = (classes == n - 1)[:, None, :] * (visible * SINK) + near
    by_query, by_key = (classes * n).to(torch.int32), classes.to(torch.int32)
    pair = by_distance + by_query[:, :, None] + by_key[:, None, :]
    return relation, pair.clamp_(max=_NEAR * n * n)


@lru_cache(maxsize=8)
def _distances(length: int, n: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """What of relation and pair needs no classes, [query, key] each.

    Relation uint8 without the sink; 1 where visible, uint8; share of the pair, int32.
    """
    with torch.inference_mode(False):
        position = torch.arange(length, device=device)
        distance = position[:, None] - position[None, :]
        near = (distance == 0) * SELF + (distance == 1) * PREVIOUS
        pair = (near * n * n).masked_fill(distance < 0, _NEAR * n * n)
        return near.to(torch.uint8), (distance >= 0).to(torch.uint8), pair.to(torch.int32)


@lru_cache(maxsize=8)
def _tables(reads: Reads, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """[layer, head, near * query class * key class + 1]: all relevance, and that by block."""
    layers, heads, n = reads.n_layers, reads.n_heads, reads.n_classes
    with torch.inference_mode(False):
        semantic = reads.blocks[:, :, None].expand(layers, heads, _NEAR, n, n).float()
        own, previous, sink = reads.allowances.permute(3, 0, 1, 2)  # [layer, head, query class]
        full = semantic.clone()
        full[:, :, SELF][own] = 1.0
        full[:, :, PREVIOUS][previous] = 1.0
        resting = torch.where(sink, 1.0, reads.rest)[:, :, None]
        full[..., -1] = torch.maximum(full[..., -1], resting)
        flat = [F.pad(each.flatten(2), (0, 1)) for each in (full, semantic)]
        return flat[0].to(device, dtype), flat[1].to(device, dtype)

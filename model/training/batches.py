"""Batches of token ids with their classes: packed documents, every row begins with BOS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.training.corpus import pack


@dataclass(frozen=True)
class Documents:
    """Encoded texts and the class of each token, aligned; begin-of-text not included."""

    ids: Sequence[np.ndarray]
    classes: Sequence[np.ndarray]
    bos_id: int
    bos_class: int

    @property
    def n_tokens(self) -> int:
        return sum(len(doc) for doc in self.ids)

    def packed(self, length: int, seed: int) -> tuple[Tensor, Tensor]:
        """ids and classes, int64 [row, length]: the same packing of both, drawn from `seed`."""
        rows = [
            torch.from_numpy(pack(docs, length, fill, np.random.default_rng(seed)).astype(np.int64))
            for docs, fill in ((self.ids, self.bos_id), (self.classes, self.bos_class))
        ]
        return rows[0], rows[1]


@dataclass(frozen=True)
class Batch:
    """ids and classes, int64 [sequence, length + 1]: inputs are [:, :-1], targets [:, 1:]."""

    ids: Tensor
    classes: Tensor


class BatchStream:
    """An endless stream of batches, a function of (documents, seed, step) alone.

    Every `long_every`-th batch has rows four times as long, so that long prompts are known ground.
    """

    def __init__(
        self, documents: Documents, length: int, batch_tokens: int, long_every: int, seed: int
    ) -> None:
        self._documents, self._seed, self._long_every = documents, seed, long_every
        self._batch_tokens = batch_tokens
        self._lengths = (length, 4 * length)

    def __iter__(self) -> Iterator[Batch]:
        short = self._rows(self._lengths[0], 2 * self._seed)
        long = self._rows(self._lengths[1], 2 * self._seed + 1)
        step = 0
        while True:
            step += 1
            yield next(long if self._long_every and step % self._long_every == 0 else short)

    def _rows(self, length: int, seed: int) -> Iterator[Batch]:
        size = max(1, self._batch_tokens // length)
        epoch = 0
        while True:
            ids, classes = self._documents.packed(length + 1, seed * 1_000_003 + epoch)
            order = torch.randperm(
                len(ids), generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch)
            )
            for start in range(0, len(ids) - size + 1, size):
                rows = order[start : start + size]
                yield Batch(ids[rows], classes[rows])
            epoch += 1

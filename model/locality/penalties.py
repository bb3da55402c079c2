"""The groups of the group-sparse penalty: one layer, one head, one side, one block.

Group g = (l, h, side, b) is U_b^T W with W = W_Q of a query head or W_K of a key head, the norm's
gain folded in. A group at zero means: this head does not read block b's dimensions on that side.

    penalty(z) = alpha * sum_g w_g * ||z_g||_F        nats,      w_g = sqrt(r_b * d_head)

In a decoder that `rotated` has turned into the blocks' basis a group is literally a slice of
columns of `q.weight` or `k.weight`. All groups of a model lie in one tensor z [layer, unit, d_head,
committed]: unit counts the query heads, then the key heads; the last axis is that of the blocks'
dimensions, in order. The pool's columns are not in z: they carry no penalty, which is why the share
of score variance through the pool is reported beside the zeros (`pool_share`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from model.errors import PenaltyError
from model.transformer.config import DecoderConfig
from model.transformer.decoder import Decoder
from model.transformer.rotation import check_orthogonal, gains_folded, layers_of

SIDES = ("query", "key")
SMALL = 1e-3  # of the largest norm in its layer and side: what counts as small, though not zero


@dataclass(frozen=True)
class Groups:
    """Which slices of z are groups, and what each weighs.

    n_heads, n_kv_heads: units of the query and of the key side (either may be 0, not both). ranks:
    dimensions r_b of each block, at least 1. PenaltyError where a number is out of range.
    """

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    ranks: tuple[int, ...]

    def __post_init__(self) -> None:
        sizes = (self.n_layers, self.n_heads + self.n_kv_heads, self.d_head, *self.ranks)
        if not self.ranks or min(sizes) < 1 or min(self.n_heads, self.n_kv_heads) < 0:
            raise PenaltyError(
                "Groups",
                (self.n_layers, self.n_heads, self.n_kv_heads, self.d_head, self.ranks),
                "need a layer, a head, and blocks of at least one dimension each",
                "Leave out blocks that have no dimensions",
            )

    @classmethod
    def of(cls, config: DecoderConfig, ranks: Sequence[int]) -> Groups:
        """The groups of a decoder; PenaltyError where the ranks exceed d_model."""
        if sum(ranks) > config.d_model:
            raise PenaltyError(
                "Dimensions of all blocks",
                sum(ranks),
                f"the residual stream has {config.d_model}",
                "Lower the ranks",
            )
        ranks = tuple(ranks)
        return cls(config.n_layers, config.n_heads, config.n_kv_heads, config.d_head, ranks)

    @property
    def units(self) -> int:
        return self.n_heads + self.n_kv_heads

    @property
    def committed(self) -> int:
        return sum(self.ranks)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of z: [layer, unit, d_head, committed]."""
        return self.n_layers, self.units, self.d_head, self.committed

    @property
    def count(self) -> int:
        return self.n_layers * self.units * len(self.ranks)

    @cached_property
    def weights(self) -> Tensor:
        """w_g = sqrt(r_b * d_head), no unit: float64 [block]."""
        return torch.tensor([math.sqrt(r * self.d_head) for r in self.ranks], dtype=torch.float64)

    @cached_property
    def block_of(self) -> Tensor:
        """The block of each committed dimension, int64 [committed]."""
        return torch.repeat_interleave(torch.tensor(self.ranks))

    def check(self, z: Tensor) -> None:
        """PenaltyError unless z has the groups' shape and is finite."""
        if tuple(z.shape) != self.shape:
            raise PenaltyError(
                "Penalised weights",
                tuple(z.shape),
                f"these groups are {self.shape}",
                "Read them with the same groups",
            )
        if not bool(torch.isfinite(z).all()):
            raise PenaltyError(
                "Penalised weights", "NaN or infinity", "must be finite", "Restore the weights"
            )

    def norms(self, z: Tensor) -> Tensor:
        """||z_g||_F, float64 [layer, unit, block]; NaN where a group holds one."""
        squares = z.double().square().sum(dim=2)
        parts = [part.sum(dim=-1) for part in squares.split(self.ranks, dim=-1)]
        return torch.stack(parts, dim=-1).sqrt()

    def alive(self, z: Tensor) -> Tensor:
        """Which groups hold any number but zero: bool [layer, unit, block], the support."""
        used = (z != 0).any(dim=2)
        return torch.stack([part.any(dim=-1) for part in used.split(self.ranks, -1)], dim=-1)

    def spread(self, values: Tensor) -> Tensor:
        """One number a group [layer, unit, block] -> [layer, unit, 1, committed], to multiply z."""
        return values[..., self.block_of.to(values.device)][:, :, None]

    def penalty(self, z: Tensor, alpha: float) -> float:
        """alpha * sum_g w_g ||z_g||_F, nats."""
        total = (self.norms(z) * self.weights.to(z.device)).sum()
        return check_alpha(alpha) * float(total)

    def by_side(self, values: Tensor) -> Tensor:
        """One number a group -> [layer, side, head, block], in the order of `SIDES`.

        A key head stands once for each query head that it serves, so that both sides have n_heads.
        For reading only: shares are counted on [layer, unit, block].
        """
        query, key = values.split((self.n_heads, self.n_kv_heads), dim=1)
        return torch.stack((query, key.repeat_interleave(self.n_heads // self.n_kv_heads, 1)), 1)

    def read(self, decoder: Decoder, basis: Tensor | None = None) -> Tensor:
        """z of a decoder, a copy: in its dtype where it is rotated already, which needs no basis.

        basis: of a decoder that is not, [d_model, d_model], orthogonal, the blocks' columns first;
        gains are folded in here and z is float64. PenaltyError for a gain without a basis.
        """
        rows = []
        if basis is None:
            require_folded(decoder)
        else:
            check_orthogonal(basis, decoder.config.d_model)
        for layer in layers_of(decoder):
            weight = torch.cat((layer.attn.q.weight, layer.attn.k.weight)).detach()
            if basis is not None:
                weight = (weight.double() * layer.ln1.weight.detach().double()) @ basis
            rows.append(weight[:, : self.committed].view(self.units, self.d_head, -1))
        return torch.stack(rows).clone()

    @torch.no_grad()
    def write(self, decoder: Decoder, z: Tensor) -> None:
        """Set the blocks' columns of a rotated decoder to z, in place; the pool's stay."""
        require_folded(decoder)
        split = self.n_heads * self.d_head
        for layer, rows in zip(layers_of(decoder), z.flatten(1, 2), strict=True):
            layer.attn.q.weight[:, : self.committed] = rows[:split]
            layer.attn.k.weight[:, : self.committed] = rows[split:]

    def zeros(self, z: Tensor, small: float = SMALL) -> Zeros:
        """Counts of groups that are exactly zero, and of those that are merely small."""
        self.check(z)
        norms, alive = self.norms(z), self.alive(z)
        query, key = norms.split((self.n_heads, self.n_kv_heads), dim=1)
        tops = [side.amax(dim=(1, 2), keepdim=True).expand_as(side) for side in (query, key)]
        below = alive & (norms < small * torch.cat(tops, dim=1))
        dead = ~alive
        return Zeros(
            self.count,
            int(dead.sum()),
            int(below.sum()),
            small,
            tuple(dead.double().mean(dim=(0, 1)).tolist()),
        )


@dataclass(frozen=True)
class Zeros:
    """Counts over all groups of a model.

    exact: groups whose every number is zero. small: other groups whose norm is below `threshold`
    times the largest of their layer and side. by_block: share of exact zeros, a fraction, a block.
    """

    groups: int
    exact: int
    small: int
    threshold: float
    by_block: tuple[float, ...]

    @property
    def exact_share(self) -> float:
        return self.exact / self.groups

    @property
    def small_share(self) -> float:
        """Exact zeros not included."""
        return self.small / self.groups


def check_alpha(alpha: float) -> float:
    """The penalty strength itself if it is a finite number of at least 0, else PenaltyError."""
    number = isinstance(alpha, (int, float)) and not isinstance(alpha, bool)
    if not number or not 0.0 <= alpha < math.inf:
        raise PenaltyError(
            "Penalty strength",
            alpha,
            "must be finite and at least 0",
            "Choose a share of alpha_max",
        )
    return float(alpha)


def require_folded(decoder: Decoder) -> None:
    """PenaltyError where a norm before attention still has a gain of its own."""
    if not gains_folded(decoder):
        raise PenaltyError(
            "Gain of a norm before attention",
            "not 1",
            "groups are columns of weights only where the gains are folded into them",
            "Use the decoder that `rotated` returns",
        )

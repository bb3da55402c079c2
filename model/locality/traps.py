"""Three ways to be wrong about group sparsity, each as a function that computes its numbers.

1. A key group at zero gives its keys the score 0, not minus infinity: they still draw e^0 each.
2. A score is bilinear in W_Q and W_K: with both at zero no slope leads out, whatever the data say.
3. A penalty on patterns instead of weights can be the same for every split of mass across blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.errors import PenaltyError


@dataclass(frozen=True)
class DeadKeys:
    """One row of attention over living and dead keys.

    scores: nats, the dead keys' last. pattern: the softmax, fractions. dead_mass: what the dead
    keys draw. masked_mass: what they would draw with a score of minus infinity. margin_needed: by
    how many nats all living scores must exceed 0 so that the dead draw at most `allowed`.
    """

    scores: tuple[float, ...]
    pattern: tuple[float, ...]
    dead_mass: float
    masked_mass: float
    allowed: float
    margin_needed: float


def dead_keys_draw(living_scores: Sequence[float], dead: int, allowed: float = 0.01) -> DeadKeys:
    """living_scores: nats, at least one. dead: keys of a block whose key group is zero, at least 1.

    PenaltyError where there is none of either, or allowed is outside (0, 1).
    """
    if not living_scores or dead < 1 or not 0.0 < allowed < 1.0:
        raise PenaltyError(
            "Row of keys",
            (len(living_scores), dead, allowed),
            "needs a living key, a dead one, and an allowed mass in (0, 1)",
            "Give scores of living keys and a number of dead ones",
        )
    living = torch.tensor(list(living_scores), dtype=torch.float64)
    zero_group = torch.zeros(dead, dtype=torch.float64)  # q · 0 = 0
    scores = torch.cat((living, zero_group))
    masked = torch.cat((living, torch.full_like(zero_group, -math.inf)))
    pattern = scores.softmax(dim=0)
    return DeadKeys(
        tuple(scores.tolist()),
        tuple(pattern.tolist()),
        float(pattern[len(living) :].sum()),
        float(masked.softmax(dim=0)[len(living) :].sum()),
        allowed,
        math.log(dead * (1.0 - allowed) / (len(living) * allowed)),
    )


@dataclass(frozen=True)
class BilinearZero:
    """Descent on one bilinear score, from zero and from a small start.

    slope_at_zero: norm of the gradient with both sides at zero. slope_with_one_side: with only the
    query side at zero. losses_from_zero, losses_from_small: nats, before each step; lowest: what
    the loss can reach. start: size of the small start.
    """

    slope_at_zero: float
    slope_with_one_side: float
    losses_from_zero: tuple[float, ...]
    losses_from_small: tuple[float, ...]
    lowest: float
    start: float


def bilinear_zero(steps: int = 60, step: float = 0.5, start: float = 0.05) -> BilinearZero:
    """A head of two tokens that should look at the first: loss -log softmax([q k, 0])[0].

    q and k are one number each, W_Q and W_K of a head that reads one dimension; weight decay of
    0.05 (q^2 + k^2) / 2 gives the loss a minimum.
    """
    decay = 0.05

    def loss(q: Tensor, k: Tensor) -> Tensor:
        score = torch.stack((q * k, torch.zeros_like(q)))
        return -score.log_softmax(dim=0)[0] + 0.5 * decay * (q.square() + k.square())

    def slope(q: float, k: float) -> tuple[float, Tensor]:
        point = torch.tensor([q, k], dtype=torch.float64, requires_grad=True)
        value = loss(point[0], point[1])
        return float(value.detach()), torch.autograd.grad(value, point)[0]

    def descend(q: float, k: float, count: int) -> list[float]:
        found = []
        for _ in range(count):
            value, gradient = slope(q, k)
            found.append(value)
            q, k = q - step * float(gradient[0]), k - step * float(gradient[1])
        return found

    return BilinearZero(
        float(slope(0.0, 0.0)[1].norm()),
        float(slope(0.0, start)[1].norm()),
        tuple(descend(0.0, 0.0, steps)),
        tuple(descend(start, start, steps)),
        descend(start, start, 4000)[-1],
        start,
    )


@dataclass(frozen=True)
class DegeneratePenalty:
    """Splits of one row's mass across blocks of equal size, and what two measures say of them.

    splits: mass a block, fractions, one row a split. penalties: sum_b ||a_b||, no unit.
    entropies: bits.
    """

    keys_per_block: int
    splits: tuple[tuple[float, ...], ...]
    penalties: tuple[float, ...]
    entropies: tuple[float, ...]


def degenerate_penalty(
    splits: Sequence[Sequence[float]] = ((1.0, 0.0), (0.75, 0.25), (0.5, 0.5)),
    keys_per_block: int = 4,
) -> DegeneratePenalty:
    """Each block's mass lies evenly on its keys: sum_b ||a_b|| = 1 / sqrt(m) for every split.

    PenaltyError unless each split is of non-negative masses that sum to 1, all equally many.
    """
    table = torch.tensor([list(split) for split in splits], dtype=torch.float64)
    if keys_per_block < 1 or bool((table < 0).any() | ((table.sum(1) - 1).abs() > 1e-12).any()):
        raise PenaltyError(
            "Split of mass",
            [list(split) for split in splits],
            "must be non-negative and sum to 1 in each row",
            "Divide each row by its sum",
        )
    pattern = (table / keys_per_block)[..., None].expand(*table.shape, keys_per_block)
    bits = -torch.special.xlogy(pattern, pattern).sum(dim=(1, 2)) / math.log(2.0)
    return DegeneratePenalty(
        keys_per_block,
        tuple(tuple(row) for row in table.tolist()),
        tuple(pattern.norm(dim=2).sum(dim=1).tolist()),
        tuple(bits.tolist()),
    )

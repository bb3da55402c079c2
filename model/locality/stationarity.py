"""How far a point is from being stationary, and from which strength on zero is.

With w_g > 0 a point z is stationary for f(z) + alpha sum_g w_g ||z_g|| iff for every group

    z_g = 0:     ||grad_g f|| <= alpha w_g
    z_g != 0:    grad_g f = -alpha w_g z_g / ||z_g||

No convexity is needed, and none is claimed: stationary is not minimal. All distances are in the
unit of the gradient (nats per unit of weight); the relative residual divides by alpha w_g and has
no unit. A model is called stationary below a stated tolerance only, `TOLERANCE`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.errors import PenaltyError
from model.locality.penalties import Groups, check_alpha

TOLERANCE = 1e-3


@dataclass(frozen=True)
class Residual:
    """max_g dist(-grad_g f, alpha w_g d||z_g||) / (alpha w_g), no unit, and where it is reached.

    worst: (layer, unit, block). of_zero, of_alive: the largest among the groups at zero and among
    the others; 0 where there are none.
    """

    value: float
    worst: tuple[int, int, int]
    of_zero: float
    of_alive: float

    @property
    def stationary(self) -> bool:
        return self.value <= TOLERANCE


def distances(gradient: Tensor, z: Tensor, groups: Groups, alpha: float) -> Tensor:
    """dist(-grad_g f, alpha w_g d||z_g||) of every group, float64 [layer, unit, block]."""
    gradient, z = gradient.double(), z.double()
    limits = check_alpha(alpha) * groups.weights.to(z.device)
    alive, norms = groups.alive(z), groups.norms(z)
    at_zero = (groups.norms(gradient) - limits).clamp(min=0.0)
    pull = limits / torch.where(alive, norms, torch.ones_like(norms))
    at_others = groups.norms(gradient + groups.spread(pull) * z)
    return torch.where(alive, at_others, at_zero)


def kkt_residual(gradient: Tensor, z: Tensor, groups: Groups, alpha: float) -> Residual:
    """The relative residual; alpha must be positive, and gradient and z finite (PenaltyError)."""
    groups.check(z)
    groups.check(gradient)
    if check_alpha(alpha) == 0.0:
        raise PenaltyError(
            "Penalty strength",
            alpha,
            "the residual is relative to it, so it must be positive",
            "Look at the gradient's norm where there is no penalty",
        )
    relative = distances(gradient, z, groups, alpha) / (alpha * groups.weights.to(z.device))
    alive = groups.alive(z)
    where = int(relative.argmax())
    layer, rest = divmod(where, groups.units * len(groups.ranks))
    unit, block = divmod(rest, len(groups.ranks))
    of_zero, of_alive = (
        float(relative[mask].amax()) if bool(mask.any()) else 0.0 for mask in (~alive, alive)
    )
    return Residual(float(relative.amax()), (layer, unit, block), of_zero, of_alive)


def alpha_max(gradient_at_zero: Tensor, groups: Groups) -> float:
    """max_g ||grad_g f|| / w_g, nats per unit of weight.

    gradient_at_zero: of f at the model *fitted with all penalised groups at zero*; that fit is the
    caller's. It is the smallest strength at which that model is stationary. It says nothing about
    other starts where f is not convex. PenaltyError where it is 0: then nothing but the penalised
    groups carries the scores, and a score of 0 * 0 has no slope (the bilinear zero).
    """
    groups.check(gradient_at_zero)
    largest = float(
        (groups.norms(gradient_at_zero) / groups.weights.to(gradient_at_zero.device)).amax()
    )
    if largest == 0.0:
        raise PenaltyError(
            "alpha_max",
            0.0,
            "is no unit of strength: with every penalised group at zero the scores are 0 * 0 and "
            "have no slope (the bilinear zero), so that any strength keeps them there",
            "Leave dimensions in the pool, and fit its weights first",
        )
    return largest


def strength_at(dial: float, largest: float) -> float:
    """The training dial in [0, 1], a fraction of alpha_max -> alpha."""
    if isinstance(dial, bool) or not isinstance(dial, (int, float)) or not 0.0 <= dial <= 1.0:
        raise PenaltyError(
            "Training dial", dial, "must lie in [0, 1]", "Choose a fraction of alpha_max"
        )
    return float(dial) * check_alpha(largest)


def dial_of(alpha: float, largest: float) -> float:
    """The inverse of `strength_at`; above 1 where alpha exceeds alpha_max."""
    if not check_alpha(largest) > 0.0:
        raise PenaltyError(
            "alpha_max", largest, "must be positive", "See `alpha_max` for what makes it 0"
        )
    return check_alpha(alpha) / largest


def never_alive(bounds: Tensor, groups: Groups, alpha: float) -> Tensor:
    """Groups that are zero at *every* stationary point: alpha > G_g / w_g, bool as `bounds`.

    bounds: G_g, [layer, unit, block], with ||grad_g f|| <= G_g on the whole feasible set. A maximum
    over points that were visited is no such bound.
    """
    return check_alpha(alpha) * groups.weights.to(bounds.device) > bounds.to(torch.float64)

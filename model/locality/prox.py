"""The proximal step of the group penalty: where exact zeros come from.

For one group v, a threshold t >= 0 (step * alpha * w_g) and the metric of the step,

    prox(v) = argmin_x  1/2 (x - v)^T D (x - v) + t ||x||

- D = 1 (or any one number a group): prox(v) = (1 - t / ||v||)_+ v, exact in one line.
- D = diag(d), d > 0: zero iff ||d v|| <= t, else x_i = v_i nu / (nu + t / d_i), where nu = ||x|| is
  the one root of  sum_i v_i^2 / (nu + t / d_i)^2 = 1.

Both are non-expansive in their metric. Applying the first after a step of another metric (a plain
shrink after Adam) minimises nothing in particular.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.errors import PenaltyError
from model.locality.penalties import Groups, check_alpha

_ROUNDS = 100


def shrinkage(norms: Tensor, thresholds: Tensor) -> Tensor:
    """(1 - t / ||v||)_+ for norms and thresholds t >= 0 of one shape; 1 where t = 0, even at 0.

    A NaN among the norms stays NaN: it is never shrunk to a zero that looks like a result.
    """
    kept = 1.0 - thresholds / torch.where(norms > 0, norms, torch.ones_like(norms))
    kept = torch.where(norms <= thresholds, torch.zeros_like(kept), kept)
    kept = torch.where(norms.isnan(), norms, kept)
    return torch.where(thresholds > 0, kept, torch.ones_like(kept))


def thresholds(groups: Groups, alpha: float, steps: float | Tensor = 1.0) -> Tensor:
    """step * alpha * w_g, [layer, unit, block]. steps: one number, or one a group, positive."""
    steps = torch.as_tensor(steps, dtype=torch.float64)
    if not bool((steps > 0).all()):
        raise PenaltyError("Step", float(steps.min()), "must be positive", "Choose a smaller one")
    scaled = check_alpha(alpha) * groups.weights.to(steps.device) * steps
    return scaled.expand(groups.n_layers, groups.units, len(groups.ranks))


def prox(z: Tensor, groups: Groups, alpha: float, steps: float | Tensor = 1.0) -> Tensor:
    """The proximal point of z, in its dtype: z_g <- (1 - step alpha w_g / ||z_g||)_+ z_g.

    steps: one step for all groups, or one a group [layer, unit, block]; the prox is exact for both.
    """
    return shrink(z, groups, thresholds(groups, alpha, steps).to(z.device))


def shrink(z: Tensor, groups: Groups, limits: Tensor) -> Tensor:
    """`prox` with the thresholds at hand, [layer, unit, block]."""
    factors = shrinkage(groups.norms(z), limits)
    return z * groups.spread(factors).to(z.dtype)


def prox_diagonal(v: Tensor, metric: Tensor, threshold: Tensor) -> Tensor:
    """argmin_x 1/2 sum_i d_i (x_i - v_i)^2 + t ||x|| of many groups at once, float64.

    v and metric d > 0: [group, size]. threshold t >= 0: [group]. The root is found by Newton's
    method on 1/||p(nu)||, which is concave and increasing: from the left it never overshoots.
    """
    if not bool((metric > 0).all()):
        raise PenaltyError(
            "Metric of a step", float(metric.min()), "must be positive", "Add to its diagonal"
        )
    v, metric, t = v.double(), metric.double(), threshold.double()[:, None]
    dead = (metric * v).norm(dim=1, keepdim=True) <= t
    shift = t / metric
    nu = (v.norm(dim=1, keepdim=True) - shift.amax(dim=1, keepdim=True)).clamp(min=0.0)
    nu = torch.where(dead | (t == 0), torch.ones_like(nu), nu)
    for _ in range(_ROUNDS):
        gap = nu + shift
        p = v / gap
        length = p.norm(dim=1, keepdim=True)
        slope = (p.square() / gap).sum(dim=1, keepdim=True)
        rise = length.square() * (length - 1.0) / slope
        moved = torch.where(dead | (t == 0) | ~(rise > 0), nu, nu + rise)
        if bool((moved == nu).all()):
            break
        nu = moved
    x = v * (nu / (nu + shift))
    x = torch.where(t == 0, v, x)
    return torch.where(dead, torch.where(t == 0, v, torch.zeros_like(v)), x)

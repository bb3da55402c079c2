"""The inner problem of a step: a quadratic model of f plus the exact group penalty.

    x+ = argmin_x  g^T (x - z) + 1/2 (x - z)^T B (x - z) + alpha sum_g w_g ||x_g||
    B  = gamma 1 + U diag(c) U^T,   U [size, k] orthonormal, gamma + c > 0

With w = diag(c) U^T (x - z), the k numbers by which B differs from gamma 1, its solution is one
shrink, x(w) = prox(z - (g + U w) / gamma), and what is left is to find the w that agrees with its
own x: k equations, solved by Newton's method, since a shrink has a derivative wherever no group
stands exactly on its threshold:

    J = 1 + diag(c) U^T P U / gamma
    P = (1 - t/n) 1 + (t/n) v v^T / n^2 where group v has norm n > t, else 0

J is never singular, because P lies between 0 and 1. Where Newton's steps fail to shrink the
residual, accelerated proximal gradient takes over; it needs no more than B's largest eigenvalue.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.locality.penalties import Groups
from model.locality.prox import shrink, shrinkage, thresholds
from model.locality.stationarity import distances
from model.training.curvature import Curvature

_NEWTON_ROUNDS = 40
_HALVINGS = 12
_GRADIENT_ROUNDS = 400


def model_step(
    z: Tensor,
    gradient: Tensor,
    groups: Groups,
    alpha: float,
    curvature: Curvature,
    tolerance: float,
) -> tuple[Tensor, float]:
    """The model's minimiser, and the fall of f + penalty that the model promises, nats.

    tolerance: relative KKT residual of the inner problem at which the search ends; the best point
    found where it is not reached. z, gradient: float64 [layer, unit, d_head, committed].
    """
    x, residual = _newton(z, gradient, groups, alpha, curvature, tolerance)
    if not residual <= tolerance:
        other, reached = _accelerated(z, gradient, groups, alpha, curvature, tolerance, x)
        x = other if reached < residual else x
    moved = x - z
    smooth = float((moved * (gradient + 0.5 * curvature.times(moved))).sum())
    return x, groups.penalty(z, alpha) - groups.penalty(x, alpha) - smooth


def _residual(slope: Tensor, x: Tensor, groups: Groups, alpha: float) -> float:
    """Relative KKT residual of the inner problem, without the checks of `kkt_residual`."""
    return float((distances(slope, x, groups, alpha) / (alpha * groups.weights)).amax())


def _newton(
    z: Tensor, g: Tensor, groups: Groups, alpha: float, B: Curvature, tolerance: float
) -> tuple[Tensor, float]:
    U, c, gamma = B.directions, B.excess, B.gamma
    limits = thresholds(groups, alpha, 1.0 / gamma)

    def at(w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The point before and after its shrink, and by how much w disagrees with it."""
        before = z - (g + (U @ w).view_as(z)) / gamma
        x = shrink(before, groups, limits)
        return before, x, w - c * (U.T @ (x - z).flatten())

    w = torch.zeros_like(c)
    before, x, off = at(w)
    best, least = x, _residual(g + B.times(x - z), x, groups, alpha)
    for _ in range(_NEWTON_ROUNDS):
        if least <= tolerance:
            break
        J = (
            torch.eye(len(c), dtype=c.dtype)
            + c[:, None] * _squeezed(U, before, groups, limits) / gamma
        )
        direction = torch.linalg.solve(J, off)
        length, size = 1.0, float(off.norm())
        for _ in range(_HALVINGS):
            trial = at(w - length * direction)
            if float(trial[2].norm()) <= (1.0 - 1e-4 * length) * size:
                break
            length /= 2
        else:
            break
        w = w - length * direction
        before, x, off = trial
        residual = _residual(g + B.times(x - z), x, groups, alpha)
        if residual < least:
            best, least = x, residual
    return best, least


def _squeezed(U: Tensor, before: Tensor, groups: Groups, limits: Tensor) -> Tensor:
    """U^T P U [k, k], P the derivative of the shrink at `before`; only living rows are touched."""
    norms = groups.norms(before)
    kept = shrinkage(norms, limits)
    rows = groups.spread(kept).expand(groups.shape).flatten().nonzero()[:, 0]
    if not len(rows):
        return U.new_zeros(U.shape[1], U.shape[1])
    index = torch.arange(norms.numel()).view(norms.shape)
    group = groups.spread(index).expand(groups.shape).flatten()[rows]
    living, near = kept.flatten()[group], U[rows]
    found = (near * living[:, None]).T @ near
    unit = before.flatten()[rows] / norms.flatten()[group]
    along = U.new_zeros(norms.numel(), U.shape[1]).index_add_(0, group, near * unit[:, None])
    alive = kept.flatten() > 0
    return found + (along * torch.where(alive, 1.0 - kept.flatten(), 0.0)[:, None]).T @ along


def _accelerated(
    z: Tensor,
    g: Tensor,
    groups: Groups,
    alpha: float,
    B: Curvature,
    tolerance: float,
    first: Tensor,
) -> tuple[Tensor, float]:
    """Accelerated proximal gradient from `first`; momentum restarts where it points uphill."""
    limits = thresholds(groups, alpha, 1.0 / B.largest)
    x = extrapolated = first
    momentum, residual = 1.0, float("inf")
    for _ in range(_GRADIENT_ROUNDS):
        slope = g + B.times(extrapolated - z)
        new = shrink(extrapolated - slope / B.largest, groups, limits)
        residual = _residual(g + B.times(new - z), new, groups, alpha)
        uphill = float(((extrapolated - new) * (new - x)).sum()) > 0.0
        following = 1.0 if uphill else (1.0 + (1.0 + 4.0 * momentum**2) ** 0.5) / 2.0
        extrapolated = new if uphill else new + (momentum - 1.0) / following * (new - x)
        x, momentum = new, following
        if residual <= tolerance:
            break
    return x, residual

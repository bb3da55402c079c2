"""What the last steps told about the curvature of f: a limited-memory BFGS matrix.

Pairs (s, y) of a step and the change of the gradient over it give, in compact form,

    B = gamma 1 - W M^-1 W^T,   W = [gamma S, Y],   M = [[gamma S^T S, L], [L^T, -D]]

with L the strictly lower part of S^T Y, D its diagonal and gamma = ||y|| / ||s|| of the last pair.
An orthonormal basis of W's columns turns it into B = gamma 1 + U diag(c) U^T, whose eigenvalues can
be read off. Pairs belong to f alone, so they stay true when the penalty's strength changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

# Least cosine of step and change. f is not convex: a pair below it would tell of a curvature
# |y|^2 / s^T y that is far above any there is, and make every later step too short.
_CAUTION = 0.1
_FLOOR = 1e-6  # least eigenvalue, relative to gamma


@dataclass(frozen=True)
class Curvature:
    """A symmetric positive definite model of the second derivative, float64.

    gamma: curvature outside of what the pairs span. directions: U [size, k], orthonormal columns.
    excess: c [k], added along them; gamma + c > 0.
    """

    gamma: float
    directions: Tensor
    excess: Tensor

    @property
    def largest(self) -> float:
        """The largest eigenvalue."""
        return self.gamma + max(0.0, float(self.excess.max()) if len(self.excess) else 0.0)

    @property
    def smallest(self) -> float:
        return self.gamma + min(0.0, float(self.excess.min()) if len(self.excess) else 0.0)

    def times(self, x: Tensor) -> Tensor:
        """B x, of x's shape."""
        flat = x.flatten()
        if len(self.excess):
            inside = self.directions @ (self.excess * (self.directions.T @ flat))
            return (self.gamma * flat + inside).view_as(x)
        return self.gamma * x

    def raised(self, sigma: float) -> Curvature:
        """B + sigma 1."""
        return replace(self, gamma=self.gamma + sigma)


@dataclass(frozen=True)
class Memory:
    """The last pairs, oldest first, each scaled to a step of length 1: S and Y [size, pairs]."""

    steps: Tensor
    changes: Tensor
    gamma: float
    most: int

    @classmethod
    def empty(cls, size: int, gamma: float, most: int) -> Memory:
        nothing = torch.zeros(size, 0, dtype=torch.float64)
        return cls(nothing, nothing, gamma, most)

    def remember(self, step: Tensor, change: Tensor) -> Memory:
        """With one more pair, unless it shows no curvature that is clearly positive."""
        s, y = step.flatten().double(), change.flatten().double()
        length, bend = float(s.norm()), float(s @ y)
        if not bend > _CAUTION * length * float(y.norm()):
            return self
        s, y = s / length, y / length
        steps = torch.cat((self.steps, s[:, None]), dim=1)[:, -self.most :]
        changes = torch.cat((self.changes, y[:, None]), dim=1)[:, -self.most :]
        return Memory(steps, changes, float(y.norm()), self.most)

    def curvature(self) -> Curvature:
        """B; only gamma where there is no pair."""
        S, Y, gamma = self.steps, self.changes, self.gamma
        if not S.shape[1]:
            return Curvature(gamma, S, torch.zeros(0, dtype=torch.float64))
        inner = S.T @ Y
        lower = inner.tril(-1)
        middle = torch.cat(
            (
                torch.cat((gamma * (S.T @ S), lower), dim=1),
                torch.cat((lower.T, -torch.diag(inner.diagonal())), dim=1),
            )
        )
        # W's columns at length 1, or one of its halves drowns in the rounding of the other.
        scale = torch.cat((S.new_full((S.shape[1],), gamma), Y.norm(dim=0)))
        q, r = torch.linalg.qr(torch.cat((S, Y / Y.norm(dim=0)), dim=1))
        core = -r @ torch.linalg.solve(middle / scale / scale[:, None], r.T)
        excess, turn = torch.linalg.eigh((core + core.T) / 2)
        return Curvature(gamma, q @ turn, excess.clamp(min=(_FLOOR - 1.0) * gamma))

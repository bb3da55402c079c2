"""Convex problems with groups, for solvers: least squares and logistic regression, float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model.locality.penalties import Groups

RANKS = (3, 1, 4, 2, 3, 3, 4)


@dataclass(frozen=True)
class Problem:
    """X [n, p], y [n] (signs for logistic), and f with its gradient as a function of z."""

    X: np.ndarray
    y: np.ndarray
    groups: Groups
    loss: Callable[[Tensor], tuple[float, Tensor]]

    @property
    def zero(self) -> Tensor:
        return torch.zeros(self.groups.shape, dtype=torch.float64)


def problem(kind: str, rng: np.random.Generator, ranks: tuple[int, ...] = RANKS) -> Problem:
    """A correlated design of 60 rows; two groups carry the signal. kind: "squares", "logistic"."""
    n, p = 60, sum(ranks)
    X = rng.standard_normal((n, p)) @ (np.eye(p) + 0.3 * rng.standard_normal((p, p)))
    y = X[:, :4] @ np.array([1.0, -2.0, 1.5, 0.5]) + rng.standard_normal(n)
    y = np.sign(y) if kind == "logistic" else y
    A, target = torch.from_numpy(X), torch.from_numpy(y)

    def squares(z: Tensor) -> tuple[float, Tensor]:
        rest = A @ z.flatten() - target
        return float(rest @ rest) / (2 * n), (A.T @ rest / n).view(z.shape)

    def logistic(z: Tensor) -> tuple[float, Tensor]:
        margin = target * (A @ z.flatten())
        slope = A.T @ (-target * torch.sigmoid(-margin)) / n
        return float(F.softplus(-margin).mean()), slope.view(z.shape)

    loss = logistic if kind == "logistic" else squares
    return Problem(X, y, Groups(1, 1, 0, 1, ranks), loss)

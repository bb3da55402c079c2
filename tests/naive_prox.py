"""The group penalty by loops and by search, in numpy, as slow and as plain as its definition."""

from __future__ import annotations

import math

import numpy as np


def blocks_of(z: np.ndarray, ranks: tuple[int, ...]) -> dict[tuple[int, int, int], np.ndarray]:
    """z [layer, unit, d_head, committed] -> each group's matrix, by (layer, unit, block)."""
    found = {}
    for layer in range(z.shape[0]):
        for unit in range(z.shape[1]):
            start = 0
            for block, rank in enumerate(ranks):
                found[layer, unit, block] = z[layer, unit, :, start : start + rank]
                start += rank
    return found


def penalty(z: np.ndarray, ranks: tuple[int, ...], alpha: float) -> float:
    """alpha * sum_g sqrt(r_b d_head) ||z_g||_F."""
    return alpha * sum(
        math.sqrt(matrix.size) * math.sqrt(sum(float(x) ** 2 for x in matrix.flat))
        for matrix in blocks_of(z, ranks).values()
    )


def prox_objective(x: np.ndarray, v: np.ndarray, metric: np.ndarray, threshold: float) -> float:
    """1/2 sum_i d_i (x_i - v_i)^2 + t ||x||."""
    return 0.5 * float((metric * (x - v) ** 2).sum()) + threshold * float(np.sqrt((x**2).sum()))


def prox_by_search(v: np.ndarray, metric: np.ndarray, threshold: float) -> np.ndarray:
    """The minimiser of `prox_objective` by majorise-minimise, float64.

    ||x|| <= (||x||^2 / c + c) / 2 with equality at c = ||x||: each round solves a ridge problem.
    Zero competes at the end, since the rounds never reach it.
    """
    zero, x = np.zeros_like(v), v
    c = float(np.sqrt((v**2).sum())) + 1e-300
    for _ in range(100_000):
        x = metric * v / (metric + threshold / c)
        new = max(float(np.sqrt((x**2).sum())), 1e-300)
        if abs(new - c) <= 1e-13 * c:
            break
        c = new
    ours, theirs = (prox_objective(each, v, metric, threshold) for each in (x, zero))
    return x if ours < theirs else zero


def distance(gradient: np.ndarray, z: np.ndarray, limit: float, rng: np.random.Generator) -> float:
    """dist(-gradient, limit * subdifferential of ||z||) for one group.

    Where z is zero the subdifferential is a ball: the nearest of its points is found by projected
    descent from a random point, not by the formula.
    """
    if (z != 0).any():
        return float(np.linalg.norm(gradient + limit * z / np.linalg.norm(z)))
    point = rng.standard_normal(z.shape)
    for _ in range(200):
        point = point - 0.5 * (point + gradient)
        size = np.linalg.norm(point)
        point = point if size <= limit else point * (limit / size)
    return float(np.linalg.norm(point + gradient))


def block_coordinate_descent(
    X: np.ndarray, y: np.ndarray, ranks: tuple[int, ...], alpha: float, sweeps: int = 20_000
) -> np.ndarray:
    """Group lasso 1/(2n) ||Xb - y||^2 + alpha sum_g sqrt(r_g) ||b_g||, group by group."""
    n, b = len(y), np.zeros(X.shape[1])
    for _ in range(sweeps):
        before, start = b.copy(), 0
        for rank in ranks:
            part = slice(start, start + rank)
            start += rank
            step = n / np.linalg.norm(X[:, part], 2) ** 2
            moved = b[part] - step * (X[:, part].T @ (X @ b - y)) / n
            size = np.linalg.norm(moved)
            limit = step * alpha * math.sqrt(rank)
            b[part] = 0.0 if size <= limit else (1 - limit / size) * moved
        if np.abs(b - before).max() <= 1e-15 * max(1.0, np.abs(b).max()):
            break
    return b

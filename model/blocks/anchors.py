"""Anchors in the residual stream: one direction a block, and membership by them alone.

Fitted on activations x of anchor tokens. m_b is the mean of block b, m_r that of all other anchors,
S the covariance within blocks, pooled and shrunk towards a multiple of the identity:

    S'    = (1 − shrinkage) S + shrinkage (tr S / d_model) 1
    mu_b  = S'^-1 (m_b − m_r)                          Fisher direction of block b against the rest
    s_b   = mu_b · (x − (m_b + m_r) / 2) + log(pi_b / (1 − pi_b))

mu_b is the difference of the two means in the space that S' whitens, carried back to the stream.
s_b is the log odds of the block in nats if block and rest were two Gaussians with covariance S'.
The rest is a mixture, so that the odds are not calibrated: they rank and separate, and thresholds
for them are chosen on tokens that are not anchors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.errors import AnchorError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AnchorMembership:
    """One row a position. Blocks are numbers 0 … K−1, K where it is a member of none.

    blocks: int64. nearest, runner_up: the block with the best and the second best score, whether it
    is a member or not. scores: the best, nats; margins: its lead over the runner-up, nats, ≥ 0.
    """

    blocks: NDArray[np.int64]
    nearest: NDArray[np.int64]
    runner_up: NDArray[np.int64]
    scores: Floats
    margins: Floats


@dataclass(frozen=True)
class Anchors:
    """Anchor vectors mu float64 [K, d_model], 1 / activation unit, and offsets [K], nats."""

    names: tuple[str, ...]
    vectors: Floats
    offsets: Floats

    def scores(self, activations: NDArray[np.floating]) -> Floats:
        """Log odds in nats [positions, K] of activations [positions, d_model]."""
        return _activations(activations, self.vectors.shape[1]) @ self.vectors.T + self.offsets

    def membership(
        self, activations: NDArray[np.floating], theta: float = -np.inf, delta: float = 0.0
    ) -> AnchorMembership:
        """The block whose score is ≥ theta and leads by ≥ delta, both in nats, else none.

        By default every position is a member of its nearest block, the first of equals.
        """
        if not delta >= 0.0 or np.isnan(theta):
            raise AnchorError(
                "Thresholds", (theta, delta), "must be numbers, delta ≥ 0", "Give both in nats"
            )
        scores = self.scores(activations)
        rows = np.arange(len(scores))
        nearest = scores.argmax(axis=1)
        best = scores[rows, nearest]
        others = scores.copy()
        others[rows, nearest] = -np.inf
        runner_up = others.argmax(axis=1)
        margins = best - others[rows, runner_up]
        member = (best >= theta) & (margins >= delta)
        blocks = np.where(member, nearest, len(self.names))
        return AnchorMembership(blocks, nearest, runner_up, best, margins)

    def reason(self, found: AnchorMembership, position: int) -> str:
        """What a person reads of one position: which anchor, what score, what margin."""
        best, second = (self.names[each[position]] for each in (found.nearest, found.runner_up))
        score, margin = found.scores[position], found.margins[position]
        says = f"{best} at {score:.2f} nats, {margin:.2f} ahead of {second}"
        return says if found.blocks[position] < len(self.names) else f"no block: best is {says}"


def fit_anchors(
    activations: NDArray[np.floating],
    blocks: NDArray[np.integer],
    names: tuple[str, ...],
    shrinkage: float = 0.1,
    priors: Floats | None = None,
) -> Anchors:
    """Anchors from activations [n, d_model] of anchor tokens and their blocks [n], 0 … K−1.

    `shrinkage`: fraction in (0, 1]. `priors`: share [K] of each block among the positions to come,
    each in (0, 1); those of the anchors by default. AnchorError where a block has no anchor, there
    are fewer than two blocks, all anchors of each block are the same, or shapes do not fit.
    """
    x = _activations(activations)
    y = np.asarray(blocks)
    if y.shape != x.shape[:1] or not np.issubdtype(y.dtype, np.integer):
        raise AnchorError(
            "Blocks of the anchors",
            f"{y.dtype} {list(y.shape)}",
            f"must be {len(x)} integers, one an activation",
            "Label each anchor with a block",
        )
    k = len(names)
    if k < 2 or y.min() < 0 or y.max() >= k:
        raise AnchorError(
            "Blocks", k, "must be at least 2, and hold every label", "Name all blocks of the labels"
        )
    sizes = np.bincount(y, minlength=k)
    if not sizes.all():
        empty = names[int(sizes.argmin())]
        raise AnchorError(
            f"Number of anchors of {empty}", 0, "must be at least 1", "Choose one, or drop it"
        )
    if not 0.0 < shrinkage <= 1.0:
        raise AnchorError("Shrinkage", shrinkage, "must lie in (0, 1]", "Choose such a fraction")
    shares = sizes / len(y) if priors is None else np.asarray(priors, dtype=np.float64)
    if shares.shape != (k,) or not ((shares > 0) & (shares < 1)).all():
        raise AnchorError("Priors", shares.tolist(), f"must be {k} shares in (0, 1)", "Give shares")
    means = np.zeros((k, x.shape[1]))
    np.add.at(means, y, x)
    rest = (means.sum(axis=0) - means) / (len(y) - sizes)[:, None]
    means = means / sizes[:, None]
    within = _shrunk(x - means[y], shrinkage)
    vectors = np.linalg.solve(within, (means - rest).T).T
    offsets = np.log(shares / (1 - shares)) - (vectors * (means + rest)).sum(axis=1) / 2
    return Anchors(names, np.ascontiguousarray(vectors), offsets)


def _shrunk(residuals: Floats, shrinkage: float) -> Floats:
    covariance = residuals.T @ residuals / len(residuals)
    size = len(covariance)
    scale = float(np.trace(covariance)) / size
    if scale <= 0.0:
        raise AnchorError(
            "Variance within blocks", scale, "must be above 0", "Choose anchors that differ"
        )
    return (1 - shrinkage) * covariance + shrinkage * scale * np.eye(size)


def _activations(values: NDArray[np.floating], d_model: int | None = None) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    fits = x.ndim == 2 and x.shape[1] == (x.shape[1] if d_model is None else d_model)
    if not fits or (d_model is None and not x.size) or not np.isfinite(x).all():
        shown = "d_model" if d_model is None else d_model
        raise AnchorError(
            "Activations",
            list(x.shape),
            f"must be finite numbers [positions, {shown}]",
            "Read them at the hook of the anchors",
        )
    return x

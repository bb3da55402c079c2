"""The regularisation path of a model: what the group penalty leaves alive, from strong to weak.

A model trained under the penalty carries `path.json` in its directory; others have none.
`workbench.regularisation_file` reads it. No torch is needed for any of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SIDES = ("key", "query")
TOLERANCE = 1e-3  # as `model.locality.stationarity.TOLERANCE`, which a test compares


@dataclass(frozen=True)
class Measured:
    """A point of the path on held-out text at one dial; perplexity is exp(nats)."""

    dial: float
    nats_per_token: float
    perplexity: float
    entropy_bits: float
    entropy_normalised: float
    fidelity: float
    relevant_share: float


@dataclass(frozen=True, eq=False)
class Point:
    """One strength. strength: alpha / alpha_max; alpha: nats per unit of weight.

    objective_nats: F = f + penalty. kkt_residual: relative to alpha w_g, no unit; None at alpha 0,
    where it has no meaning. groups_alive counts key heads once; zero_share and pool_score_share are
    fractions. query and key: Frobenius norms, float64 [layer, head, block], 0 iff exactly zero.
    """

    strength: float
    alpha: float
    objective_nats: float
    kkt_residual: float | None
    stationary: bool
    groups_alive: int
    zero_share: float
    pool_score_share: float
    query: np.ndarray
    key: np.ndarray
    measured: tuple[Measured, ...]

    def norms(self, side: str) -> np.ndarray:
        """Of "query" or "key"."""
        return self.query if side == "query" else self.key


@dataclass(frozen=True, eq=False)
class RegularisationPath:
    """All points, from strong to weak, and what they share.

    tokens, text_sha256: of the fixed objective set; dials, dial_weights: its quadrature. ranks: the
    dimensions of each block. alpha_max: nats per unit of weight. own: which point the model itself
    is, None where the file does not say.
    """

    model_hash: str
    alpha_max: float
    tokens: int
    text_sha256: str
    dials: tuple[float, ...]
    dial_weights: tuple[float, ...]
    blocks: tuple[str, ...]
    ranks: tuple[int, ...]
    layers: int
    heads: int
    kv_heads: int
    d_head: int
    points: tuple[Point, ...]
    own: int | None = None

    @property
    def groups(self) -> int:
        """Penalised groups: layers × (query heads + key heads) × blocks."""
        return self.layers * (self.heads + self.kv_heads) * len(self.blocks)

    def weight(self, block: int) -> float:
        """w_g = sqrt(r_b d_head), no unit."""
        return math.sqrt(self.ranks[block] * self.d_head)

    def threshold(self, point: Point, block: int) -> float:
        """alpha w_g: the gradient that a group at zero withstands, nats per unit of weight."""
        return point.alpha * self.weight(block)

    def penalty(self, point: Point) -> float:
        """alpha sum_g w_g ||W_g||, nats."""
        weights = np.array([self.weight(block) for block in range(len(self.blocks))])
        return point.alpha * float(
            ((point.query.sum((0, 1)) + point.key.sum((0, 1))) * weights).sum()
        )

    def likely(self) -> int:
        """The point to begin with: the model's own.

        Where it is not known, the strongest whose perplexity at dial 0 is within 1.05 times the
        weakest one's.
        """
        if self.own is not None:
            return self.own
        costs = [point.measured[0].perplexity for point in self.points]
        return next(at for at, cost in enumerate(costs) if cost <= 1.05 * costs[-1])

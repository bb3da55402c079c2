"""Stationarity: distances to the subdifferential, the residual, alpha_max and the training dial."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from model.errors import PenaltyError
from model.locality.penalties import Groups
from model.locality.stationarity import (
    TOLERANCE,
    alpha_max,
    dial_of,
    distances,
    kkt_residual,
    never_alive,
    strength_at,
)
from tests import naive_prox
from tests.convex import problem

GROUPS = Groups(2, 2, 1, 3, (2, 4, 1))


def draw(seed: int, shape: tuple[int, ...] = GROUPS.shape) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def with_zeros(seed: int) -> torch.Tensor:
    z = draw(seed)
    z[0, 0], z[1, 2, :, 2:6] = 0.0, 0.0
    return z


def test_distances_by_hand() -> None:
    groups = Groups(1, 1, 0, 1, (2, 2))
    limit = 2.0 * math.sqrt(2)
    z = torch.tensor([3.0, 4.0, 0.0, 0.0], dtype=torch.float64).view(groups.shape)
    gradient = torch.tensor([0.0, 0.0, 6.0, 8.0], dtype=torch.float64).view(groups.shape)
    found = distances(gradient, z, groups, 2.0).flatten().tolist()
    assert found == pytest.approx([limit, 10.0 - limit], rel=1e-14)
    settled = torch.cat((-limit * z[..., :2] / 5, gradient[..., 2:] / 10 * limit), dim=-1)
    assert distances(settled, z, groups, 2.0).abs().max() <= 1e-14


def test_distances_equal_a_search_over_the_subdifferential(rng, seed) -> None:
    z, gradient, alpha = with_zeros(seed), draw(seed + 1), 0.7
    found = distances(gradient, z, GROUPS, alpha)
    slopes = naive_prox.blocks_of(gradient.numpy(), GROUPS.ranks)
    for place, matrix in naive_prox.blocks_of(z.numpy(), GROUPS.ranks).items():
        limit = alpha * math.sqrt(matrix.size)
        wanted = naive_prox.distance(slopes[place], matrix, limit, rng)
        assert float(found[place]) == pytest.approx(wanted, abs=1e-9), place
        if not matrix.any():
            off = naive_prox.distance(slopes[place], matrix, 0.5 * limit, rng)
            assert off > wanted or wanted == off == 0.0


def test_the_residual_names_the_worst_group(seed) -> None:
    z, alpha = with_zeros(seed), 0.5
    limits = GROUPS.spread((alpha * GROUPS.weights).expand(2, 3, 3))
    norms = GROUPS.spread(GROUPS.norms(z).clamp(min=1e-300))
    gradient = -limits * z / norms
    settled = kkt_residual(gradient, z, GROUPS, alpha)
    assert settled.value <= 1e-14 and settled.stationary
    gradient[1, 1, :, 6:] *= 1.25
    gradient[0, 0, :, :2] = 1.1 * alpha * math.sqrt(6) / math.sqrt(6)
    found = kkt_residual(gradient, z, GROUPS, alpha)
    assert found.value == pytest.approx(0.25, rel=1e-12) and found.worst == (1, 1, 2)
    assert found.of_alive == found.value and found.of_zero == pytest.approx(0.1, rel=1e-12)
    assert not found.stationary


def test_a_wrong_solution_has_a_large_residual(rng) -> None:
    case = problem("squares", rng)
    largest = alpha_max(case.loss(case.zero)[1], case.groups)
    unpenalised = torch.from_numpy(np.linalg.lstsq(case.X, case.y)[0]).view(case.groups.shape)
    for wrong in (case.zero, unpenalised, -unpenalised):
        found = kkt_residual(case.loss(wrong)[1], wrong, case.groups, 0.5 * largest)
        assert found.value > 0.5 > TOLERANCE


def test_alpha_max_is_the_least_strength_that_leaves_zero_stationary(rng) -> None:
    case = problem("logistic", rng)
    gradient = case.loss(case.zero)[1]
    largest = alpha_max(gradient, case.groups)
    by_hand = max(
        np.linalg.norm(part) / math.sqrt(part.size)
        for part in naive_prox.blocks_of(gradient.numpy(), case.groups.ranks).values()
    )
    assert largest == pytest.approx(by_hand, rel=1e-14)
    at, below = (
        kkt_residual(gradient, case.zero, case.groups, share * largest).value
        for share in (1.0 + 1e-12, 0.999)
    )
    assert at == 0.0 and below == pytest.approx(1 / 0.999 - 1, rel=1e-9)


def test_the_bilinear_zero_is_an_error_that_says_so() -> None:
    with pytest.raises(PenaltyError, match="bilinear zero"):
        alpha_max(torch.zeros(GROUPS.shape), GROUPS)


def test_the_dial_is_a_fraction_of_alpha_max() -> None:
    assert [strength_at(dial, 0.4) for dial in (0.0, 0.25, 1.0)] == [0.0, 0.1, 0.4]
    assert dial_of(0.1, 0.4) == 0.25 and dial_of(0.8, 0.4) == 2.0
    for dial in (-0.1, 1.1, math.nan, True):
        with pytest.raises(PenaltyError, match="Training dial"):
            strength_at(dial, 0.4)
    for largest in (0.0, math.nan, -1.0):
        with pytest.raises(PenaltyError):
            dial_of(0.1, largest)


def test_the_threshold_is_strict() -> None:
    bounds = GROUPS.weights.expand(2, 3, 3) * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    assert never_alive(bounds, GROUPS, 1.0)[0, 0].tolist() == [True, False, False]


def test_what_has_no_residual_is_refused(seed) -> None:
    z, gradient = draw(seed), draw(seed + 1)
    for alpha in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(PenaltyError, match="Penalty strength"):
            kkt_residual(gradient, z, GROUPS, alpha)
    gradient[0, 0, 0, 0] = math.nan
    with pytest.raises(PenaltyError, match="finite"):
        kkt_residual(gradient, z, GROUPS, 1.0)
    with pytest.raises(PenaltyError, match="finite"):
        alpha_max(gradient, GROUPS)

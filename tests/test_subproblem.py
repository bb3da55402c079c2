"""The inner problem of a step: two algorithms, one minimiser, and the fall that it promises."""

from __future__ import annotations

import pytest
import torch

from model.locality.penalties import Groups
from model.locality.prox import prox
from model.locality.stationarity import kkt_residual
from model.training import subproblem
from model.training.curvature import Curvature
from model.training.subproblem import model_step

GROUPS = Groups(2, 2, 1, 3, (2, 4, 1))
ALPHA = 2.0


def case(seed: int) -> tuple[torch.Tensor, torch.Tensor, Curvature]:
    """z, g and a curvature with directions that are steeper and flatter than the rest."""
    generator = torch.Generator().manual_seed(seed)
    z, g = torch.randn(2, *GROUPS.shape, generator=generator, dtype=torch.float64)
    drawn = torch.randn(z.numel(), 6, generator=generator, dtype=torch.float64)
    excess = torch.tensor([-1.9, -1.0, 0.0, 1.0, 30.0, 200.0], dtype=torch.float64)
    return z, g, Curvature(2.0, torch.linalg.qr(drawn)[0], excess)


def model(x: torch.Tensor, seed: int) -> float:
    z, g, B = case(seed)
    d = x - z
    return float((d * g).sum() + 0.5 * (d * B.times(d)).sum()) + GROUPS.penalty(x, ALPHA)


def test_newton_reaches_the_minimum_and_its_fall_is_the_models(seed) -> None:
    z, g, B = case(seed)
    x, promised = model_step(z, g, GROUPS, ALPHA, B, 1e-11)
    assert kkt_residual(g + B.times(x - z), x, GROUPS, ALPHA).value <= 1e-11
    assert promised == pytest.approx(model(z, seed) - model(x, seed), rel=1e-12)
    assert promised > 0 and 0 < int(GROUPS.alive(x).sum()) < GROUPS.count
    generator = torch.Generator().manual_seed(seed)
    for size in (1e-3, 1e-1):
        moved = x + size * torch.randn(x.shape, generator=generator, dtype=torch.float64)
        assert model(moved, seed) > model(x, seed)


def test_without_newton_the_answer_is_the_same(seed, monkeypatch) -> None:
    z, g, B = case(seed)
    x, _ = model_step(z, g, GROUPS, ALPHA, B, 1e-11)
    monkeypatch.setattr(subproblem, "_NEWTON_ROUNDS", 0)
    monkeypatch.setattr(subproblem, "_GRADIENT_ROUNDS", 5000)
    other, _ = model_step(z, g, GROUPS, ALPHA, B, 1e-11)
    assert torch.allclose(x, other, atol=1e-9) and not torch.equal(x, other)
    wrong, _ = model_step(z, g, GROUPS, ALPHA, B.raised(0.1), 1e-11)
    assert not torch.allclose(x, wrong, atol=1e-4)


def test_without_directions_it_is_one_proximal_step(seed) -> None:
    z, g, B = case(seed)
    plain = Curvature(2.0, B.directions[:, :0], B.excess[:0])
    x, _ = model_step(z, g, GROUPS, ALPHA, plain, 1e-12)
    assert torch.allclose(x, prox(z - g / 2.0, GROUPS, ALPHA, 0.5), atol=1e-14)


def test_the_derivative_of_the_shrink_is_that_of_differences(seed) -> None:
    z, g, B = case(seed)
    limits = subproblem.thresholds(GROUPS, ALPHA, 0.5)

    def shrunk(v: torch.Tensor) -> torch.Tensor:
        return subproblem.shrink(v, GROUPS, limits).flatten()

    wanted = torch.autograd.functional.jacobian(shrunk, z - g / 2.0).view(z.numel(), -1)
    found = subproblem._squeezed(B.directions, z - g / 2.0, GROUPS, limits)
    assert torch.allclose(found, B.directions.T @ wanted @ B.directions, atol=1e-12)

"""The proximal step: hand values, limits, its definition by search, and what it may never do."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import PenaltyError
from model.locality.penalties import Groups
from model.locality.prox import prox, prox_diagonal, shrink, shrinkage, thresholds
from tests import naive_prox

GROUPS = Groups(2, 2, 1, 3, (2, 4, 1))
SEEDS = st.integers(0, 10**6)


def f64(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def draw(seed: int, shape: tuple[int, ...] = GROUPS.shape, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def one_group(*values: float) -> tuple[torch.Tensor, Groups]:
    return f64(*values)[None, None, None], Groups(1, 1, 0, 1, (len(values),))


def test_by_hand() -> None:
    v, groups = one_group(3.0, 4.0)
    found = prox(v, groups, 1.0, 2.5 / math.sqrt(2))  # threshold 2.5 at a norm of 5
    assert torch.allclose(found, v / 2, rtol=1e-15)
    assert (prox(v, groups, 1.0, 5.0 / math.sqrt(2) * (1 + 1e-15)) == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_at_zero_without_a_nan(dtype) -> None:
    zeros = torch.zeros(GROUPS.shape, dtype=dtype)
    for alpha in (0.0, 1.0):
        assert torch.equal(prox(zeros, GROUPS, alpha), zeros)
    assert shrinkage(f64(0.0), f64(0.0)).item() == 1.0
    one = torch.ones(1, 3)
    assert torch.equal(prox_diagonal(0 * one, one, f64(0.0)), 0 * one.double())
    assert torch.equal(prox_diagonal(0 * one, one, f64(1.0)), 0 * one.double())


def test_no_penalty_changes_nothing_however_small_the_number() -> None:
    tiny = draw(0, scale=1e-250)
    assert torch.equal(prox(tiny, GROUPS, 0.0), tiny)


def test_a_nan_is_kept_and_not_shrunk_to_zero() -> None:
    z = draw(0)
    z[1, 2, 0, 0] = math.nan
    found = prox(z, GROUPS, 100.0)
    assert found[1, 2, :, :2].isnan().all()
    assert (found[0] == 0).all() and not found[1, 2, :, 2:].isnan().any()


@settings(max_examples=20)
@given(SEEDS, st.sampled_from([1e-5, 0.1, 1.0, 1e4]), st.floats(0.0, 2.0))
def test_each_group_against_a_search_for_the_minimum(seed: int, scale: float, alpha: float) -> None:
    z, strength = draw(seed, scale=scale), alpha * scale
    found = naive_prox.blocks_of(prox(z, GROUPS, strength, 0.7).numpy(), GROUPS.ranks)
    for place, v in naive_prox.blocks_of(z.numpy(), GROUPS.ranks).items():
        limit = 0.7 * strength * math.sqrt(v.size)
        wanted = naive_prox.prox_by_search(v, np.ones_like(v), limit)
        assert np.abs(found[place] - wanted).max() <= 1e-6 * scale


@given(SEEDS, st.floats(0.0, 3.0))
def test_groups_of_one_are_the_lasso(seed: int, alpha: float) -> None:
    groups = Groups(1, 1, 0, 1, (1,) * 9)
    v = draw(seed, groups.shape)
    soft = v.sign() * (v.abs() - 0.5 * alpha).clamp(min=0)
    assert torch.allclose(prox(v, groups, alpha, 0.5), soft, atol=1e-15)


@given(SEEDS, st.floats(0.0, 2.0))
def test_one_step_a_group_is_that_step_in_its_group(seed: int, alpha: float) -> None:
    z, steps = draw(seed), draw(seed + 1, (2, 3, 3)).abs() + 0.1
    found = prox(z, GROUPS, alpha, steps)
    for layer, unit, block in np.ndindex(2, 3, 3):
        part = slice(sum(GROUPS.ranks[:block]), sum(GROUPS.ranks[: block + 1]))
        alone = prox(z, GROUPS, alpha, float(steps[layer, unit, block]))
        assert torch.equal(found[layer, unit, :, part], alone[layer, unit, :, part])


@given(SEEDS, SEEDS, st.floats(0.0, 2.0))
def test_two_points_never_move_apart(seed: int, other: int, alpha: float) -> None:
    a, b = draw(seed), draw(other, scale=2.0)
    moved = prox(a, GROUPS, alpha) - prox(b, GROUPS, alpha)
    assert float(moved.norm()) <= float((a - b).norm()) * (1 + 1e-14)
    # firmly so: <p - q, a - b> is at least ||p - q||^2
    assert float((moved * (a - b)).sum()) >= float(moved.square().sum()) * (1 - 1e-12) - 1e-14


def diagonal_case(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    metric = 10 ** (4 * torch.rand(6, 5, generator=generator, dtype=torch.float64) - 2)
    shares = torch.tensor([0.0, 0.01, 0.3, 0.9, 0.999999, 1.5], dtype=torch.float64)
    return v, metric, shares * (metric * v).norm(dim=1)


@given(SEEDS)
def test_a_diagonal_metric_is_solved_to_rounding(seed: int) -> None:
    v, metric, threshold = diagonal_case(seed)
    x = prox_diagonal(v, metric, threshold)
    assert torch.equal(x[0], v[0]) and (x[5] == 0).all() and (x[1:5] != 0).any(dim=1).all()
    slope = metric * (x - v) + threshold[:, None] * x / x.norm(dim=1, keepdim=True)
    error = slope[:5].norm(dim=1) / (metric * v).norm(dim=1)[:5]
    assert float(error.max()) <= 1e-9


@given(SEEDS)
def test_a_diagonal_metric_against_a_search_for_the_minimum(seed: int) -> None:
    v, metric, threshold = diagonal_case(seed)
    x = prox_diagonal(v, metric, threshold).numpy()
    for row in (0, 1, 2, 3, 5):
        case = v[row].numpy(), metric[row].numpy(), float(threshold[row])
        wanted = naive_prox.prox_by_search(*case)
        lowest = naive_prox.prox_objective(wanted, *case)
        assert naive_prox.prox_objective(x[row], *case) <= lowest * (1 + 1e-12)
        assert np.abs(x[row] - wanted).max() <= 1e-5


@given(SEEDS, st.floats(0.01, 100.0))
def test_an_even_metric_is_one_step_for_the_group(seed: int, weight: float) -> None:
    z = draw(seed, (1, 1, 1, 7))
    groups = Groups(1, 1, 0, 1, (7,))
    threshold = 0.3 * weight * z.norm().view(1)
    found = prox_diagonal(z.view(1, 7), torch.full((1, 7), weight, dtype=z.dtype), threshold)
    wanted = shrink(z, groups, (threshold / weight).view(1, 1, 1))
    assert torch.allclose(found, wanted.view(1, 7), rtol=1e-12)


@given(SEEDS, SEEDS)
def test_in_its_metric_two_points_never_move_apart(seed: int, other: int) -> None:
    v, metric, threshold = diagonal_case(seed)
    w = diagonal_case(other)[0]
    moved = prox_diagonal(v, metric, threshold) - prox_diagonal(w, metric, threshold)
    before, after = (metric * (v - w) ** 2).sum(1), (metric * moved**2).sum(1)
    assert bool((after <= before * (1 + 1e-9)).all())


def test_the_search_itself_knows_a_wrong_answer(rng) -> None:
    v, metric = rng.standard_normal(4), np.array([1.0, 2.0, 5.0, 0.5])
    best = naive_prox.prox_by_search(v, metric, 0.4)
    plain = v * (1 - 0.4 / np.linalg.norm(v))  # the shrink of another metric
    values = [naive_prox.prox_objective(x, v, metric, 0.4) for x in (best, plain, v, 0 * v)]
    assert min(values[1:]) > values[0] + 1e-3


def test_gradient_of_the_prox_away_from_the_kink() -> None:
    z = draw(3)
    limits = 0.3 * GROUPS.norms(z)
    limits[0, 0, 0] = 2.0 * GROUPS.norms(z)[0, 0, 0]

    def by_weights(x: torch.Tensor) -> torch.Tensor:
        return shrink(x, GROUPS, limits)

    assert torch.autograd.gradcheck(by_weights, (z.requires_grad_(),))


@pytest.mark.parametrize("alpha", [-1.0, math.nan, math.inf, True, "1"])
def test_a_strength_that_is_none_is_refused(alpha) -> None:
    with pytest.raises(PenaltyError, match="Penalty strength"):
        prox(draw(0), GROUPS, alpha)


@pytest.mark.parametrize("step", [0.0, -1.0, math.nan])
def test_a_step_that_is_none_is_refused(step: float) -> None:
    with pytest.raises(PenaltyError, match="Step is"):
        thresholds(GROUPS, 1.0, step)
    with pytest.raises(PenaltyError, match="Metric"):
        prox_diagonal(torch.ones(1, 2), torch.full((1, 2), step), f64(1.0))

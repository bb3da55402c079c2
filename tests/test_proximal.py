"""The solver: against independent ones, at both ends of the dial, on f that is not convex."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from model.errors import PenaltyError
from model.locality.penalties import Groups
from model.locality.stationarity import alpha_max, kkt_residual
from model.training.curvature import Memory
from model.training.proximal import State, Step, Stopped, minimise, start
from tests import naive_prox
from tests.convex import Problem, problem


def solve(case: Problem, alpha: float, tolerance: float = 1e-11) -> Step:
    events = list(
        minimise(case.loss, case.groups, alpha, start(case.loss, case.zero), tolerance, 2000, 1e-15)
    )
    assert isinstance(events[-1], Stopped) and events[-1].reason == "stationary"
    return events[-1].step


def objective(case: Problem, b: np.ndarray, alpha: float) -> float:
    z = torch.from_numpy(b).view(case.groups.shape)
    return case.loss(z)[0] + naive_prox.penalty(z.numpy(), case.groups.ranks, alpha)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["squares", "logistic"])
def test_skglm_agrees(kind, rng) -> None:
    from skglm.datafits import LogisticGroup, QuadraticGroup
    from skglm.penalties import WeightedGroupL2
    from skglm.solvers import GroupBCD, GroupProxNewton

    case = problem(kind, rng)
    ranks = case.groups.ranks
    pointer = np.cumsum([0, *ranks], dtype=np.int32)
    members = np.arange(sum(ranks), dtype=np.int32)
    largest = alpha_max(case.loss(case.zero)[1], case.groups)
    for share in (0.05, 0.4):
        alpha = share * largest
        penalty = WeightedGroupL2(alpha, np.sqrt(np.array(ranks, float)), pointer, members)
        fit = (QuadraticGroup if kind == "squares" else LogisticGroup)(pointer, members)
        solver = GroupBCD if kind == "squares" else GroupProxNewton
        theirs = solver(max_iter=5000, tol=1e-13, fit_intercept=False).solve(
            np.asfortranarray(case.X), case.y, fit, penalty
        )[0]
        ours = solve(case, alpha).state.z.numpy().ravel()
        assert np.abs(ours - theirs).max() <= 1e-8
        assert objective(case, ours, alpha) == pytest.approx(
            objective(case, theirs, alpha), abs=1e-8
        )
        assert 0 < (ours == 0).sum() < len(ours) or share < 0.1
        assert np.abs(solve(case, 1.01 * alpha).state.z.numpy().ravel() - theirs).max() > 1e-5
    pointless = np.zeros_like(case.X[0])
    assert objective(case, pointless, alpha) > objective(case, ours, alpha) + 1e-3


def test_block_coordinate_descent_agrees(rng) -> None:
    case = problem("squares", rng)
    alpha = 0.2 * alpha_max(case.loss(case.zero)[1], case.groups)
    theirs = naive_prox.block_coordinate_descent(case.X, case.y, case.groups.ranks, alpha)
    step = solve(case, alpha)
    assert np.abs(step.state.z.numpy().ravel() - theirs).max() <= 1e-9
    wanted = objective(case, theirs, alpha)
    assert step.objective == pytest.approx(wanted, rel=1e-13)
    off = naive_prox.block_coordinate_descent(case.X, case.y, case.groups.ranks, alpha, sweeps=3)
    assert objective(case, off, alpha) > wanted + 1e-6


@pytest.mark.parametrize("kind", ["squares", "logistic"])
def test_all_zero_from_alpha_max_on_and_not_just_below(kind, rng) -> None:
    case = problem(kind, rng)
    largest = alpha_max(case.loss(case.zero)[1], case.groups)
    far = torch.from_numpy(rng.standard_normal(case.groups.shape))
    for share in (1.0 + 1e-9, 1.5):
        *_, end = minimise(
            case.loss, case.groups, share * largest, start(case.loss, far), 1e-9, 2000, 1e-15
        )
        assert isinstance(end, Stopped) and end.reason == "stationary"
        assert (end.step.state.z == 0).all()
    assert solve(case, 0.999 * largest).alive == 1
    assert solve(case, 0.01 * largest).alive > 1


def test_groups_of_one_are_the_lasso_solved_by_signs(rng) -> None:
    case = problem("squares", rng, (1,) * 9)
    alpha = 0.2 * alpha_max(case.loss(case.zero)[1], case.groups)
    b = solve(case, alpha).state.z.numpy().ravel()
    on = b != 0
    X, n = case.X[:, on], len(case.y)
    exact = np.linalg.solve(X.T @ X, X.T @ case.y - n * alpha * np.sign(b[on]))
    assert 0 < on.sum() < 9 and np.abs(b[on] - exact).max() <= 1e-9
    assert np.abs(case.X[:, ~on].T @ (case.X @ b - case.y)).max() / n <= alpha


# f(q, k) = 1/2 ||q k^T - A||^2: bilinear, as a score is; z holds q and k, blocks of 2.
BILINEAR = Groups(1, 1, 1, 1, (2, 2))
TARGET = torch.tensor([[3.0, 1.0, 0.2, 0.0], [1.0, 2.0, 0.1, 0.1]]).repeat(2, 1).double()


def bilinear(z: torch.Tensor) -> tuple[float, torch.Tensor]:
    q, k = z[0, :, 0]
    rest = torch.outer(q, k) - TARGET
    gradient = torch.stack((rest @ k, rest.T @ q))
    return 0.5 * float(rest.square().sum()), gradient.view(z.shape)


def bilinear_start(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(BILINEAR.shape, generator=generator, dtype=torch.float64)


def test_it_settles_where_f_is_not_convex(seed) -> None:
    events = list(minimise(bilinear, BILINEAR, 1.0, start(bilinear, bilinear_start(seed)), 1e-9))
    assert isinstance(events[-1], Stopped) and events[-1].reason == "stationary"
    z = events[-1].step.state.z
    assert kkt_residual(bilinear(z)[1], z, BILINEAR, 1.0).value <= 1e-9
    assert 0 < events[-1].step.alive < BILINEAR.count
    values = [event.objective for event in events if isinstance(event, Step)]
    assert all(b <= a * (1 + 1e-9) for a, b in itertools.pairwise(values))
    counts = [event.evaluations for event in events if isinstance(event, Step)]
    assert counts == sorted(counts) and counts[0] == 1


def test_a_dead_group_returns_when_its_slope_asks_for_it(seed) -> None:
    z = bilinear_start(seed)
    z[0, 1, 0, :2] = 0.0
    *_, end = minimise(bilinear, BILINEAR, 1.0, start(bilinear, z), 1e-9)
    assert isinstance(end, Stopped) and BILINEAR.alive(end.step.state.z)[0, 1, 0]


def test_evaluations_are_counted_and_the_budget_holds(rng) -> None:
    case, calls = problem("logistic", rng), []

    def counted(z: torch.Tensor) -> tuple[float, torch.Tensor]:
        calls.append(1)
        return case.loss(z)

    alpha = 0.05 * alpha_max(case.loss(case.zero)[1], case.groups)
    *_, end = minimise(counted, case.groups, alpha, start(counted, case.zero), 1e-12, 7, 1e-15)
    assert isinstance(end, Stopped) and end.reason == "budget"
    assert len(calls) == 8 and end.step.residual.value > 1e-12


def test_two_runs_and_a_resumed_one_agree_bit_for_bit(rng, seed) -> None:
    def run(state: State) -> list[Step]:
        events = minimise(bilinear, BILINEAR, 1.0, state, 1e-9)
        return [event for event in events if isinstance(event, Step)]

    first, second = (run(start(bilinear, bilinear_start(seed))) for _ in range(2))
    resumed = run(first[4].state)
    assert len(first) == len(second) == len(resumed) + 4
    for a, b, c in zip(first[4:], second[4:], resumed, strict=True):
        assert torch.equal(a.state.z, b.state.z) and torch.equal(a.state.z, c.state.z)
        assert a.evaluations == c.evaluations and a.objective == b.objective == c.objective
    assert not torch.equal(run(start(bilinear, bilinear_start(seed + 1)))[-1].state.z, a.state.z)


def test_rounding_in_f_stalls_or_settles_but_never_loops(rng) -> None:
    case = problem("logistic", rng)
    alpha = 0.1 * alpha_max(case.loss(case.zero)[1], case.groups)

    def rounded(z: torch.Tensor) -> tuple[float, torch.Tensor]:
        value, gradient = case.loss(z)
        return float(np.float32(value)), gradient.float().double()

    *_, end = minimise(rounded, case.groups, alpha, start(rounded, case.zero), 1e-5, 300, 1e-7)
    assert isinstance(end, Stopped) and end.reason == "stationary"
    *_, end = minimise(rounded, case.groups, alpha, start(rounded, case.zero), 0.0, 40, 1e-7)
    assert isinstance(end, Stopped) and end.reason in ("stalled", "budget")
    assert end.step.residual.value <= 1e-5


def test_the_compact_matrix_is_bfgs_written_out(seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    A = A @ A.T + torch.eye(6, dtype=torch.float64)
    memory, pairs = Memory.empty(6, 2.0, 3), []
    assert memory.curvature().times(A[0]).equal(2.0 * A[0])
    for _ in range(5):
        s = torch.randn(6, generator=generator, dtype=torch.float64)
        memory = memory.remember(s, A @ s)
        pairs.append((s, A @ s))
    dense = memory.gamma * torch.eye(6, dtype=torch.float64)
    for s, y in pairs[-3:]:
        Bs = dense @ s
        dense = dense - torch.outer(Bs, Bs) / (s @ Bs) + torch.outer(y, y) / (y @ s)
    curvature = memory.curvature()
    found = torch.stack([curvature.times(row) for row in torch.eye(6, dtype=torch.float64)])
    assert torch.allclose(found, dense, atol=1e-10)
    ends = torch.linalg.eigvalsh(dense)
    assert curvature.largest == pytest.approx(float(ends[-1]), rel=1e-10)
    assert curvature.smallest == pytest.approx(float(ends[0]), rel=1e-8)
    assert torch.allclose(curvature.raised(0.5).times(A[0]), dense @ A[0] + 0.5 * A[0], atol=1e-9)
    assert memory.remember(s, -y) is memory  # no curvature that is not positive


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_objective_without_a_value_is_refused(value) -> None:
    with pytest.raises(PenaltyError, match="must be finite"):
        start(lambda z: (value, z), bilinear_start(0))
    with pytest.raises(PenaltyError, match="must be finite"):
        start(lambda z: (1.0, value * z), bilinear_start(0))

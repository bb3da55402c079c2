"""Minimise f + group penalty to a stationary point, with few gradients of f.

A gradient of f costs a pass over the whole objective set; everything else is cheap. So each step
minimises a quadratic model of f plus the *exact* penalty (a preconditioned proximal step):

    x+ = argmin_x  g^T (x - z) + 1/2 (x - z)^T (B + sigma 1) (x - z) + alpha sum_g w_g ||x_g||

with B from the last steps (`Memory`). Groups at zero in its solution (`model_step`) are exact
zeros, and a zero group returns whenever its gradient asks for it, so that no second phase on a
frozen support is needed. sigma rises until the objective falls as the model promised, and falls
again after: at large sigma this is a plain proximal gradient step, so that the objective never
rises (above rounding), convex or not.

Deterministic: two CPU runs with the same threads agree bit for bit, as does one that goes on from a
`State` of another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.errors import PenaltyError
from model.locality.penalties import Groups
from model.locality.stationarity import TOLERANCE, Residual, kkt_residual
from model.training.curvature import Memory
from model.training.subproblem import model_step

# f(z), nats, and its gradient, float64 of z's shape.
Objective = Callable[[Tensor], tuple[float, Tensor]]

_SUFFICIENT = 1e-4  # of the promised fall, what a step must reach
_INNER_FLOOR = 1e-13  # relative residual of an inner problem that rounding allows
_GIVE_UP = 12  # refused steps in a row
_BLURRED = 1000  # roundings: below this, a fall of the objective is read off its slopes


@dataclass(frozen=True)
class State:
    """All that the rest of a run depends on, beside f, groups and alpha; float64, never edited.

    z, value and gradient: the point, f and its gradient there. memory: pairs of f. sigma: what the
    last step added to the model's curvature. iteration: steps taken. evaluations: of f's gradient.
    """

    z: Tensor
    value: float
    gradient: Tensor
    memory: Memory
    sigma: float
    iteration: int
    evaluations: int


@dataclass(frozen=True)
class Step:
    """A point, the first one included. objective: f + penalty, nats. alive: groups not at zero."""

    iteration: int
    evaluations: int
    objective: float
    residual: Residual
    alive: int
    state: State


@dataclass(frozen=True)
class Stopped:
    """The end. reason: "stationary", "budget" (no evaluations left) or "stalled" (rounding rules).

    step: the point of the smallest residual that the run has seen.
    """

    reason: str
    step: Step


Event = Step | Stopped


def start(objective: Objective, z: Tensor, memory: int = 20) -> State:
    """A run's first state; one evaluation. memory: how many pairs are kept."""
    z = z.detach().double()
    value, gradient = objective(z)
    _check_value(value, gradient)
    size, slope = float(z.norm()), float(gradient.norm())
    gamma = slope / (size if size > 0.0 else 1.0)
    gamma = gamma if gamma > 0.0 else 1.0
    return State(z, value, gradient, Memory.empty(z.numel(), gamma, memory), 0.0, 0, 1)


def minimise(
    objective: Objective,
    groups: Groups,
    alpha: float,
    state: State,
    tolerance: float = TOLERANCE,
    evaluations: int = 500,
    noise: float = 1e-10,
) -> Iterator[Event]:
    """From `state` to a relative KKT residual of at most `tolerance`, by events.

    alpha: positive, nats per unit of weight. evaluations: the most that this call may use. noise:
    rounding error of the objective, relative to it; a rise below it is no rise.
    """
    most = state.evaluations + evaluations
    step = best = _step(state, groups, alpha)
    yield step
    refused = 0
    while not step.residual.value <= tolerance:
        if state.evaluations >= most:
            yield Stopped("budget", best)
            return
        if refused >= _GIVE_UP:
            yield Stopped("stalled", best)
            return
        curvature = state.memory.curvature().raised(state.sigma)
        forcing = min(0.3, step.residual.value**0.5) * step.residual.value
        near = max(forcing, 0.1 * tolerance, _INNER_FLOOR)
        z, promised = model_step(state.z, state.gradient, groups, alpha, curvature, near)
        value, gradient = objective(z)
        _check_value(value, gradient)
        memory = state.memory.remember(z - state.z, gradient - state.gradient)
        found = State(
            z, value, gradient, memory, state.sigma, state.iteration + 1, state.evaluations + 1
        )
        trial = _step(found, groups, alpha)
        allowed = noise * abs(step.objective)
        fall = step.objective - trial.objective
        if promised <= _BLURRED * allowed:
            fall = fall_by_slopes(state, found, groups, alpha)
        if promised <= 0.0 and not bool((z != state.z).any()):
            yield Stopped("stalled", best)
            return
        within_noise = abs(fall) <= allowed and trial.residual.value <= step.residual.value
        if fall >= _SUFFICIENT * promised > 0.0 or within_noise:
            good = fall >= 0.75 * promised or within_noise
            if memory is state.memory:  # no pair, and yet no harm: f is flatter than thought
                memory = replace(memory, gamma=memory.gamma / 4)
            sigma = state.sigma / 4 if good else state.sigma
            sigma = sigma if sigma > 1e-4 * memory.gamma else 0.0
            state = replace(found, memory=memory, sigma=sigma)
            step, refused = replace(trial, state=state), 0
            best = step if step.residual.value < best.residual.value else best
            yield step
        else:
            # What the refused point said of the curvature is kept: mostly that suffices.
            told = memory is not state.memory and not refused
            sigma = state.sigma if told else max(4 * state.sigma, 0.1 * memory.gamma)
            state = replace(state, memory=memory, sigma=sigma, evaluations=found.evaluations)
            refused += 1
    yield Stopped("stationary", step)


def fall_by_slopes(old: State, new: State, groups: Groups, alpha: float) -> float:
    """F(old) - F(new), nats, with f's part from the mean slope of both ends.

    Off by the third order of the step, but not by the rounding of two large sums: what is left to
    go by where the fall drowns in the rounding of f.
    """
    smooth = 0.5 * float(((old.gradient + new.gradient) * (old.z - new.z)).sum())
    return smooth + groups.penalty(old.z, alpha) - groups.penalty(new.z, alpha)


def _step(state: State, groups: Groups, alpha: float) -> Step:
    residual = kkt_residual(state.gradient, state.z, groups, alpha)
    objective = state.value + groups.penalty(state.z, alpha)
    alive = int(groups.alive(state.z).sum())
    return Step(state.iteration, state.evaluations, objective, residual, alive, state)


def _check_value(value: float, gradient: Tensor) -> None:
    if not (abs(value) < float("inf") and bool(torch.isfinite(gradient).all())):
        raise PenaltyError(
            "Objective", value, "it and its gradient must be finite", "Start from other weights"
        )

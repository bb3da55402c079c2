"""The locality dial: the only place where lambda becomes numbers.

For one head, with s_ij the raw scores (nats), r_ij in [0, 1] the relevance of key j to query i and
R_i the largest relevance that query i sees, the dial lambda in [0, 1] gives

    s'_ij = s_ij / tau(lambda) - strength(lambda) * (R_i - r_ij)
    strength(lambda) = -gain * log(1 - lambda)                         nats, >= 0
    tau(lambda)      = 1 + (temperature - 1) * lambda                  tau(0) = 1

Our own derivation (README, "What is ours"). At lambda = 0 nothing changes; at lambda = 1 every key
below the row's largest relevance gets a weight of exactly zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from model.errors import DialError

# Stands for infinity: exp(-LARGEST_STRENGTH * gap) is exactly 0 for every gap above 1e-27, and
# 0 * LARGEST_STRENGTH is 0 where 0 * inf would be NaN.
LARGEST_STRENGTH = 1e30
DEFAULT_GAIN = 4.0

ScheduleKind = Literal["uniform", "progressive", "hand"]


def strength(lmbda: Tensor, gain: float) -> Tensor:
    """Dial values in [0, 1], any shape -> log-odds taken from a key of no relevance, nats."""
    return (-gain * torch.log1p(-lmbda)).clamp(max=LARGEST_STRENGTH)


def temperature_at(lmbda: Tensor, temperature: float) -> Tensor:
    """Dial values in [0, 1], any shape -> divisor tau of the raw scores, no unit."""
    return 1.0 + (temperature - 1.0) * lmbda


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class Schedule:
    """How much of the dial each layer and head takes: a weight in [0, 1] that multiplies it.

    uniform: 1 everywhere. progressive: (l / (L - 1)) ** beta in layer l of L (1 where L = 1).
    hand: `weights`, one row a layer, one number a head.
    """

    kind: ScheduleKind = "uniform"
    beta: float = 1.0
    weights: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("uniform", "progressive", "hand"):
            raise DialError(
                "Schedule", self.kind, "no such kind", "Choose uniform, progressive or hand"
            )
        if not (_is_number(self.beta) and 0.0 <= self.beta <= 100.0):
            raise DialError("Schedule beta", self.beta, "must lie in [0, 100]", "Use 1, 3 or 5")
        if (self.kind == "hand") != (self.weights is not None):
            raise DialError(
                "Schedule weights",
                self.weights,
                "belong to a hand-set schedule, and only there",
                "Give one row of weights a layer with kind 'hand', else none",
            )
        for row in self.weights or ():
            for weight in row:
                if not (_is_number(weight) and 0.0 <= weight <= 1.0):
                    raise DialError(
                        "Schedule weight", weight, "must lie in [0, 1]", "Correct that number"
                    )

    def weights_for(self, n_layers: int, n_heads: int) -> Tensor:
        """Weights [layer, head] in [0, 1], float64; DialError when hand-set ones do not fit."""
        if self.kind == "uniform":
            return torch.ones(n_layers, n_heads, dtype=torch.float64)
        if self.kind == "progressive":
            depth = torch.linspace(0, 1, n_layers, dtype=torch.float64)
            depth = torch.ones(1, dtype=torch.float64) if n_layers == 1 else depth
            return (depth**self.beta)[:, None].expand(n_layers, n_heads).clone()
        rows = self.weights or ()
        if len(rows) != n_layers or any(len(row) != n_heads for row in rows):
            raise DialError(
                "Schedule weights",
                f"{len(rows)} rows of {[len(row) for row in rows]}",
                f"this model has {n_layers} layers of {n_heads} heads",
                "Give one row a layer and one number a head",
            )
        return torch.tensor(rows, dtype=torch.float64)


UNIFORM = Schedule()


@dataclass(frozen=True)
class Dial:
    """One setting of the dial: an argument of the forward pass, never a state of the model.

    value: lambda in [0, 1]; a number, or one number a sequence of the batch.
    gain: positive; multiplies the log-odds. temperature: positive; tau at lambda = 1.
    """

    value: float | tuple[float, ...] = 0.0
    gain: float = DEFAULT_GAIN
    temperature: float = 1.0
    schedule: Schedule = field(default=UNIFORM)

    def __post_init__(self) -> None:
        if isinstance(self.value, Sequence) and not isinstance(self.value, str):
            object.__setattr__(self, "value", tuple(float(check_dial(v)) for v in self.value))
        else:
            object.__setattr__(self, "value", check_dial(self.value))
        for name, number in (("Gain", self.gain), ("Temperature", self.temperature)):
            if not (_is_number(number) and 0.0 < number <= 1000.0):
                raise DialError(name, number, "must lie in (0, 1000]", f"Set a positive {name}")

    @property
    def is_zero(self) -> bool:
        """Whether every sequence runs the plain model."""
        return not any(self.value) if isinstance(self.value, tuple) else self.value == 0.0

    def lambdas(self, n_layers: int, n_heads: int) -> Tensor:
        """The dial as each head takes it: [layer, batch or 1, head], in [0, 1], float64, CPU."""
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        weights = self.schedule.weights_for(n_layers, n_heads)
        return torch.tensor(values, dtype=torch.float64)[None, :, None] * weights[:, None, :]


def check_dial(value: Any) -> float:
    """The number itself if it is a dial value, else DialError."""
    if not _is_number(value):
        raise DialError("Dial", value, "must be a number", "Choose a value in [0, 1]")
    if not 0.0 <= value <= 1.0:
        raise DialError("Dial", value, "must lie in [0, 1]", "Choose a value in [0, 1]")
    return float(value)

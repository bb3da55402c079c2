"""Bounds and measurements of one layer joined, row by row: the only place where the two meet.

What is measured is the pattern in float64: the scores that the model itself made, hooked before the
dial, through the model's own bias, temperature and softmax at full precision. So the tolerance of a
bound is some 1e-12, and a violation cannot hide behind float32. That the float32 pattern which the
model went on with is the same one, up to rounding, is a check of its own ("rounding").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from model.locality import bounds, margins
from model.locality.bias import DialBias
from model.locality.measures import Masks
from model.locality.relevance import Relevance
from model.transformer.layers import edited

ASSUMPTIONS = {
    "fidelity": "The row sees a relevant key (m > 0). Lower bound on the mass on its relevant "
    "keys, from n, m, the raw margins of that row and the dial's strength and temperature.",
    "entropy": "The row sees a relevant key, and its margin after the dial is at least 0, or all "
    "keys are relevant. Upper bound from the same numbers.",
    "score range": "Scores come from RMSNorm, linear queries and keys, and RoPE. Upper bound on "
    "the row's largest |score| before the dial, from the weights alone.",
    "rounding": "Upper bound on how far the pattern that the model used lies from the one that is "
    "measured, by the rounding of its number format.",
}
UNITS = {"fidelity": "fraction", "entropy": "bits", "score range": "nats", "rounding": "fraction"}
_UNIT_ROUNDOFF = 2.0**-53


@dataclass(frozen=True)
class Attention:
    """One layer of one batch at one dial.

    scores: as hooked, before the dial. pattern: as hooked. Both [batch, head, query, key].
    relevance and bias: in float64; bias None for the plain model. strength, tau: [1, head],
    float64. limit, slop: [head], the provable score range and how far rounding may pass it, nats.
    """

    layer: int
    scores: Tensor
    pattern: Tensor
    relevance: Relevance
    bias: DialBias | None
    strength: Tensor
    tau: Tensor
    limit: Tensor
    slop: Tensor


@dataclass(frozen=True)
class RowCheck:
    """One bound beside its measurement, every field [batch, head, query].

    slack: what is left, below 0 where the bound is passed; in the unit of the bound. tolerance: how
    far below 0 rounding alone can put it. trivial: rows where the bound holds by definition.
    """

    name: str
    bound: Tensor
    measured: Tensor
    slack: Tensor
    tolerance: Tensor
    applies: Tensor
    trivial: Tensor


def row_checks(found: Attention) -> Iterator[RowCheck]:
    """Each of `UNITS` for the rows of one layer."""
    rows = margins.row_margins(found.scores, found.relevance.raw(found.layer))
    pattern = exact_pattern(found)
    relevant = Masks.of(found.relevance, found.layer).relevant
    strength, tau = found.strength[..., None], found.tau[..., None]  # [1, head, 1]
    after = bounds.margin_after(rows.margins, strength[..., None], tau[..., None], rows.gaps)
    margin = bounds.joint_margin(after, rows.counts)
    # Of the logits and of sums of n numbers; keys that lie 745 nats below weigh nothing.
    error = _UNIT_ROUNDOFF * (2**14 + rows.n + 64 * rows.largest / tau)
    trivial, no = rows.n == rows.m, torch.zeros_like(rows.n, dtype=torch.bool)

    least, mass = bounds.in_mass(rows.n, rows.m, margin), margins.row_mass(pattern, relevant)
    yield RowCheck("fidelity", least.value, mass, mass - least.value, error, least.applies, trivial)

    most, bits = bounds.entropy_bits(rows.n, rows.m, margin), margins.row_bits(pattern)
    error_bits = error * (2 + rows.n.double().log2())
    yield RowCheck("entropy", most.value, bits, most.value - bits, error_bits, most.applies, no)

    limit = found.limit[:, None].expand(rows.largest.shape)
    slop = found.slop[:, None].expand(rows.largest.shape)
    yield RowCheck("score range", limit, rows.largest, limit - rows.largest, slop, ~no, no)

    furthest = (pattern - found.pattern.double()).abs().amax(dim=-1)
    allowed = rounding(rows.n, rows.largest / tau, found.pattern.dtype)
    none = torch.zeros_like(allowed)
    yield RowCheck("rounding", allowed, furthest, allowed - furthest, none, ~no, no)


def exact_pattern(found: Attention) -> Tensor:
    """The pattern of the hooked scores in float64, [batch, head, query, key]."""
    length = found.scores.shape[-1]
    later = torch.ones(length, length, dtype=torch.bool, device=found.scores.device).triu(1)
    scores = found.scores.double().masked_fill(later, float("-inf"))
    bias = None if found.bias is None else found.bias.rows()
    return edited(scores, bias, found.tau).softmax(dim=-1)


def rounding(n: Tensor, largest: Tensor, dtype: torch.dtype) -> Tensor:
    """How far a weight computed in `dtype` can lie from the true one, a fraction, to first order.

    n: visible keys. largest: |s| / tau at most, A. The row's best key has a score after the dial
    of at least -A, and a key 104 nats below it weighs nothing in float32; so the biases that count
    are at most 2 A + 104. Strength, product, sum and division round by u each: logits are off by at
    most u (11 A + 520), weights by twice that and by the n + 60 roundings of the softmax.
    """
    return torch.finfo(dtype).eps / 2 * (22 * largest + 1100 + n)

"""The dial: hand values, limits, invariances, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.errors import DialError
from model.locality.bias import dial_bias
from model.locality.dial import LARGEST_STRENGTH, Dial, Schedule, strength, temperature_at
from model.locality.relevance import Relevance
from model.transformer.layers import edited
from tests.factories import N_CLASSES, random_reads

DIALS = st.floats(0.0, 1.0)
GAINS = st.sampled_from([0.5, 1.0, 4.0, 7.5])


def f64(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


def test_strength_by_hand() -> None:
    assert strength(f64(0.0), 4.0).item() == 0.0
    assert strength(f64(0.5), 4.0).item() == pytest.approx(4 * math.log(2), rel=1e-15)
    assert strength(f64(1e-12), 1.0).item() == pytest.approx(1e-12, rel=1e-9)
    assert strength(f64(1.0), 0.5).item() == LARGEST_STRENGTH


def test_temperature_is_one_at_dial_zero() -> None:
    assert temperature_at(f64(0.0), 0.2).item() == 1.0
    assert temperature_at(f64(1.0), 0.2).item() == pytest.approx(0.2)
    assert temperature_at(f64(0.5), 3.0).item() == 2.0


def one_row(
    scores: torch.Tensor, r: torch.Tensor, value: float, gain: float, temperature: float = 1.0
) -> torch.Tensor:
    """The pattern of the last row, by the functions that the decoder uses."""
    gap = (r.max() - r)[None, None, None]
    causal = torch.zeros(1, len(r), dtype=scores.dtype)
    lmbda = torch.full((1, 1), value, dtype=torch.float64)
    bias = dial_bias(gap, strength(lmbda, gain), causal) if value else None
    tau = temperature_at(lmbda, temperature) if value else None
    return edited(scores[None, None, None], bias, tau).softmax(-1)[0, 0, 0]


@given(DIALS, GAINS, st.integers(2, 40), st.integers(0, 10**6))
def test_odds_of_off_block_mass_fall_by_the_stated_factor(
    value: float, gain: float, n: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = 4 * torch.randn(n, generator=generator, dtype=torch.float64)
    relevant = torch.zeros(n, dtype=torch.float64)
    relevant[: int(torch.randint(1, n, (1,), generator=generator))] = 1.0
    before = float((one_row(scores, relevant, 0.0, gain) * relevant).sum())
    after = float((one_row(scores, relevant, value, gain) * relevant).sum())
    expected = before / (before + (1 - value) ** gain * (1 - before))
    assert after == pytest.approx(expected, rel=1e-9)


@given(DIALS, GAINS, st.integers(0, 10**6), st.floats(-50, 50))
def test_a_constant_added_to_scores_or_relevance_changes_nothing(
    value: float, gain: float, seed: int, shift: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(9, generator=generator, dtype=torch.float64)
    r = torch.rand(9, generator=generator, dtype=torch.float64) * 0.5
    plain = one_row(scores, r, value, gain)
    assert torch.allclose(plain, one_row(scores + shift, r, value, gain), atol=1e-12)
    assert torch.allclose(plain, one_row(scores, r + 0.25, value, gain), atol=1e-9)
    order = torch.randperm(9, generator=generator)
    assert torch.allclose(plain[order], one_row(scores[order], r[order], value, gain), atol=1e-14)


@given(st.integers(0, 10**6), GAINS, st.sampled_from([0.2, 1.0, 5.0]))
def test_equal_relevance_everywhere_leaves_only_the_temperature(
    seed: int, gain: float, temperature: float
) -> None:
    scores = torch.randn(7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    flat = torch.full((7,), 0.3, dtype=torch.float64)
    found = one_row(scores, flat, 1.0, gain, temperature)
    assert torch.allclose(found, (scores / temperature).softmax(-1), atol=1e-14)


@given(st.integers(0, 10**6), DIALS, GAINS, st.integers(1, 30), st.booleans(), st.booleans())
def test_rows_stay_distributions_and_dial_one_is_exactly_local(
    seed: int, value: float, gain: float, length: int, sink: bool, single: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(0, N_CLASSES, (2, length), generator=generator)
    reads = random_reads(2, 3, seed, share=0.15, sink=sink)
    relevance = Relevance.compile(classes, reads)
    scores = 30 * torch.randn(2, 3, length, length, generator=generator)
    causal = torch.full((length, length), float("-inf")).triu(1)
    for lmbda in (value, 1.0):
        force = strength(torch.full((1, 3), lmbda, dtype=torch.float64), gain)
        bias = dial_bias(relevance.gap(1), force, causal)
        pattern = edited(scores + causal, bias, None).softmax(-1)
        assert torch.isfinite(pattern).all()
        assert torch.allclose(pattern.sum(-1), torch.ones(()), atol=1e-5)
        assert (pattern.triu(1) == 0).all()
    r = relevance.dense(1).tril()
    assert (pattern[r < r.amax(-1, keepdim=True)] == 0).all()


def test_fallback_rows_read_themselves_and_are_flagged() -> None:
    reads = random_reads(1, 1, share=0.0)
    classes = torch.tensor([[0, 1, 2]])
    relevance = Relevance.compile(classes, reads)
    assert relevance.fallback(0).all()
    assert torch.equal(relevance.dense(0)[0, 0], torch.eye(3))
    assert torch.equal(relevance.raw(0), torch.zeros(1, 1, 3, 3))


@pytest.mark.parametrize(
    "value", [float("nan"), -0.1, 1.0000001, "0.5", None, True, float("inf"), (0.1, 2.0), ("a",)]
)
def test_a_dial_outside_its_range_is_refused(value: object) -> None:
    with pytest.raises(DialError, match=r"\[0, 1\]"):
        Dial(value)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("field", ["gain", "temperature"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), "4"])
def test_gain_and_temperature_must_be_positive(field: str, value: object) -> None:
    with pytest.raises(DialError, match=field.capitalize()):
        Dial(0.5, **{field: value})  # pyright: ignore[reportArgumentType]


def test_schedules() -> None:
    assert torch.equal(Schedule().weights_for(2, 3), torch.ones(2, 3, dtype=torch.float64))
    progressive = Schedule("progressive", beta=2.0).weights_for(3, 1)[:, 0]
    assert progressive.tolist() == [0.0, 0.25, 1.0]
    assert Schedule("progressive", beta=2.0).weights_for(1, 2).tolist() == [[1.0, 1.0]]
    hand = Schedule("hand", weights=((0.0, 1.0), (0.5, 0.25)))
    lambdas = Dial((0.0, 0.8), schedule=hand).lambdas(2, 2)
    assert lambdas.shape == (2, 2, 2)
    assert lambdas[1, 1].tolist() == [0.4, 0.2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "sudden"}, "no such kind"),
        ({"kind": "progressive", "beta": -1.0}, "beta"),
        ({"kind": "hand"}, "one row of weights"),
        ({"weights": ((1.0,),)}, "hand-set"),
        ({"kind": "hand", "weights": ((1.5,),)}, r"\[0, 1\]"),
        ({"kind": "hand", "weights": ((float("nan"),),)}, r"\[0, 1\]"),
    ],
)
def test_schedules_refuse(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(DialError, match=message):
        Schedule(**arguments)  # pyright: ignore[reportArgumentType]


def test_hand_weights_of_another_model_are_refused() -> None:
    with pytest.raises(DialError, match="2 layers of 2 heads"):
        Schedule("hand", weights=((1.0,),)).weights_for(2, 2)

"""Bounds of one row: hand values, limits, a second route in decimals, inverses, bad input."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from model.errors import BoundError
from model.locality import bounds
from model.locality.dial import strength
from tests import naive_bounds

INF = math.inf
CASES = [
    (n, m, margin)
    for n, m in [(1, 1), (2, 1), (7, 3), (7, 7), (64, 1), (512, 511), (10**6, 2), (3, 0)]
    for margin in [-700.0, -40.0, -1.0, -1e-9, 0.0, 1e-12, 0.3, 5.0, 37.0, 80.0, 700.0, 1e5, 1e30]
]


def f64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def assert_equals_reference(
    formula: Callable[..., bounds.Bound], reference: Callable[..., float | None]
) -> None:
    """Every case at once against one case at a time, to 1e-12 of its value."""
    found = formula(*(f64(*column) for column in zip(*CASES, strict=True)))
    for case, value, applies in zip(CASES, found.value.tolist(), found.applies, strict=True):
        expected = reference(*case)
        assert bool(applies) == (expected is not None), case
        if expected is not None:
            assert value == pytest.approx(expected, rel=1e-12, abs=1e-300), case


def test_hand_values() -> None:
    # One of four is relevant, the others weigh a third each: half of the mass is outside.
    assert bounds.off_mass(4, 1, math.log(3)).value.item() == pytest.approx(0.5, abs=1e-15)
    found = bounds.entropy_bits(4, 1, math.log(3)).value.item()
    assert found == pytest.approx(1 + 0.5 * math.log2(3), abs=1e-14)
    assert bounds.needed_margin(4, 1, 0.5).value.item() == pytest.approx(math.log(3), abs=1e-15)
    # Margin -1 at temperature 2, and a dial of 0.75 at gain 4: -0.5 + 4 ln 4.
    force = strength(f64(0.75), 4.0)
    assert bounds.margin_after(-1.0, force, 2.0).item() == pytest.approx(-0.5 + 4 * math.log(4))
    # A sink with relevance 1/2 loses half of it.
    assert bounds.margin_after(-1.0, force, 2.0, 0.5).item() == pytest.approx(
        -0.5 + 2 * math.log(4)
    )
    # One key at margin ln 2 and one at ln 4 weigh 3/4 of a relevant key together.
    joint = bounds.joint_margin(f64(math.log(2), math.log(4)), f64(1, 1))
    assert bounds.off_mass(3, 1, joint).value.item() == pytest.approx(3 / 7, abs=1e-15)


def test_masses_agree_with_decimal_arithmetic() -> None:
    assert_equals_reference(bounds.off_mass, naive_bounds.off_mass)


def test_entropies_agree_with_decimal_arithmetic() -> None:
    assert_equals_reference(bounds.entropy_bits, naive_bounds.entropy_bits)


def test_the_comparison_sees_a_wrong_formula() -> None:
    def wrong(n: Tensor, m: Tensor, margin: Tensor) -> bounds.Bound:
        found = bounds.off_mass(n, m, margin)
        return bounds.Bound(found.value * (1 + 1e-11), found.applies)

    with pytest.raises(AssertionError):
        assert_equals_reference(wrong, naive_bounds.off_mass)


def test_needs_agree_with_decimal_arithmetic(rng: np.random.Generator) -> None:
    for _ in range(200):
        n = int(rng.integers(2, 600))
        m, off = int(rng.integers(1, n)), float(10 ** rng.uniform(-12, -0.01))
        margin, gain = float(rng.normal(0, 5)), float(rng.uniform(0.2, 9))
        tau = float(rng.uniform(0.3, 4))
        needed = bounds.needed_margin(n, m, off).value
        assert needed.item() == pytest.approx(naive_bounds.needed_margin(n, m, off), abs=1e-12)
        turn = bounds.needed_turn(bounds.needed_strength(needed, margin, tau), gain)
        expected = naive_bounds.needed_dial(needed.item(), margin, gain, tau)
        assert bounds.dial_of(turn).item() == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_mass_inside_keeps_the_digits_that_one_minus_outside_loses() -> None:
    assert bounds.in_mass(3, 1, -100.0).value.item() == pytest.approx(math.exp(-100) / 2, rel=1e-12)
    both = bounds.in_mass(9, 4, f64(-3, 0, 8)).value + bounds.off_mass(9, 4, f64(-3, 0, 8)).value
    assert torch.allclose(both, torch.ones_like(both), atol=1e-15)


def test_limits_and_conventions() -> None:
    assert bounds.off_mass(5, 5, f64(-9, 0, INF, -INF)).value.tolist() == [0.0] * 4
    assert bounds.entropy_bits(8, 8, f64(-9, INF)).value.tolist() == pytest.approx([3.0, 3.0])
    assert bounds.entropy_bits(8, 8, f64(-9, INF)).applies.all()
    assert bounds.entropy_bits(8, 3, 0.0).value.item() == pytest.approx(3.0, abs=1e-14)
    assert bounds.entropy_bits(8, 4, 1e30).value.item() == 2.0  # 0 log 0 = 0
    local = bounds.off_mass(512, 1, bounds.margin_after(-1e3, strength(f64(1.0), 4.0)))
    assert local.value.item() == 0.0
    tiny = bounds.off_mass(2, 1, 700.0).value.item()
    assert tiny == pytest.approx(math.exp(-700), rel=1e-12)


def test_where_nothing_is_guaranteed_the_value_is_still_true() -> None:
    for found, vacuous in (
        (bounds.off_mass(4, 0, 9.0), 1.0),
        (bounds.in_mass(4, 0, 9.0), 0.0),
        (bounds.entropy_bits(4, 0, 9.0), 2.0),
        (bounds.entropy_bits(4, 1, -0.001), 2.0),
        (bounds.needed_margin(4, 0, 0.1), INF),
    ):
        assert not found.applies.any()
        assert found.value.item() == vacuous


def test_no_extreme_makes_a_nan() -> None:
    edge = [-INF, -1e308, -1e30, -1.0, -1e-320, 0.0, 1e-320, 1.0, 1e30, 1e308, INF]
    counts = [(n, m) for n in (1, 2, 10**15) for m in (0, 1, n - 1, n) if m <= n]
    cases = [(n, m, margin) for (n, m), margin in itertools.product(counts, edge)]
    n, m, margin = (f64(*column) for column in zip(*cases, strict=True))
    for formula in (bounds.off_mass, bounds.in_mass, bounds.entropy_bits):
        value = formula(n, m, margin).value
        assert value.isfinite().all() and (value >= 0).all()
    off = f64(0.0, 1e-320, 1e-30, 0.5, 1 - 1e-16, 1.0)
    for needed in (bounds.needed_margin(n[:, None], m[:, None], off).value, margin):
        assert not needed.isnan().any()
        force = bounds.needed_strength(needed, f64(*edge).view(-1, *[1] * needed.ndim))
        assert not force.isnan().any() and (force >= 0).all()
        classes = torch.stack((margin, margin.flip(0)), dim=-1)
        joint = bounds.joint_margin(classes, f64(3, 0))
        assert not joint.isnan().any()
        assert not bounds.joint_margin(classes, f64(1, 8)).isnan().any()


def test_masses_fall_and_grow_as_they_should() -> None:
    margin = torch.linspace(-20, 20, 201, dtype=torch.float64)
    assert (bounds.off_mass(30, 4, margin).value.diff() < 0).all()
    assert (bounds.in_mass(30, 4, margin).value.diff() > 0).all()
    bits = bounds.entropy_bits(30, 4, margin[margin >= 0]).value
    assert (bits.diff() < 0).all() and bits[0] <= math.log2(30) + 1e-12 and bits[-1] >= 2
    m = torch.arange(1, 30, dtype=torch.float64)
    assert (bounds.off_mass(30, m, 2.0).value.diff() < 0).all()
    assert (bounds.off_mass(30 + m, 4, 2.0).value.diff() > 0).all()
    off = torch.linspace(0.001, 0.999, 99, dtype=torch.float64)
    assert (bounds.needed_margin(30, 4, off).value.diff() < 0).all()


def test_needs_are_the_inverse_of_the_bound(rng: np.random.Generator) -> None:
    n = torch.tensor(rng.integers(2, 999, 2000)).double()
    m = (torch.tensor(rng.uniform(0, 1, 2000)) * (n - 1)).floor() + 1
    m = m.minimum(n - 1)
    off = 10 ** torch.tensor(rng.uniform(-14, -0.001, 2000))
    needed = bounds.needed_margin(n, m, off).value
    assert torch.allclose(bounds.off_mass(n, m, needed).value, off, rtol=1e-9, atol=0)
    again = bounds.needed_margin(n, m, bounds.off_mass(n, m, needed).value).value
    assert torch.allclose(again, needed, rtol=1e-9, atol=1e-9)

    margin, gap = torch.tensor(rng.normal(0, 6, 2000)), torch.tensor(rng.uniform(0.1, 1, 2000))
    tau = torch.tensor(rng.uniform(0.3, 3, 2000))
    force = bounds.needed_strength(needed, margin, tau, gap)
    reached = bounds.off_mass(n, m, bounds.margin_after(margin, force, tau, gap)).value
    turned = force > 0
    assert 500 < turned.sum() < 2000
    assert torch.allclose(reached[turned], off[turned], rtol=1e-9, atol=0)
    assert (reached[~turned] <= off[~turned] * (1 + 1e-9)).all()  # without a dial, already
    turn = bounds.needed_turn(force, 4.0)
    low = turn < 10  # above, lambda itself has lost the digits
    assert torch.allclose(strength(bounds.dial_of(turn), 4.0)[low], force[low], rtol=1e-9)
    assert bounds.dial_of(bounds.needed_turn(INF, 4.0)).item() == 1.0


def test_needed_strength_of_graded_relevance_is_the_inverse_too(rng: np.random.Generator) -> None:
    size = 2000
    counts = torch.tensor(rng.integers(0, 9, (size, 2))).double()
    counts[:, 1] += 1
    m = torch.tensor(rng.integers(1, 9, size)).double()
    n = m + counts.sum(dim=-1)
    margins = torch.tensor(rng.normal(0, 12, (size, 2)))
    margins[counts == 0] = INF
    gaps = torch.tensor(rng.uniform(0.05, 1, (size, 2)))
    off = 10 ** torch.tensor(rng.uniform(-12, -0.1, size))
    needed = bounds.needed_margin(n, m, off).value
    force = bounds.needed_strength_jointly(needed, margins, counts, 1.5, gaps)
    joint = bounds.joint_margin(bounds.margin_after(margins, force[:, None], 1.5, gaps), counts)
    reached, turned = bounds.off_mass(n, m, joint).value, force > 0
    assert turned.sum() > 1000
    assert torch.allclose(reached[turned], off[turned], rtol=1e-9, atol=0)
    assert (reached[~turned] <= off[~turned] * (1 + 1e-9)).all()
    one = bounds.needed_strength(needed, margins[:, 1], 1.5, gaps[:, 1])
    alone = torch.stack((torch.zeros(size), counts[:, 1]), dim=-1)
    again = bounds.needed_strength_jointly(needed, margins, alone, 1.5, gaps)
    assert torch.allclose(one, again, rtol=1e-12, atol=1e-12)


def test_joint_margins_lie_between_the_smallest_and_the_largest(rng: np.random.Generator) -> None:
    margins, counts = torch.tensor(rng.normal(0, 9, (999, 3))), f64(1, 5, 2)
    joint = bounds.joint_margin(margins, counts)
    assert (joint >= margins.amin(-1) - 1e-12).all() and (joint <= margins.amax(-1) + 1e-12).all()
    same = bounds.joint_margin(margins[:, :1].expand(-1, 3), counts)
    assert torch.allclose(same, margins[:, 0], atol=1e-12)
    assert bounds.joint_margin(f64(3.0, -INF), f64(4, 0)).item() == pytest.approx(3.0, abs=1e-15)
    assert bounds.joint_margin(f64(INF, INF), f64(0, 0)).item() == INF


def test_gradients() -> None:
    margin = f64(0.1, 2.0, 7.0).requires_grad_()
    for formula in (bounds.off_mass, bounds.in_mass, bounds.entropy_bits):
        assert torch.autograd.gradcheck(lambda x, f=formula: f(9, 4, x).value, margin)
    assert torch.autograd.gradcheck(
        lambda x: bounds.joint_margin(x, f64(1, 2, 0)), margin[None].detach().requires_grad_()
    )
    off = f64(0.01, 0.4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: bounds.needed_margin(9, 4, x).value, off)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounds.off_mass(3, 4, 0.0), "cannot exceed"),
        (lambda: bounds.off_mass(0, 0, 0.0), "at least 1"),
        (lambda: bounds.off_mass(3, -1, 0.0), "at least 0"),
        (lambda: bounds.in_mass(3.5, 1, 0.0), "whole number"),
        (lambda: bounds.in_mass(math.nan, 1, 0.0), "whole number"),
        (lambda: bounds.entropy_bits(3, 1, math.nan), "Margin is nan"),
        (lambda: bounds.needed_margin(3, 1, 1.5), r"\[0, 1\]"),
        (lambda: bounds.needed_margin(3, 1, math.nan), r"\[0, 1\]"),
        (lambda: bounds.margin_after(0.0, -1.0), "Strength is -1.0"),
        (lambda: bounds.margin_after(0.0, math.nan), "Strength"),
        (lambda: bounds.margin_after(0.0, 1.0, 0.0), "Temperature"),
        (lambda: bounds.margin_after(0.0, 1.0, 1.0, 0.0), "Gap"),
        (lambda: bounds.margin_after(math.nan, 1.0), "Margin"),
        (lambda: bounds.joint_margin(f64(1.0), f64(-1)), "Count"),
        (lambda: bounds.needed_strength(1.0, math.nan), "Margin"),
        (lambda: bounds.needed_turn(1.0, 0.0), "Gain"),
        (lambda: bounds.off_mass(f64(4, 3), f64(1, 5), 0.0), "is 5.0"),
    ],
)
def test_numbers_without_a_meaning_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(BoundError, match=message):
        call()

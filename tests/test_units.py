"""Measures of single units: by hand, in the limits, against pairs counted one by one."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.errors import UnitError
from model.locality.units import auc, ccmas, d_prime, measure_units, orientation
from tests import naive_units

MEASURES = (
    "threshold", "hit_rate", "false_alarm_rate", "d_prime", "auc", "ccmas", "precision",
)  # fmt: skip


def differences(
    activations: np.ndarray, classes: np.ndarray, n: int, strongest: int, found
) -> dict[str, float]:
    """Largest difference of each measure from the slow one; infinite where only one is NaN."""
    worst = dict.fromkeys(MEASURES, 0.0)
    for unit, category in np.ndindex(activations.shape[1], n):
        a, member = activations[:, unit], classes == category
        on, off = a[member].tolist(), a[~member].tolist()
        slow = dict(
            zip(
                MEASURES,
                (
                    *naive_units.rates(on, off),
                    naive_units.auc(on, off),
                    naive_units.ccmas(a, classes, category, n),
                    naive_units.precision(a, member, strongest),
                ),
                strict=True,
            )
        )
        for name in MEASURES:
            fast = float(getattr(found, name)[unit, category])
            if math.isnan(fast) != math.isnan(slow[name]):
                worst[name] = math.inf
            elif not math.isnan(fast):
                worst[name] = max(worst[name], abs(fast - slow[name]))
    return worst


def measured(activations: np.ndarray, classes: np.ndarray, n: int, strongest: int = 4):
    return measure_units(torch.tensor(activations), torch.tensor(classes), n, strongest)


def test_a_unit_by_hand():
    # On: 3, 1. Off: 1, 0. Of four pairs three are won and one is even; the threshold is 1.25.
    found = measured(np.array([[3.0], [1.0], [1.0], [0.0]]), np.array([0, 0, 1, 1]), 2, 1)
    assert found.auc[0].tolist() == [0.875, 0.125]
    assert found.threshold[0].tolist() == [1.25, 1.25]
    assert found.hit_rate[0].tolist() == [0.5, 0.0]
    assert found.false_alarm_rate[0].tolist() == [0.0, 0.5]
    z = NormalDist().inv_cdf
    assert float(found.d_prime[0, 0]) == pytest.approx(z(3 / 6) - z(1 / 6), abs=1e-12)
    assert found.ccmas[0].tolist() == [(2 - 0.5) / 2.5, (0.5 - 2) / 2.5]
    assert found.precision[0].tolist() == [1.0, 0.0]
    assert found.best.tolist() == [0]
    assert (found.sizes.tolist(), found.tokens) == ([2, 2], 4)


def test_the_limits(rng):
    classes = np.repeat([0, 1, 2], 40)
    perfect = (classes == 1).astype(float)
    flat, noise = np.full(120, 0.75), rng.normal(size=120)
    found = measured(np.stack([perfect, flat, noise], axis=1), classes, 3, 20)
    assert found.auc[0].tolist() == [0.25, 1.0, 0.25]
    assert found.auc[1].tolist() == [0.5, 0.5, 0.5]
    assert found.hit_rate[0, 1] == 1.0
    assert found.false_alarm_rate[0, 1] == 0.0
    assert math.isfinite(float(found.d_prime[0, 1]))
    assert found.d_prime[1].tolist() == [0.0, 0.0, 0.0]
    assert found.precision[1].tolist() == pytest.approx([1 / 3] * 3)
    assert (found.auc[2] - 0.5).abs().max() < 0.25


def test_what_misleads_can_be_perfect_where_the_unit_is_blind():
    # One strong token of category 0 in two hundred: the rest of the category is like all others.
    activations = np.zeros((400, 1))
    activations[0] = 100.0
    found = measured(activations, np.repeat([0, 1], 200), 2, 1)
    assert found.precision[0, 0] == found.ccmas[0, 0] == 1.0
    assert found.auc[0, 0] == pytest.approx(0.5025)
    assert found.hit_rate[0, 0] == pytest.approx(0.005)


def test_an_absent_category_is_not_applicable():
    found = measured(np.arange(6.0)[:, None], np.array([0, 0, 0, 2, 2, 2]), 4)
    for name in MEASURES:
        value = getattr(found, name)[0]
        assert value[[1, 3]].isnan().all()
        assert not value[[0, 2]].isnan().any()
    alone = measured(np.arange(3.0)[:, None], np.zeros(3, dtype=int), 1)
    assert alone.auc.isnan().all()
    assert alone.best.tolist() == [0]


def test_the_slow_way_agrees_and_its_comparison_can_fail(rng):
    classes = rng.integers(0, 6, 90)  # class 5 belongs to no category
    activations = np.round(rng.normal(size=(90, 7)), 1)  # with ties
    activations[:, 6] = np.where(activations[:, 6] > 1, activations[:, 6], 0.0)
    found = measured(activations, classes, 5)
    assert max(differences(activations, classes, 5, 4, found).values()) < 1e-12
    other = differences(activations[::-1], classes, 5, 4, found)
    assert min(other.values()) > 0.01


values = st.lists(
    st.tuples(st.integers(-3, 3), st.integers(0, 3)), min_size=2, max_size=25
)  # small integers: ties are the rule


@given(values)
def test_ties_of_every_kind_agree_with_pairs_counted_one_by_one(pairs):
    activations = np.array([[a] for a, _ in pairs], dtype=float)
    classes = np.array([c for _, c in pairs])
    found = measured(activations, classes, 3)
    assert max(differences(activations, classes, 3, 4, found).values()) < 1e-12


@given(values)
def test_properties(pairs):
    activations = torch.tensor([[float(a)] for a, _ in pairs])
    classes = torch.tensor([c for _, c in pairs])
    found = measure_units(activations, classes, 3)
    turned = measure_units(-activations, classes, 3)
    stretched = measure_units(activations.exp(), classes, 3)
    torch.testing.assert_close(found.auc, 1 - turned.auc, equal_nan=True)
    torch.testing.assert_close(found.auc, stretched.auc, equal_nan=True, rtol=0, atol=0)
    torch.testing.assert_close(found.auc, auc(activations, classes, 3), equal_nan=True)
    known = ~found.precision.isnan()
    assert found.precision[known].ge(0).all()
    assert found.precision[known].sum() <= 1 + 1e-12
    assert found.ccmas.nan_to_num().abs().max() <= 1


def test_the_sign_of_a_gated_unit_makes_no_difference(rng):
    activations = torch.tensor(rng.exponential(size=(300, 4)) * np.array([1, -1, 2, -0.5]))
    signs = orientation(activations)
    assert signs.tolist() == [1, -1, 1, -1]
    assert (orientation(activations * signs) == 1).all()
    assert orientation(torch.zeros(3, 2)).tolist() == [1, 1]


def test_units_one_by_one_are_units_together_in_float32(rng):
    activations = torch.tensor(rng.normal(size=(200, 5)), dtype=torch.float32)
    classes = torch.tensor(rng.integers(0, 4, 200))
    together = measure_units(activations, classes, 4)
    for unit in range(5):
        alone = measure_units(activations[:, unit : unit + 1], classes, 4)
        for name in MEASURES:
            assert torch.equal(getattr(together, name)[unit], getattr(alone, name)[0])


def test_d_prime_of_rates():
    one = d_prime(torch.tensor(1.0), torch.tensor(0.0), 20)
    assert float(one) == pytest.approx(2 * NormalDist().inv_cdf(21 / 22), abs=1e-12)
    rates = torch.tensor([0.0, 0.3, 1.0])
    assert d_prime(rates, rates, 5).tolist() == [0.0, 0.0, 0.0]


def test_a_unit_that_never_fires_knows_nothing_of_a_rare_category():
    activations = np.zeros((5000, 1))
    found = measured(activations, (np.arange(5000) >= 30).astype(int), 2)
    assert found.d_prime[0].tolist() == [0.0, 0.0]
    assert found.auc[0].tolist() == [0.5, 0.5]


def test_ccmas_of_signed_means_has_no_bound():
    assert float(ccmas(torch.tensor(1.0), torch.tensor(-0.9))) == pytest.approx(19.0, rel=1e-5)


@pytest.mark.parametrize(
    ("activations", "classes", "n", "strongest", "message"),
    [
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), 2, 20, "at least one of each"),
        (torch.zeros(3), torch.zeros(3, dtype=torch.int64), 2, 20, r"\[token, unit\]"),
        (torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64), 2, 20, "there are 3 tokens"),
        (torch.zeros(3, 2), torch.full((3,), -1), 2, 20, "must be at least 0"),
        (torch.full((3, 2), math.nan), torch.zeros(3, dtype=torch.int64), 2, 20, "finite"),
        (torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64), 2, 0, "at least 1"),
    ],
)
def test_what_cannot_be_measured_says_so(activations, classes, n, strongest, message):
    with pytest.raises(UnitError, match=message):
        measure_units(activations, classes, n, strongest)

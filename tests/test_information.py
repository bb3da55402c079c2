"""Bits of a decision about blocks, and Fano's bound: by hand, by a second route, never violated."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest

from model.blocks.information import entropy_bits, fano_bound, h2, information_bits, inverse_h2
from model.errors import AnchorError


def naive_information(confusion: np.ndarray) -> float:
    """Element by element from the definition, in place of three entropies."""
    total, bits = confusion.sum(), 0.0
    for b in range(confusion.shape[0]):
        for d in range(confusion.shape[1]):
            if confusion[b, d]:
                here = confusion[b, d] / total
                rows, columns = confusion[b].sum() / total, confusion[:, d].sum() / total
                bits += here * log2(here / (rows * columns))
    return bits


def error_of(confusion: np.ndarray) -> float:
    return 1.0 - np.trace(confusion) / confusion.sum()


def random_confusion(rng: np.random.Generator, k: int, decisions: int) -> np.ndarray:
    """Counts from nearly empty to nearly diagonal, at least one of them above 0."""
    counts = rng.poisson(rng.choice([0.2, 3.0, 100.0]), size=(k, decisions)).astype(float)
    counts[np.arange(k), np.arange(k)] += rng.choice([0.0, 10.0, 1000.0])
    counts[0, rng.integers(decisions)] += 1
    return counts


def test_by_hand() -> None:
    assert entropy_bits([1, 1, 2]) == pytest.approx(1.5, abs=1e-15)
    # Three quarters right, both ways: I = 1 − h2(1/4) = 1 − 0.811278…
    assert information_bits([[3, 1], [1, 3]]) == pytest.approx(0.1887218755408671, abs=1e-15)
    # Four blocks, of which the decision only tells the halves apart: one bit of two.
    halves = np.kron(np.eye(2), [[5, 0], [5, 0]])
    assert information_bits(halves) == pytest.approx(1.0, abs=1e-15)
    assert fano_bound(2.0, 0.5, 4) == pytest.approx(0.5 / log2(3), abs=1e-15)
    assert fano_bound(2.0, 0.5, 4, abstains=True) == pytest.approx(0.25, abs=1e-15)
    assert h2(0.11) == pytest.approx(0.499915958164528, abs=1e-14)
    assert inverse_h2(0.8112781244591328) == pytest.approx(0.25, abs=1e-14)


def test_limits() -> None:
    assert entropy_bits([7]) == 0.0 and entropy_bits([0, 7, 0]) == 0.0
    assert entropy_bits(np.ones(8)) == pytest.approx(3.0, abs=1e-15)
    diagonal = np.diag([1.0, 5.0, 2.0])
    assert information_bits(diagonal) == pytest.approx(entropy_bits([1, 5, 2]), abs=1e-15)
    assert information_bits(np.outer([1, 2, 3], [4, 1, 5])) == pytest.approx(0.0, abs=1e-14)
    assert (h2(0.0), h2(0.5), h2(1.0)) == (0.0, 1.0, 0.0)
    assert (inverse_h2(0.0), inverse_h2(1.0)) == (0.0, 0.5)
    assert fano_bound(1.0, 0.0, 2) == 0.5 and fano_bound(1.0, 1.0, 2) == 0.0
    assert fano_bound(3.0, 2.5, 8) == 0.0
    # Uniform blocks, no information: the truth is 1 − 1/K, the bound comes close for many blocks.
    k = 2**20
    assert fano_bound(20.0, 0.0, k) == pytest.approx(0.95, abs=1e-6)


def test_the_inverse_of_h2_comes_from_below(rng: np.random.Generator) -> None:
    for p in [*rng.uniform(0, 0.5, size=200), 1e-12, 1e-3, 0.4999999]:
        found = inverse_h2(h2(p))
        assert h2(found) <= h2(p)
        assert found == pytest.approx(p, rel=1e-6, abs=1e-15)


def test_two_routes_agree(rng: np.random.Generator) -> None:
    for _ in range(60):
        confusion = random_confusion(rng, int(rng.integers(1, 7)), int(rng.integers(7, 9)))
        assert information_bits(confusion) == pytest.approx(naive_information(confusion), abs=1e-9)
    wrong = naive_information(np.array([[3.0, 2.0], [1.0, 3.0]]))
    assert information_bits([[3, 1], [1, 3]]) != pytest.approx(wrong, abs=1e-3)


def test_information_lies_between_nothing_and_the_entropy(rng: np.random.Generator) -> None:
    for _ in range(100):
        confusion = random_confusion(rng, 5, 6)
        bits = information_bits(confusion)
        assert 0.0 <= bits <= entropy_bits(confusion.sum(axis=1))
        assert bits <= entropy_bits(confusion.sum(axis=0))
        assert bits == pytest.approx(information_bits(confusion.T), abs=1e-12)


def test_names_and_units_of_counting_do_not_matter(rng: np.random.Generator) -> None:
    confusion = random_confusion(rng, 5, 6)
    shuffled = confusion[rng.permutation(5)][:, rng.permutation(6)]
    assert information_bits(shuffled) == pytest.approx(information_bits(confusion), abs=1e-12)
    assert information_bits(7 * confusion) == pytest.approx(information_bits(confusion), abs=1e-12)
    merged = np.column_stack([confusion[:, 0] + confusion[:, 1], confusion[:, 2:]])
    assert information_bits(merged) <= information_bits(confusion) + 1e-12


def smallest_slack(
    rng: np.random.Generator, k: int, abstains: bool, cases: int, raised: float = 0.0
) -> float:
    """Error less bound over random confusions; `raised` makes the bound wrong by so much."""
    slack = np.inf
    for _ in range(cases):
        confusion = random_confusion(rng, k, k + abstains)
        bits = information_bits(confusion)
        bound = fano_bound(entropy_bits(confusion.sum(axis=1)), bits, k, abstains) + raised
        slack = min(slack, error_of(confusion) - bound)
    return slack


@pytest.mark.parametrize("abstains", [False, True])
@pytest.mark.parametrize("k", [2, 3, 4, 19])
def test_fano_is_never_violated(rng: np.random.Generator, k: int, abstains: bool) -> None:
    assert smallest_slack(rng, k, abstains, 300) >= -1e-9
    assert smallest_slack(rng, k, abstains, 100, raised=0.9) < -1e-3


def test_fano_counts_a_decision_for_none_of_the_blocks() -> None:
    """All decisions "none": the error is 1, and 8 blocks less 1 bit must not bound it above 1."""
    confusion = np.zeros((8, 9))
    confusion[:, 8] = 1
    assert error_of(confusion) == 1.0
    assert fano_bound(3.0, information_bits(confusion), 8, abstains=True) == pytest.approx(2 / 3)


def test_the_binary_form_is_attained() -> None:
    for right, wrong in ((99, 1), (3, 1), (7, 5)):
        confusion = np.array([[right, wrong], [wrong, right]])
        bound = fano_bound(1.0, information_bits(confusion), 2)
        assert bound == pytest.approx(error_of(confusion), abs=1e-9)


@pytest.mark.parametrize(
    "counts", [[], [[1, 2]], [0, 0], [1, -1], [1, float("nan")], [1, float("inf")]]
)
def test_what_is_no_count_is_refused(counts: list[float]) -> None:
    with pytest.raises(AnchorError):
        entropy_bits(counts)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(AnchorError, match="2 dimensions"):
        information_bits([1, 2])
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(AnchorError):
            h2(p)
        with pytest.raises(AnchorError):
            inverse_h2(p)
    for entropy, information, k in [
        (1.0, 1.1, 4), (1.0, -0.1, 4), (2.1, 0.0, 4), (1.0, 0.0, 1), (float("nan"), 0.0, 4),
    ]:  # fmt: skip
        with pytest.raises(AnchorError):
            fano_bound(entropy, information, k)

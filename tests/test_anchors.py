"""Anchors: greedy against brute force, planted tokens, the Fisher direction, membership."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest

from model.blocks.anchor_design import design_anchors
from model.blocks.anchors import Anchors, fit_anchors
from model.errors import AnchorError


def coded_bits(counts: np.ndarray, chosen: list[int]) -> float:
    """N H(B | cell) by the definition: each chosen token is a cell, all others are one."""
    others = [t for t in range(len(counts)) if t not in chosen]
    cells = [counts[t] for t in chosen] + [counts[others].sum(axis=0)]
    bits = 0.0
    for cell in cells:
        bits -= sum(int(n) * log2(n / cell.sum()) for n in cell if n)
    return bits


def random_counts(rng: np.random.Generator, v: int, k: int) -> np.ndarray:
    counts = rng.poisson(rng.choice([0.5, 4.0, 30.0], size=(v, k)))
    counts[0, 0] += 1
    return counts


def is_greedy(counts: np.ndarray, tokens: tuple[int, ...], gains: tuple[float, ...]) -> bool:
    """Whether each step is the best single one, by trying all."""
    for n, (token, gain) in enumerate(zip(tokens, gains, strict=True)):
        before = list(tokens[:n])
        now = coded_bits(counts, before)
        saved = {
            t: now - coded_bits(counts, [*before, t]) for t in range(len(counts)) if t not in before
        }
        if abs(saved[token] - gain) > 1e-6 or saved[token] < max(saved.values()) - 1e-6:
            return False
    return True


def test_the_choice_by_hand() -> None:
    """Two blocks, eight occurrences each; token 0 holds one of them, token 1 says nothing."""
    counts = np.array([[6, 0], [2, 2], [0, 6]])
    found = design_anchors(counts)
    h2_quarter = 0.8112781244591328
    assert found.price == pytest.approx(log2(3)) and found.entropy == pytest.approx(1.0)
    # 16 bits before; taking token 0 leaves (2, 8) to be coded, 10 h2(1/5) bits.
    assert found.gains[0] == pytest.approx(16 - 10 * 0.7219280948873623, abs=1e-12)
    # Then 1 and 2 are told apart by either, which leaves the 4 bits of (2, 2): the first is taken.
    assert found.tokens == (0, 1)
    assert found.gains[1] == pytest.approx(10 * 0.7219280948873623 - 4, abs=1e-12)
    assert found.refused == pytest.approx(0.0, abs=1e-12)
    assert found.information == pytest.approx(12 / 16, abs=1e-12)
    assert design_anchors(np.array([[3, 1], [1, 3]])).gains[0] == pytest.approx(8 - 8 * h2_quarter)


def test_each_step_is_the_best_one_of_all(rng: np.random.Generator) -> None:
    steps = 0
    for _ in range(25):
        counts = random_counts(rng, int(rng.integers(2, 9)), int(rng.integers(2, 5)))
        found = design_anchors(counts)
        steps += len(found.tokens)
        assert is_greedy(counts, found.tokens, found.gains)
        now = coded_bits(counts, list(found.tokens))
        left = [t for t in range(len(counts)) if t not in found.tokens]
        saved = [now - coded_bits(counts, [*found.tokens, t]) for t in left]
        assert max(saved, default=0.0) < found.price + 1e-6
        assert max(saved, default=0.0) == pytest.approx(found.refused, abs=1e-6)
        told = found.information * counts.sum()
        assert told == pytest.approx(coded_bits(counts, []) - now, abs=1e-6)
        assert 0.0 <= found.information <= found.entropy + 1e-12
    assert steps > 25


def test_the_judge_of_greed_sees_a_wrong_order() -> None:
    counts = np.array([[60, 0], [20, 20], [0, 30]])
    found = design_anchors(counts)
    assert is_greedy(counts, found.tokens, found.gains)
    assert not is_greedy(counts, found.tokens[::-1], found.gains[::-1])


def test_planted_anchors_are_found(rng: np.random.Generator) -> None:
    """Three tokens say their block; two hundred are drawn alike in every block."""
    counts = rng.poisson(3.0, size=(200, 3))
    for token, block in ((17, 0), (42, 1), (99, 2)):
        counts[token] = 0
        counts[token, block] = 300
    found = design_anchors(counts)
    assert set(found.tokens[:3]) == {17, 42, 99}
    assert min(found.gains[:2]) > 100 > found.refused
    nothing = design_anchors(np.full((50, 3), 4))
    assert nothing.tokens == () and nothing.information == 0.0


def test_a_dearer_name_buys_fewer_anchors(rng: np.random.Generator) -> None:
    counts = random_counts(rng, 40, 4)
    cheap, dear = design_anchors(counts), design_anchors(counts, vocabulary=2**20)
    assert dear.price == 20.0 and len(dear.tokens) < len(cheap.tokens)
    assert dear.tokens == cheap.tokens[: len(dear.tokens)]


def test_of_equal_tokens_the_first_is_taken() -> None:
    assert design_anchors(np.array([[9, 0], [0, 9], [9, 0], [0, 9]])).tokens[0] == 0
    found = design_anchors(np.array([[0, 1], [9, 0], [9, 0], [0, 40]]), vocabulary=4)
    twins = [token for token in found.tokens if token in (1, 2)]
    assert twins == sorted(twins)


def test_bad_occurrences_are_refused() -> None:
    for counts in ([[0, 0]], [[1, -1]], [1, 2], [[1.0, 0.0]]):
        with pytest.raises(AnchorError, match="integers"):
            design_anchors(np.array(counts))
    with pytest.raises(AnchorError, match="2 tokens counted"):
        design_anchors(np.array([[1, 0], [0, 1]]), vocabulary=1)


def clouds(rng: np.random.Generator, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Three blocks 2 apart on axis 0, and noise ten times as wide on axis 1."""
    y = np.arange(n) % 3
    x = rng.normal(size=(n, 4)) * np.array([0.3, 10.0, 1.0, 1.0])
    x[:, 0] += 2.0 * y
    return x, y


NAMES = ("A", "B", "C")


def test_the_direction_by_hand() -> None:
    """Means 0 and 2 on axis 0, variance 1 on both axes: mu = ∓2 e_0, no odds half way."""
    x = np.array([[a + m, b] for m in (0.0, 2.0) for a in (-1.0, 1.0) for b in (-1.0, 1.0)])
    found = fit_anchors(x, np.repeat([0, 1], 4), ("A", "B"))
    assert np.allclose(found.vectors, [[-2, 0], [2, 0]], atol=1e-12)
    assert np.allclose(found.scores(np.array([[1.0, 7.0], [2.0, 0.0]])), [[0, 0], [-2, 2]])
    third = fit_anchors(x, np.repeat([0, 1], 4), ("A", "B"), priors=np.array([0.25, 0.75]))
    assert np.allclose(third.scores(np.array([[1.0, 7.0]])), [[-np.log(3), np.log(3)]])


def test_whitening_ignores_what_only_makes_noise(rng: np.random.Generator) -> None:
    x, y = clouds(rng)
    found = fit_anchors(x, y, NAMES, shrinkage=1e-4)
    tilt = np.abs(found.vectors[[0, 2], 1] / found.vectors[[0, 2], 0])
    assert tilt.max() < 0.02
    fresh, truth = clouds(rng)
    assert (found.membership(fresh).blocks == truth)[truth != 1].mean() > 0.99
    means = np.stack([x[y == b].mean(axis=0) for b in range(3)])
    raw = ((fresh[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    assert (raw == truth).mean() < (found.membership(fresh).blocks == truth).mean()


def test_scores_are_log_odds_of_two_gaussians_by_a_second_route(rng: np.random.Generator) -> None:
    x, y = clouds(rng, 90)
    found = fit_anchors(x, y, NAMES, shrinkage=0.3)
    residuals = np.concatenate([x[y == b] - x[y == b].mean(axis=0) for b in range(3)])
    cov = np.cov(residuals.T, bias=True)
    cov = 0.7 * cov + 0.3 * np.trace(cov) / 4 * np.eye(4)
    for b in range(3):
        quadratic = []
        for mean in (x[y == b].mean(axis=0), x[y != b].mean(axis=0)):
            away = x[:7] - mean
            quadratic.append(-0.5 * np.einsum("ni,ij,nj->n", away, np.linalg.inv(cov), away))
        odds = quadratic[0] - quadratic[1] + np.log(1 / 2)
        assert np.allclose(found.scores(x[:7])[:, b], odds, atol=1e-9)


def test_membership_needs_a_score_and_a_margin() -> None:
    anchors = Anchors(NAMES, np.eye(3), np.zeros(3))
    x = np.array([[5.0, 1.0, 0.0], [0.4, 0.1, 0.0], [3.0, 2.9, 0.0], [1.0, 3.0, 1.5]])
    found = anchors.membership(x, theta=0.5, delta=0.2)
    assert found.blocks.tolist() == [0, 3, 3, 1]
    assert found.nearest.tolist() == [0, 0, 0, 1] and found.runner_up.tolist() == [1, 1, 1, 2]
    assert np.allclose(found.scores, [5, 0.4, 3, 3]) and np.allclose(
        found.margins, [4, 0.3, 0.1, 1.5]
    )
    assert anchors.reason(found, 0) == "A at 5.00 nats, 4.00 ahead of B"
    assert anchors.reason(found, 2) == "no block: best is A at 3.00 nats, 0.10 ahead of B"
    assert anchors.membership(x).blocks.tolist() == [0, 0, 0, 1]
    exact = anchors.membership(x[:1], theta=5.0, delta=4.0)
    assert exact.blocks.tolist() == [0]
    for theta, delta in ((0.0, -0.1), (float("nan"), 0.0), (0.0, float("nan"))):
        with pytest.raises(AnchorError, match="delta"):
            anchors.membership(x, theta, delta)


def test_blocks_by_another_order_are_the_same_blocks(rng: np.random.Generator) -> None:
    x, y = clouds(rng)
    order = np.array([2, 0, 1])
    plain = fit_anchors(x, y, NAMES).scores(x)
    moved = fit_anchors(x[::-1], order[y][::-1], ("B", "C", "A")).scores(x)
    assert np.allclose(moved[:, order], plain, atol=1e-9)


def test_what_cannot_be_fitted_is_refused(rng: np.random.Generator) -> None:
    x, y = clouds(rng, 30)
    bad = x.copy()
    bad[3, 1] = np.nan
    with pytest.raises(AnchorError, match="finite"):
        fit_anchors(bad, y, NAMES)
    with pytest.raises(AnchorError, match="one an activation"):
        fit_anchors(x, y[:-1], NAMES)
    with pytest.raises(AnchorError, match="hold every label"):
        fit_anchors(x, y, NAMES[:2])
    with pytest.raises(AnchorError, match="anchors of D"):
        fit_anchors(x, y, (*NAMES, "D"))
    with pytest.raises(AnchorError, match="anchors that differ"):
        fit_anchors(np.repeat(np.eye(3), 2, axis=0), np.repeat([0, 1, 2], 2), NAMES)
    for shrinkage in (0.0, -1.0, 1.1, float("nan")):
        with pytest.raises(AnchorError, match="Shrinkage"):
            fit_anchors(x, y, NAMES, shrinkage)
    with pytest.raises(AnchorError, match="Priors"):
        fit_anchors(x, y, NAMES, priors=np.array([0.0, 0.5, 0.5]))
    with pytest.raises(AnchorError, match=r"\[positions, 4\]"):
        fit_anchors(x, y, NAMES).scores(x[:, :3])

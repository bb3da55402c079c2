"""Measures of units a second time, slowly: pairs counted one by one, and normal quantiles by hand.

Written from the definitions, without a glance at the module that it checks.
"""

from __future__ import annotations

from itertools import product
from statistics import NormalDist, fmean

import numpy as np

NAN = float("nan")


def auc(on: list[float], off: list[float]) -> float:
    """Share of pairs in which the category's token is the stronger one; ties count a half."""
    if not on or not off:
        return NAN
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in product(on, off)]
    return sum(wins) / len(wins)


def rates(on: list[float], off: list[float]) -> tuple[float, float, float, float]:
    """Threshold, hit rate, false-alarm rate and corrected d'."""
    if not on or not off:
        return NAN, NAN, NAN, NAN
    threshold = (fmean(on) + fmean(off)) / 2
    hits = sum(a > threshold for a in on)
    alarms = sum(a > threshold for a in off)
    z = NormalDist().inv_cdf
    share = len(on) / (len(on) + len(off))  # of the token added above, and of that added below
    corrected = z((hits + share) / (len(on) + 2 * share))
    corrected -= z((alarms + 1 - share) / (len(off) + 2 * (1 - share)))
    return threshold, hits / len(on), alarms / len(off), corrected


def ccmas(activations: np.ndarray, classes: np.ndarray, category: int, n_categories: int) -> float:
    """Of rectified activity: this category's mean against the mean of the other means."""
    means = {
        c: fmean(max(a, 0.0) for a in activations[classes == c].tolist())
        for c in range(n_categories)
        if (classes == c).any()
    }
    if category not in means or len(means) < 2:
        return NAN
    rest = fmean(mean for c, mean in means.items() if c != category)
    total = means[category] + rest
    return (means[category] - rest) / total if total else NAN


def precision(activations: np.ndarray, member: np.ndarray, strongest: int) -> float:
    """Expected share of members among the strongest, ties for the last seats drawn at random."""
    if not member.any() or member.all():
        return NAN
    seats = min(strongest, len(activations))
    last = sorted(activations.tolist(), reverse=True)[seats - 1]
    sure, tied = activations > last, activations == last
    share = (seats - sure.sum()) / tied.sum()
    return float(((sure & member).sum() + share * (tied & member).sum()) / seats)

"""The dial and its measures a second time, slowly, in float64 numpy: a reference for the tests.

Written from the formula in method terms, with loops over heads and rows, and without a glance at
either implementation that it checks.
"""

from __future__ import annotations

import math

import numpy as np

SELF, PREVIOUS, SINK = 1, 2, 4
SHARES = ("self", "sink", "previous", "semantic", "other")


def relation_codes(classes: np.ndarray, sink_class: int) -> np.ndarray:
    """Self 1, previous 2, sink 4, added; uint8 [T, T], 0 for later keys."""
    count = len(classes)
    codes = np.zeros((count, count), np.uint8)
    for i in range(count):
        for j in range(i + 1):
            is_sink = SINK if classes[j] == sink_class else 0
            codes[i, j] = (SELF if i == j else 0) + (PREVIOUS if i - j == 1 else 0) + is_sink
    return codes


def dial_pattern(
    scores: np.ndarray,
    relevance: np.ndarray,
    dial: float,
    weights: np.ndarray,
    gain: float = 4.0,
    temperature: float = 1.0,
) -> np.ndarray:
    """Pattern after the dial, float64 [H, T, T]; later keys 0."""
    heads, count = scores.shape[:2]
    out = np.zeros((heads, count, count))
    for h in range(heads):
        x = dial * float(weights[h])
        strength = 1e30 if x >= 1.0 else min(-gain * math.log1p(-x), 1e30)
        tau = 1.0 + (temperature - 1.0) * x
        for i in range(count):
            r = relevance[h, i, : i + 1].astype(np.float64).copy()
            if r.max() == 0.0:
                r[i] = 1.0
            s = scores[h, i, : i + 1].astype(np.float64) / tau - strength * (r.max() - r)
            e = np.exp(s - s.max())
            out[h, i, : i + 1] = e / e.sum()
    return out


def row_measures(
    pattern: np.ndarray, relevance: np.ndarray, relation: np.ndarray, classes: np.ndarray, n: int
) -> dict[str, np.ndarray]:
    """entropy_bits, fidelity [H, T]; shares [H, T, 5] in SHARES' order; class_mass [H, T, n]."""
    heads, count = pattern.shape[:2]
    bits, fidelity = np.zeros((heads, count)), np.zeros((heads, count))
    shares, mass = np.zeros((heads, count, 5)), np.zeros((heads, count, n))
    for h in range(heads):
        for i in range(count):
            largest = relevance[h, i, : i + 1].max()
            for j in range(i + 1):
                p, r, code = pattern[h, i, j], relevance[h, i, j], relation[i, j]
                bits[h, i] -= p * math.log2(p) if p > 0 else 0.0
                fidelity[h, i] += p if r == largest and r > 0 else 0.0
                if code & SELF:
                    share = 0
                elif code & SINK:
                    share = 1
                elif code & PREVIOUS:
                    share = 2
                else:
                    share = 3 if r > 0 else 4
                shares[h, i, share] += p
                mass[h, i, classes[j]] += p
    return {"entropy_bits": bits, "fidelity": fidelity, "shares": shares, "class_mass": mass}


def head_means(rows: np.ndarray) -> np.ndarray:
    """Mean over rows that see at least two keys: [H, T, …] -> [H, …]; 0 where there is none."""
    return rows[:, 1:].mean(axis=1) if rows.shape[1] > 1 else rows[:, 0] * 0.0


def normalised(bits: np.ndarray) -> np.ndarray:
    """Entropy over log2 n of each row that sees n >= 2 keys; 0 in the first row."""
    most = np.log2(np.arange(1, bits.shape[1] + 1))
    return np.divide(bits, most, out=np.zeros_like(bits), where=most > 0)

"""What a decision about blocks says of the true ones, in bits, and the error that it cannot avoid.

From a confusion count matrix n[b, d] (true block b, decision d) of N tokens, with p = n / N:

    H(B)     = − sum_b p(b) log2 p(b)
    I(B; D)  = sum_bd p(b, d) log2 (p(b, d) / (p(b) p(d)))

Both are plug-in estimates: the entropies of the counts themselves, exact for this sample. As
estimates of a larger population H comes out too low and I too high, by about (K − 1)² / (2 N ln 2)
bits for I where the two are independent.

Fano: H(B | D) = H(B) − I(B; D) bits are left after the decision. With P the chance of an error,
H(B | D) ≤ h2(P) + P log2(K − 1), where D names one of the K blocks: an error leaves the K − 1
others open. From h2 ≤ 1 follows P ≥ (H − I − 1) / log2(K − 1); for K = 2 the second term vanishes
and P is found from h2 itself. A decision that may be none of the blocks leaves all K open.
"""

from __future__ import annotations

from math import isfinite, log2

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.errors import AnchorError

_ROUNDING = 1e-9  # bits by which information may seem to exceed entropy


def entropy_bits(counts: ArrayLike) -> float:
    """Plug-in entropy in bits of counts [K] ≥ 0; 0 log 0 is 0.

    AnchorError where a count is negative or not finite, or all are 0.
    """
    return _entropy(_counts(counts, 1))


def information_bits(confusion: ArrayLike) -> float:
    """Plug-in I(B; D) in bits of counts [K, decisions], within [0, H(B)].

    The decisions may have any number of columns, one for "none" among them. AnchorError as above.
    """
    counts = _counts(confusion, 2)
    rows, columns = _entropy(counts.sum(axis=1)), _entropy(counts.sum(axis=0))
    together = _entropy(counts.ravel())
    return min(max(0.0, rows + columns - together), rows, columns)


def h2(probability: float) -> float:
    """Entropy in bits of a coin with this probability, in [0, 1]; AnchorError outside."""
    if not 0.0 <= probability <= 1.0:
        raise AnchorError("Probability", probability, "must lie in [0, 1]", "Give a fraction")
    if probability in (0.0, 1.0):
        return 0.0
    rest = 1.0 - probability
    return -probability * log2(probability) - rest * log2(rest)


def inverse_h2(bits: float) -> float:
    """The probability p ≤ 1/2 with h2(p) = bits, from below, to the last digit; bits in [0, 1]."""
    if not 0.0 <= bits <= 1.0:
        raise AnchorError("Entropy of a coin", bits, "must lie in [0, 1] bits", "Give its bits")
    low, high = 0.0, 0.5
    if bits == 1.0:
        return high
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if h2(middle) <= bits else (low, middle)
    return low


def fano_bound(entropy: float, information: float, n_blocks: int, abstains: bool = False) -> float:
    """Least error probability of a decision that has `information` bits of `entropy`; in [0, 1].

    `n_blocks`: K ≥ 2, how many values B can take. `abstains`: the decision may also be "none",
    which counts as an error. The bound is 0, and says nothing, where less than one bit is left and
    K ≥ 3.
    AnchorError for fewer than two blocks, or where not 0 ≤ information ≤ entropy ≤ log2 K.
    """
    if n_blocks < 2:
        raise AnchorError("Number of blocks", n_blocks, "must be at least 2", "Add a block")
    left = entropy - information
    most = log2(n_blocks)
    fits = 0.0 <= information <= entropy + _ROUNDING and entropy <= most + _ROUNDING
    if not (isfinite(left) and fits):
        raise AnchorError(
            "Information and entropy",
            (information, entropy),
            f"must be 0 ≤ information ≤ entropy ≤ {most:.4g} bits",
            "Measure both on one confusion matrix",
        )
    if n_blocks == 2 and not abstains:
        return inverse_h2(min(max(left, 0.0), 1.0))
    open_blocks = n_blocks if abstains else n_blocks - 1
    return max(0.0, left - 1.0) / log2(open_blocks)


def _entropy(counts: NDArray[np.float64]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(max(0.0, -(shares * np.log2(shares)).sum()))


def _counts(values: ArrayLike, dimensions: int) -> NDArray[np.float64]:
    counts = np.asarray(values, dtype=np.float64)
    if counts.ndim != dimensions or not counts.size:
        raise AnchorError(
            "Shape of the counts",
            counts.shape,
            f"must have {dimensions} dimensions, none of them empty",
            "Count true blocks in rows and decisions in columns",
        )
    if not np.isfinite(counts).all() or counts.min() < 0 or counts.sum() <= 0:
        raise AnchorError(
            "Counts",
            float(counts.sum()),
            "must be finite and at least 0, one of them above 0",
            "Count at least one token",
        )
    return counts

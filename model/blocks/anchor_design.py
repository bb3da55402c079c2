"""Which tokens become anchors: those whose bits saved pay for the bits that name them.

**Model.** N occurrences, each of a token and labelled with a block. The anchors chosen so far
divide them into cells: the occurrences of each chosen token are a cell of their own, all others
are the rest R. Coding the blocks with the cell known costs N H(B | cell) bits, so that one more
anchor t saves

    N ΔI(t) = g(n_R) − g(n_t) − g(n_R − n_t) ,    g(n) = N_n log2 N_n − sum_b n_b log2 n_b ≥ 0

with n_R, n_t the counts per block of the rest and of t, and N_n = sum_b n_b. The greedy choice
takes the largest saving, and stops when it is below the log2 |V| bits that name one token of |V|.

It is greedy: each step is the best single one, the whole set need not be. Bits are plug-in, on the
occurrences given: what anchors are worth elsewhere, only occurrences of other tokens can say.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

import numpy as np
from numpy.typing import NDArray

from model.errors import AnchorError


@dataclass(frozen=True)
class AnchorDesign:
    """Anchor tokens in the order chosen, with what each saved.

    tokens: rows of the count matrix. gains: bits each saved, all ≥ price. price: log2 |V|, bits
    that name a token. refused: the bits of the best token that did not pay, 0 where none was left.
    entropy: H(B), information: I(B; cell), both bits an occurrence.
    """

    tokens: tuple[int, ...]
    gains: tuple[float, ...]
    price: float
    refused: float
    entropy: float
    information: float


def saved_bits(counts: NDArray[np.float64], rest: NDArray[np.float64]) -> NDArray[np.float64]:
    """N ΔI of each token, bits [V], were it taken out of the rest.

    `counts`: occurrences [V, K] by token and block; `rest`: [K], of which they are a part.
    """
    return _bits(rest) - _bits(counts) - _bits(rest - counts)


def design_anchors(counts: NDArray[np.integer], vocabulary: int | None = None) -> AnchorDesign:
    """Choose anchors greedily from occurrences [V, K] by token and block.

    `vocabulary`: |V| of the price, as many as there are rows by default. Of equals the first token
    is taken. Tokens with the same counts are looked at once, so that a step costs as many rows as
    there are different ones. AnchorError for counts that are no counts, or a smaller vocabulary.
    """
    counts = np.asarray(counts)
    integral = counts.ndim == 2 and counts.size and np.issubdtype(counts.dtype, np.integer)
    if not integral or counts.min() < 0 or not counts.any():
        raise AnchorError(
            "Occurrences",
            f"{counts.dtype} {list(counts.shape)}",
            "must be integers ≥ 0 [token, block], one of them above 0",
            "Count labelled occurrences",
        )
    size = len(counts) if vocabulary is None else vocabulary
    if size < len(counts):
        raise AnchorError(
            "Vocabulary", size, f"must have the {len(counts)} tokens counted", "Count it again"
        )
    price = log2(size)
    kinds, kind_of = np.unique(counts, axis=0, return_inverse=True)
    kinds = kinds.astype(np.float64)
    waiting = _by_kind(kind_of.ravel(), len(kinds))
    first = np.array([tokens[-1] for tokens in waiting])
    rest = counts.sum(axis=0).astype(np.float64)
    whole = float(_bits(rest))
    tokens: list[int] = []
    gains: list[float] = []
    while True:
        saved = np.where(first < len(counts), saved_bits(kinds, rest), -np.inf)
        best = float(saved.max())
        if best < price or best <= 0.0:
            break
        equals = np.flatnonzero(saved == best)
        kind = int(equals[first[equals].argmin()])
        tokens.append(waiting[kind].pop())
        gains.append(best)
        rest = rest - kinds[kind]
        first[kind] = waiting[kind][-1] if waiting[kind] else len(counts)
    total = float(counts.sum())
    refused = max(0.0, best)
    return AnchorDesign(
        tuple(tokens), tuple(gains), price, refused, whole / total, sum(gains) / total
    )


def _by_kind(kind_of: NDArray[np.integer], kinds: int) -> list[list[int]]:
    """The tokens of each kind, last first, so that pop() takes the first."""
    waiting: list[list[int]] = [[] for _ in range(kinds)]
    for token in range(len(kind_of) - 1, -1, -1):
        waiting[int(kind_of[token])].append(token)
    return waiting


def _bits(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """g of counts [..., K]: bits that code the blocks of these occurrences."""
    return _xlog2(counts.sum(axis=-1)) - _xlog2(counts).sum(axis=-1)


def _xlog2(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # A token taken already leaves a negative rest; its saving is never read.
    return values * np.log2(np.where(values > 0, values, 1.0))

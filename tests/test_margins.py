"""Counts, margins and gaps of rows: by hand, and against loops over keys."""

from __future__ import annotations

import math

import numpy as np
import torch

from model.locality.margins import row_bits, row_margins, row_mass
from model.locality.measures import entropy_bits
from tests.factories import tiny_case

INF = math.inf


def test_hand_row() -> None:
    # The last of four queries reads keys 1 and 3; key 0 is the sink at rest, key 2 is nothing.
    scores = torch.full((4, 4), 99.0).tril() - 99.0
    scores[3] = torch.tensor([7.0, 2.0, -1.0, 4.0])
    r = torch.zeros(4, 4)
    r[3] = torch.tensor([0.5, 1.0, 0.0, 1.0])
    r[2, 0], r[1, 3] = 0.5, 1.0  # a row at rest; a relevant key that is not seen yet
    rows = row_margins(scores[None, None], r[None, None])
    assert rows.n[0, 0].tolist() == [1, 2, 3, 4]
    assert rows.m[0, 0].tolist() == [0, 0, 1, 2]
    assert rows.counts[0, 0, 2:].tolist() == [[2, 0], [1, 1]]
    assert rows.margins[0, 0, 3].tolist() == [2.0 - 7.0, 2.0 + 1.0]
    assert rows.gaps[0, 0, 2:].tolist() == [[0.5, 1.0], [0.5, 1.0]]
    assert rows.margin[0, 0, 3] == -5.0
    assert rows.margins[0, 0, 2].tolist() == [0.0, INF]
    assert rows.largest[0, 0, 3] == 7.0


def test_against_loops(seed: int, rng: np.random.Generator) -> None:
    _, _, relevance = tiny_case(4, 13, 2 * seed + 1)  # odd: with rest
    r = torch.cat([relevance.raw(layer) for layer in range(3)])
    scores = torch.tensor(rng.normal(0, 3, r.shape))
    rows = row_margins(scores.masked_fill(torch.ones(13, 13).bool().triu(1), -INF), r)
    kinds = set()
    for b, h, i in np.ndindex(*r.shape[:3]):
        seen = r[b, h, i, : i + 1].tolist()
        s = scores[b, h, i, : i + 1].tolist()
        top = max(seen)
        keys = [j for j in range(i + 1) if seen[j] == top and top > 0]
        gaps = sorted({top - x for x in seen if x < top}) if keys else []
        kinds.add((top, len(gaps)))
        assert rows.n[b, h, i] == i + 1 and rows.m[b, h, i] == len(keys)
        assert rows.largest[b, h, i] == max(map(abs, s))
        for k in range(2):
            if k >= len(gaps):
                assert rows.counts[b, h, i, k] == 0 and rows.margins[b, h, i, k] == INF
                assert rows.gaps[b, h, i, k] == 1.0
                continue
            others = [j for j in range(i + 1) if top - seen[j] == gaps[k]]
            margin = min(s[j] for j in keys) - max(s[j] for j in others)
            assert rows.counts[b, h, i, k] == len(others)
            assert rows.margins[b, h, i, k] == margin
            assert rows.gaps[b, h, i, k] == gaps[k]
    assert {(0.5, 1), (1.0, 1), (1.0, 2)} <= kinds


def test_finely_graded_relevance_falls_into_the_nearest_and_all_others() -> None:
    r = torch.zeros(1, 1, 5, 5)
    r[..., 4, :] = torch.tensor([0.8, 0.3, 0.1, 0.8, 0.9])
    scores = torch.arange(25.0).view(1, 1, 5, 5)
    rows = row_margins(scores, r)
    assert rows.counts[0, 0, 4].tolist() == [2, 2]
    assert torch.allclose(rows.gaps[0, 0, 4], torch.tensor([0.1, 0.6]).double(), atol=1e-7)
    assert rows.margins[0, 0, 4].tolist() == [24.0 - 23.0, 24.0 - 22.0]


def test_bits_and_mass(rng: np.random.Generator) -> None:
    assert row_bits(torch.tensor([0.5, 0.25, 0.25, 0.0])).item() == 1.5
    assert row_bits(torch.tensor([0.0, 1.0])).item() == 0.0
    drawn = torch.tensor(rng.dirichlet([0.3] * 9, 50))
    loops = [-sum(p * math.log2(p) for p in row if p > 0) for row in drawn.tolist()]
    assert torch.allclose(row_bits(drawn), torch.tensor(loops).double(), atol=1e-13)
    assert torch.allclose(row_bits(drawn), entropy_bits(drawn), atol=1e-7)
    mask = torch.tensor([True, False, True] * 3)
    assert torch.allclose(row_mass(drawn, mask), drawn[:, mask].sum(-1), atol=1e-15)

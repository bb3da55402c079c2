"""The score range from weights: rotations, a second route, attained, searched, never passed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from model.errors import BoundError
from model.locality import score_range
from model.transformer.layers import Layer, rotary_table, rotate
from tests.factories import TINY, lively_decoder, random_text
from workbench.checks import score_limits

NORM = math.sqrt(TINY.d_model)


def random_head(seed: int, d_model: int = 24, d_head: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    w_q, w_k = torch.randn(2, d_model, d_head, generator=generator, dtype=torch.float64)
    return w_q, w_k


def turns(count: int = 48, d_head: int = 6) -> Tensor:
    return score_range.rotations(torch.arange(count), d_head, 10000.0)


def score(x_i: Tensor, x_j: Tensor, w_q: Tensor, w_k: Tensor, turn: Tensor) -> Tensor:
    """s_ij of rows of x, by q and k: [row]."""
    q, k = x_i @ w_q, x_j @ w_k
    return (q * (k @ turn)).sum(dim=-1) / math.sqrt(w_q.shape[-1])


def test_rotations_are_those_of_the_decoder(seed: int) -> None:
    cos, sin = rotary_table(TINY)
    q, k = torch.randn(2, 1, 48, 1, 6, generator=torch.Generator().manual_seed(seed)).double()
    wanted = rotate(q, cos, sin)[0, :, 0] @ rotate(k, cos, sin)[0, :, 0].T
    for i, j in ((0, 0), (9, 2), (47, 0), (47, 46)):
        found = q[0, i, 0] @ turns()[i - j].T @ k[0, j, 0]
        assert found.item() == pytest.approx(wanted[i, j].item(), abs=1e-12)
    flat = turns().mT @ turns()
    assert torch.allclose(flat, torch.eye(6).double().expand_as(flat), atol=1e-14)


def test_hand_value() -> None:
    # One dimension is read with 3 and 2, d_head 4, norm 5: 3 * 2 * 25 / 2, at offset 0.
    w_q, w_k = torch.zeros(2, 7, 4)
    w_q[1, 0], w_k[2, 0] = 3.0, 2.0
    still = score_range.rotations(torch.zeros(1), 4, 10000.0)
    assert score_range.score_range(w_q, w_k, still, 5.0).item() == pytest.approx(75.0)
    assert score_range.loose_score_range(w_q, w_k, 5.0).item() == pytest.approx(75.0)


def test_a_product_of_zero_norm_can_score_one() -> None:
    """Queries and keys are orthogonal until rotation turns one onto the other."""
    w_q, w_k = torch.zeros(2, 3, 2, dtype=torch.float64)
    w_q[0, 0], w_k[0, 1] = math.sqrt(2), 1.0
    assert torch.linalg.matrix_norm(w_q @ w_k.T, 2) == 0.0
    quarter = score_range.rotations(torch.tensor([0.0, math.pi / 2]), 2, 10000.0)
    x = torch.eye(3, dtype=torch.float64)[:1]
    assert score(x, x, w_q, w_k, quarter[0]).item() == 0.0
    assert score(x, x, w_q, w_k, quarter[1]).abs().item() == pytest.approx(1.0, abs=1e-15)
    assert score_range.score_range(w_q, w_k, quarter[:1], 1.0).item() == 0.0
    assert score_range.score_range(w_q, w_k, quarter, 1.0).item() == pytest.approx(1.0, abs=1e-15)
    # Offsets that a text has: the sine of 11 rad is 0.99999, and the bound knows it.
    whole = score_range.rotations(torch.arange(12), 2, 10000.0)
    largest = score_range.score_range(w_q, w_k, whole, 1.0).item()
    assert largest == pytest.approx(abs(math.sin(11)), abs=1e-12)
    assert score_range.loose_score_range(w_q, w_k, 1.0).item() >= 1.0


def test_the_same_by_whole_products_in_numpy(seed: int) -> None:
    for part in range(5):
        w_q, w_k = random_head(seed + part)
        norms = [np.linalg.norm(w_q.numpy() @ t.T @ w_k.numpy().T, 2) for t in turns().numpy()]
        found = score_range.score_range(w_q, w_k, turns(), NORM).item()
        assert found == pytest.approx(max(norms) * 24 / math.sqrt(6), rel=1e-12)


def test_the_largest_score_is_attained(seed: int) -> None:
    w_q, w_k = random_head(seed)
    limit = score_range.score_range(w_q, w_k, turns(), NORM).item()
    attained = []
    for turn in turns():
        left, _, right = torch.linalg.svd(w_q @ turn.T @ w_k.T)
        x_i, x_j = NORM * left[:, :1].T, NORM * right[:1]
        attained.append(score(x_i, x_j, w_q, w_k, turn).abs().item())
    assert max(attained) == pytest.approx(limit, rel=1e-9)


def test_a_million_random_pairs_and_a_search_stay_inside(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    turned, norm = turns(48, 4), math.sqrt(8)
    for part in range(10):
        w_q, w_k = random_head(seed + part, 8, 4)
        limit = score_range.score_range(w_q, w_k, turned, norm)
        x = torch.randn(2, 100_000, 8, generator=generator, dtype=torch.float64)
        x_i, x_j = x * (norm / x.norm(dim=-1, keepdim=True))
        offset = int(torch.randint(48, (1,), generator=generator))
        assert score(x_i, x_j, w_q, w_k, turned[offset]).abs().max() <= limit
    # Ascent from the best of them gets to the limit of its offset, and no further.
    found = x[:, :64].clone().requires_grad_()
    optimiser = torch.optim.Adam([found], lr=0.1)
    for _ in range(200):
        x_i, x_j = found * (norm / found.norm(dim=-1, keepdim=True))
        reached = score(x_i, x_j, w_q, w_k, turned[offset])
        optimiser.zero_grad()
        (-reached.sum()).backward()
        optimiser.step()
    exact = score_range.score_range(w_q, w_k, turned[offset : offset + 1], norm)
    assert exact * 0.999 < reached.max() <= exact * (1 + 1e-12)


def test_a_batch_of_heads_is_each_head_alone(seed: int) -> None:
    heads = [random_head(seed + part) for part in range(6)]
    w_q, w_k = (torch.stack(side).view(2, 3, 24, 6) for side in zip(*heads, strict=True))
    together = score_range.score_range(w_q, w_k, turns(), NORM).flatten()
    alone = [score_range.score_range(*head, turns(), NORM).item() for head in heads]
    assert together.tolist() == pytest.approx(alone, rel=1e-12)
    loose = score_range.loose_score_range(w_q, w_k, NORM).flatten()
    assert (loose >= together * (1 - 1e-12)).all()


def test_live_subspaces_give_the_same_range_where_the_rest_is_zero(seed: int) -> None:
    w_q, w_k = random_head(seed)
    basis = torch.linalg.qr(random_head(seed + 1, 24, 24)[0]).Q
    live_q, live_k = basis[:, :4], basis[:, 2:10]
    w_q, w_k = live_q @ live_q.T @ w_q, live_k @ live_k.T @ w_k
    small = score_range.restricted(w_q, live_q), score_range.restricted(w_k, live_k)
    assert [tuple(each.shape) for each in small] == [(4, 6), (8, 6)]
    whole = score_range.score_range(w_q, w_k, turns(), NORM).item()
    assert score_range.score_range(*small, turns(), NORM).item() == pytest.approx(whole, rel=1e-9)
    assert score_range.loose_score_range(*small, NORM).item() == pytest.approx(
        score_range.loose_score_range(w_q, w_k, NORM).item(), rel=1e-9
    )
    dead = score_range.restricted(w_q, basis[:, :0])
    assert score_range.score_range(dead, small[1], turns(), NORM).item() == 0.0
    assert score_range.loose_score_range(dead, small[1], NORM).item() == 0.0


def test_what_a_text_scores_in_a_decoder_stays_inside(seed: int) -> None:
    decoder = lively_decoder(seed=seed)  # gains from 0.5 to 1.5, two query heads a key head
    limits, slop = score_limits(decoder, TINY.n_ctx)
    ids, _ = random_text(4, 48, seed)
    names = [f"blocks.{layer}.attn.hook_attn_scores" for layer in range(TINY.n_layers)]
    _, cache = decoder.run_with_cache(ids, names_filter=names)
    for layer, name in enumerate(names):
        seen = cache[name].masked_fill(torch.ones(48, 48, dtype=torch.bool).triu(1), 0.0)
        largest = seen.abs().amax(dim=(0, 2, 3)).double()
        assert (largest <= limits[layer] + slop[layer]).all()
        assert (largest > limits[layer] / 50).all()  # a bound of another size is no bound of these
    assert (slop < 1e-3 * limits).all()


def test_the_gain_of_the_norm_is_part_of_the_weights(seed: int) -> None:
    """Inputs along the top singular vectors, through the decoder's own norm and projections."""
    decoder = lively_decoder(seed=seed)
    layer = decoder.blocks[1]
    assert isinstance(layer, Layer)
    with torch.no_grad():
        layer.ln1.weight.mul_(3.0)
    limits, slop = score_limits(decoder, 1)
    w_q = score_range.folded(layer.attn.q.weight[:6].T, layer.ln1.weight)
    w_k = score_range.folded(layer.attn.k.weight[:6].T, layer.ln1.weight)
    left, _, right = torch.linalg.svd(w_q @ w_k.T)
    x = 100 * torch.stack((left[:, 0], right[0])).float()[None]
    cos, sin = torch.ones(2, 6), torch.zeros(2, 6)  # offset 0
    with torch.inference_mode():
        q, k, _ = layer.attn.projections(layer.ln1(x), (cos, sin))
        reached = layer.attn.scores(q, k)[0, 0, 0, 1].abs().item()
    assert reached == pytest.approx(limits[1, 0].item(), rel=1e-4)
    assert reached <= (limits + slop)[1, 0]
    with torch.no_grad():
        layer.ln1.weight.div_(3.0)
    assert reached > score_limits(decoder, 1)[0][1, 0] * 8.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.fill_(math.nan), "W_Q is 'NaN or infinity'"),
        (lambda w: w[0].fill_(math.inf), "W_Q"),
    ],
)
def test_weights_that_are_no_numbers_are_refused(change, message: str) -> None:
    w_q, w_k = random_head(0)
    change(w_q)
    with pytest.raises(BoundError, match=message):
        score_range.score_range(w_q, w_k, turns(), NORM)
    with pytest.raises(BoundError, match=message):
        score_range.loose_score_range(w_q, w_k, NORM)


def test_a_basis_that_is_not_orthonormal_is_refused() -> None:
    w_q, w_k = random_head(0)
    for basis in (w_k, 1.001 * torch.eye(24)[:, :3], torch.full((24, 2), math.nan)):
        with pytest.raises(BoundError, match="orthonormal"):
            score_range.restricted(w_q, basis)
    with pytest.raises(BoundError, match="Largest norm"):
        score_range.score_range(w_q, w_k, turns(), math.nan)

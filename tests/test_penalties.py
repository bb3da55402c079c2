"""The penalised groups: where they lie, what they cost, which are zero, what passes the pool."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.errors import PenaltyError, SubspaceError
from model.locality.penalties import Groups
from model.locality.pool_share import PoolShare, pool_share, row_variance
from model.transformer.rotation import layers_of, rotated
from tests import naive_prox
from tests.factories import TINY, lively_decoder, random_text
from tests.test_rotation import orthogonal

RANKS = (3, 6, 4)
GROUPS = Groups.of(TINY, RANKS)


def draw(seed: int = 0, shape: tuple[int, ...] = GROUPS.shape) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def turned(seed: int = 0):
    return rotated(lively_decoder(seed=seed), orthogonal(TINY.d_model, seed))


def test_sizes_by_hand() -> None:
    assert GROUPS.shape == (3, 4 + 2, 6, 13)
    assert GROUPS.count == 3 * 6 * 3
    assert GROUPS.weights.tolist() == [math.sqrt(18), math.sqrt(36), math.sqrt(24)]
    assert GROUPS.block_of.tolist() == [0] * 3 + [1] * 6 + [2] * 4


def test_a_group_is_the_block_times_the_folded_weight(seed) -> None:
    decoder, basis = lively_decoder(seed=seed), orthogonal(TINY.d_model, seed)
    z = GROUPS.read(rotated(decoder.double(), basis))
    start = 0
    for block, rank in enumerate(RANKS):
        U = basis[:, start : start + rank]
        for index, layer in enumerate(layers_of(decoder)):
            for unit in range(6):
                side, head = (layer.attn.q, unit) if unit < 4 else (layer.attn.k, unit - 4)
                W = side.weight[head * 6 : head * 6 + 6].T * layer.ln1.weight[:, None]
                group = (U.T @ W).T
                assert torch.allclose(z[index, unit, :, start : start + rank], group, atol=1e-12)
                norm = GROUPS.norms(z)[index, unit, block]
                assert norm.item() == pytest.approx(float(group.norm()), rel=1e-12)
        start += rank
    assert torch.allclose(GROUPS.read(decoder, basis), z, atol=1e-12)


def test_penalty_equals_the_sum_written_as_loops(seed) -> None:
    z = draw(seed)
    wanted = naive_prox.penalty(z.numpy(), RANKS, 0.3)
    assert GROUPS.penalty(z, 0.3) == pytest.approx(wanted, rel=1e-13)
    assert GROUPS.penalty(z, 0.0) == 0.0
    assert GROUPS.penalty(-2 * z, 0.3) == pytest.approx(2 * wanted, rel=1e-13)


def test_the_penalty_does_not_know_the_basis_within_a_block(seed) -> None:
    z, turn = draw(seed), torch.block_diag(*(orthogonal(r, seed + r) for r in RANKS))
    assert GROUPS.penalty(z @ turn, 1.0) == pytest.approx(GROUPS.penalty(z, 1.0), rel=1e-12)
    across = orthogonal(13, seed)
    assert GROUPS.penalty(z @ across, 1.0) != pytest.approx(GROUPS.penalty(z, 1.0), rel=1e-6)


def test_gradient_of_the_norms_away_from_zero(seed) -> None:
    small = Groups(1, 1, 1, 2, (2, 1))
    assert torch.autograd.gradcheck(small.norms, (draw(seed, small.shape).requires_grad_(),))


def test_what_is_written_is_read_and_the_pool_stays(seed) -> None:
    decoder = turned(seed)
    before = [layer.attn.q.weight.clone() for layer in layers_of(decoder)]
    z = draw(seed).float()
    GROUPS.write(decoder, z)
    assert torch.equal(GROUPS.read(decoder), z)
    for layer, old in zip(layers_of(decoder), before, strict=True):
        assert torch.equal(layer.attn.q.weight[:, 13:], old[:, 13:])
    assert torch.equal(layers_of(decoder)[2].attn.k.weight[6:12, :13], z[2, 5])


def test_a_dead_group_reads_nothing_of_its_block(seed) -> None:
    decoder, (ids, _) = turned(seed).double(), random_text(2, 9, seed)
    z = GROUPS.read(decoder)
    z[1, 2, :, 3:9] = 0.0
    GROUPS.write(decoder, z)
    name, q = "blocks.1.ln1.hook_normalized", "blocks.1.attn.hook_q"

    def shifted(dims: slice) -> torch.Tensor:
        def move(x: torch.Tensor, hook: object) -> torch.Tensor:
            return torch.cat((x[..., : dims.start], 5 + x[..., dims], x[..., dims.stop :]), -1)

        decoder.reset_hooks()
        decoder.add_hook(name, move)
        found = decoder.run_with_cache(ids, names_filter=q)[1][q]
        decoder.reset_hooks()
        return found

    plain = decoder.run_with_cache(ids, names_filter=q)[1][q]
    in_dead, in_alive = shifted(slice(3, 9)), shifted(slice(9, 13))
    assert torch.allclose(in_dead[:, :, 2], plain[:, :, 2], atol=1e-12)
    assert (in_dead[:, :, 1] - plain[:, :, 1]).abs().max() > 0.1
    assert (in_alive[:, :, 2] - plain[:, :, 2]).abs().max() > 0.1


def test_exact_zeros_and_small_norms_are_two_counts() -> None:
    z = torch.ones(GROUPS.shape, dtype=torch.float64)
    z[0, 0, :, :3] = 0.0
    z[:, 5, :, 9:] = 0.0
    z[2, 1, :, :3] = 1e-200  # its square is 0, and it is none
    z[2, 4, :, 3:9] = 1e-4
    found = GROUPS.zeros(z)
    assert (found.groups, found.exact, found.small) == (54, 4, 2)
    assert found.by_block == (1 / 18, 0.0, 3 / 18)
    assert found.exact_share == 4 / 54 and found.small_share == 2 / 54
    assert GROUPS.alive(z)[2, 1, 0] and not GROUPS.alive(z)[0, 0, 0]


def test_key_heads_stand_once_for_each_query_head_they_serve() -> None:
    values = torch.arange(18.0).view(3, 6, 1).expand(3, 6, 3)
    found = GROUPS.by_side(values)
    assert found.shape == (3, 2, 4, 3)
    assert found[1, 0, :, 0].tolist() == [6, 7, 8, 9]
    assert found[1, 1, :, 0].tolist() == [10, 10, 11, 11]


def test_what_cannot_be_groups_is_refused(seed) -> None:
    for ranks in ((), (3, 0), (3, -1), (20, 5)):
        with pytest.raises(PenaltyError):
            Groups.of(TINY, ranks)
    with pytest.raises(PenaltyError, match="Gain of a norm"):
        GROUPS.read(lively_decoder())
    with pytest.raises(PenaltyError, match="Gain of a norm"):
        GROUPS.write(lively_decoder(), draw())
    with pytest.raises(SubspaceError):
        GROUPS.read(lively_decoder(), 2 * orthogonal(TINY.d_model, seed))
    spoiled = draw()
    spoiled[0, 0, 0, 0] = math.nan
    with pytest.raises(PenaltyError, match="finite"):
        GROUPS.zeros(spoiled)
    with pytest.raises(PenaltyError, match="these groups are"):
        GROUPS.zeros(draw()[:2])


def naive_share(decoder, ids: torch.Tensor, committed: int, layer: int, head: int) -> float:
    """By setting the pool's coordinates to 0 where attention reads them, row by row in numpy."""
    name = f"blocks.{layer}.attn.hook_attn_scores"

    def cut(x: torch.Tensor, hook: object) -> torch.Tensor:
        return torch.cat((x[..., :committed], 0 * x[..., committed:]), dim=-1)

    whole = decoder.run_with_cache(ids, names_filter=name)[1][name]
    decoder.add_hook(f"blocks.{layer}.ln1.hook_normalized", cut)
    kept = decoder.run_with_cache(ids, names_filter=name)[1][name]
    decoder.reset_hooks()
    lost_sum = kept_sum = 0.0
    for row in range(len(ids)):
        for i in range(1, ids.shape[1]):
            a, b = (s[row, head, i, : i + 1].numpy() for s in (whole, kept))
            lost_sum, kept_sum = lost_sum + np.var(a - b), kept_sum + np.var(b)
    return lost_sum / (lost_sum + kept_sum)


def test_the_share_of_the_pool_by_hooks_and_loops(seed) -> None:
    decoder, (ids, _) = turned(seed).double(), random_text(3, 9, seed)
    found = pool_share(decoder, GROUPS, ids)
    assert found.rows == 3 * 8
    for layer, head in ((0, 0), (1, 3), (2, 2)):
        wanted = naive_share(decoder, ids, 13, layer, head)
        assert float(found.by_head[layer, head]) == pytest.approx(wanted, rel=1e-9)
    assert 0.05 < found.overall < 0.95 and 0.05 < found.of_variance < 0.95
    assert found.by_side().shape == (3, 2, 4)


def test_the_share_at_its_ends(seed) -> None:
    decoder, (ids, _) = turned(seed).double(), random_text(2, 7, seed)
    all_committed = Groups.of(TINY, (24,))
    assert pool_share(decoder, all_committed, ids).overall == pytest.approx(0.0, abs=1e-25)
    GROUPS.write(decoder, 0 * draw())
    assert pool_share(decoder, GROUPS, ids).overall == 1.0
    for layer in layers_of(decoder):
        layer.attn.q.weight.zero_()
    still = pool_share(decoder, GROUPS, ids)
    assert still.overall == 0.0 == still.of_variance and (still.by_head == 0).all()


def test_the_share_is_no_explained_variance() -> None:
    """A pool that repeats the blocks' part, or cancels it, is not hidden."""
    V = torch.tensor([[4.0]], dtype=torch.float64)
    nothing = torch.zeros(1, 1, 2)
    assert PoolShare(V, V, nothing, nothing, 1).overall == 0.5  # s_pool = ± s_blocks
    assert PoolShare(1e6 * V, V, nothing, nothing, 1).overall > 0.999


def test_variance_counts_visible_keys_only() -> None:
    scores = torch.tensor([[1.0, 99.0, 99.0], [1.0, 3.0, 99.0], [1.0, 2.0, 3.0]])
    assert row_variance(scores).tolist() == pytest.approx([0.0, 1.0, 2 / 3])


def test_text_too_short_for_a_variance_is_refused() -> None:
    with pytest.raises(PenaltyError, match="two tokens"):
        pool_share(turned(), GROUPS, torch.zeros(3, 1, dtype=torch.int64))
    own = rotated(lively_decoder(replace(TINY, tied_embeddings=False)), orthogonal(24))
    assert pool_share(own, GROUPS, random_text(1, 5)[0]).rows == 4

"""The three traps: each really is one, on computed numbers and on a decoder."""

from __future__ import annotations

import math

import pytest
import torch

from model.errors import PenaltyError
from model.locality.penalties import Groups
from model.locality.stationarity import alpha_max
from model.locality.traps import bilinear_zero, dead_keys_draw, degenerate_penalty
from model.training.penalised import FixedSet, PenalisedLoss, Quadrature
from model.transformer.rotation import layers_of, rotated
from tests.factories import TINY, lively_decoder, random_text
from tests.test_rotation import orthogonal


def test_dead_keys_draw_e_to_the_zero() -> None:
    found = dead_keys_draw([1.0, 1.0], dead=6)
    assert found.dead_mass == pytest.approx(6 / (6 + 2 * math.e), rel=1e-14)
    assert found.masked_mass == 0.0 and sum(found.pattern) == pytest.approx(1.0)
    assert found.scores == (1.0, 1.0, *6 * (0.0,))
    assert dead_keys_draw([-2.0], dead=1).dead_mass > 0.88  # more than the living key


def test_the_margin_that_quiets_them_is_just_enough() -> None:
    found = dead_keys_draw([0.0, 0.0], dead=6, allowed=0.01)
    assert dead_keys_draw(2 * [found.margin_needed], 6).dead_mass == pytest.approx(0.01, rel=1e-12)
    assert dead_keys_draw(2 * [found.margin_needed - 0.01], 6).dead_mass > 0.01


def test_a_decoders_dead_key_groups_still_draw(seed) -> None:
    decoder = rotated(lively_decoder(seed=seed), orthogonal(TINY.d_model, seed))
    for layer in layers_of(decoder):
        layer.attn.k.weight.zero_()
    name = "blocks.1.attn.hook_pattern"
    pattern = decoder.run_with_cache(random_text(1, 8, seed)[0], names_filter=name)[1][name]
    assert torch.allclose(pattern[0, :, 7], torch.full((4, 8), 1 / 8))


def test_zero_on_both_sides_has_no_slope_and_one_side_has() -> None:
    found = bilinear_zero()
    assert found.slope_at_zero == 0.0 < found.slope_with_one_side
    assert set(found.losses_from_zero) == {found.losses_from_zero[0]}
    assert found.losses_from_zero[0] == pytest.approx(math.log(2))
    assert found.losses_from_small[-1] < found.losses_from_zero[-1] - 0.2
    assert found.lowest <= min(found.losses_from_small) + 1e-9


def test_a_decoder_without_a_pool_has_no_alpha_max(seed) -> None:
    data, quadrature = FixedSet(*random_text(4, 9, seed)), Quadrature((0.0,), (1.0,))
    for ranks, stuck in (((10, 14), True), ((10, 8), False)):
        groups = Groups.of(TINY, ranks)
        decoder = rotated(lively_decoder(seed=seed), orthogonal(TINY.d_model, seed))
        slope = PenalisedLoss(decoder, groups, data, quadrature)(torch.zeros(groups.shape))[1]
        assert bool((slope == 0).all()) == stuck
        if stuck:
            with pytest.raises(PenaltyError, match="bilinear zero"):
                alpha_max(slope, groups)
        else:
            assert alpha_max(slope, groups) > 0.0


def test_the_penalty_on_patterns_sees_no_difference_that_entropy_sees() -> None:
    found = degenerate_penalty()
    assert found.penalties == pytest.approx(3 * [0.5], rel=1e-14)
    assert found.entropies[0] == pytest.approx(2.0) and found.entropies[2] == pytest.approx(3.0)
    other = degenerate_penalty(((0.2, 0.5, 0.3), (1.0, 0.0, 0.0)), keys_per_block=9)
    assert other.penalties == pytest.approx(2 * [1 / 3], rel=1e-14)


def test_what_is_no_row_or_split_is_refused() -> None:
    for scores, dead, allowed in (([], 1, 0.1), ([0.0], 0, 0.1), ([0.0], 1, 0.0), ([0.0], 1, 1.0)):
        with pytest.raises(PenaltyError, match="Row of keys"):
            dead_keys_draw(scores, dead, allowed)
    for split in ((0.5, 0.6), (1.5, -0.5)):
        with pytest.raises(PenaltyError, match="Split of mass"):
            degenerate_penalty((split,))

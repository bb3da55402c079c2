"""The objective on a fixed set: its value, its gradient, its hash, and a model made stationary."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from model.errors import DialError, PenaltyError
from model.locality.dial import Dial
from model.locality.penalties import Groups
from model.locality.relevance import Relevance
from model.locality.stationarity import alpha_max, kkt_residual
from model.training.penalised import FixedSet, PenalisedLoss, Quadrature
from model.training.proximal import Stopped, minimise, start
from model.transformer.decoder import Decoder
from model.transformer.rotation import rotated
from tests.factories import TINY, lively_decoder, random_reads, random_text
from tests.test_rotation import orthogonal
from tests.test_training import documents

GROUPS = Groups.of(TINY, (3, 6, 4))
DIALS = Quadrature((0.0, 0.6, 1.0), (0.5, 0.2, 0.3))
READS = random_reads(TINY.n_layers, TINY.n_heads, rest=0.5)


def small(seed: int, dtype: torch.dtype = torch.float64, chunk: int = 32) -> PenalisedLoss:
    decoder = lively_decoder(seed=seed).to(dtype)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(0.5 if parameter.ndim == 2 else 1.0)
    turned = rotated(decoder, orthogonal(TINY.d_model, seed))
    return PenalisedLoss(turned, GROUPS, FixedSet(*random_text(5, 9, seed)), DIALS, READS, chunk)


def test_the_value_is_the_weighted_mean_of_the_losses(seed) -> None:
    f = small(seed)
    z = GROUPS.read(f.decoder)
    relevance = Relevance.compile(f.data.classes[:, :-1], READS, torch.float64)
    wanted = sum(
        weight * float(f.decoder.loss(f.data.ids, Dial(dial), relevance))
        for dial, weight in zip(DIALS.dials, DIALS.weights, strict=True)
    )
    value, gradient = f(z)
    assert value == pytest.approx(wanted, rel=1e-6) and f.value(z) == pytest.approx(value)
    assert gradient.shape == GROUPS.shape and gradient.dtype == torch.float64
    assert f.evaluations == 1 and f.data.tokens == 5 * 8


def test_the_gradient_against_differences(seed) -> None:
    f = small(seed)
    z, generator = GROUPS.read(f.decoder), torch.Generator().manual_seed(seed)
    slope = f(z)[1]
    for _ in range(4):
        d = torch.randn(GROUPS.shape, generator=generator, dtype=torch.float64)
        numeric = (f.value(z + 1e-5 * d) - f.value(z - 1e-5 * d)) / 2e-5
        assert float((slope * d).sum()) == pytest.approx(numeric, rel=1e-6, abs=1e-9)
    assert float(slope.flatten().abs().min()) > 0.0


def test_chunks_change_rounding_only_and_nothing_else_moves(seed) -> None:
    whole, parts = small(seed), small(seed, chunk=2)
    before = {name: value.clone() for name, value in parts.decoder.state_dict().items()}
    z = GROUPS.read(whole.decoder)
    (a, g), (b, h) = whole(z), parts(z)
    assert a == pytest.approx(b, rel=1e-13) and torch.allclose(g, h, atol=1e-14)
    for name, value in parts.decoder.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any(p.requires_grad or p.grad is not None for p in parts.decoder.parameters())


def test_a_model_becomes_stationary_and_its_file_proves_it(seed) -> None:
    f = small(seed, torch.float32)
    largest = alpha_max(f(torch.zeros(GROUPS.shape))[1], GROUPS)
    alpha = 0.8 * largest
    z = GROUPS.read(lively := small(seed, torch.float32).decoder)
    *_, end = minimise(f, GROUPS, alpha, start(f, z), 1e-3, 600, 1e-8)
    assert isinstance(end, Stopped) and end.reason == "stationary"
    zeros = GROUPS.zeros(end.step.state.z)
    assert 0 < zeros.exact < zeros.groups
    GROUPS.write(f.decoder, end.step.state.z)

    stored = load(save(dict(f.decoder.state_dict())))
    again = Decoder(f.decoder.config)
    again.load_state_dict(stored)
    check = PenalisedLoss(again, GROUPS, f.data, DIALS, READS)
    found = GROUPS.read(again)
    residual = kkt_residual(check(found)[1], found, GROUPS, alpha)
    assert residual.value == pytest.approx(end.step.residual.value, rel=1e-2)
    assert GROUPS.zeros(found).exact == zeros.exact
    assert kkt_residual(check(1.1 * found)[1], 1.1 * found, GROUPS, alpha).value > 1e-2
    assert check.sha256 == f.sha256 and lively is not again


def test_two_evaluations_agree_bit_for_bit(seed) -> None:
    f = small(seed, torch.float32)
    z = GROUPS.read(f.decoder)
    (a, g), (b, h) = f(z), f(z)
    assert a == b and torch.equal(g, h)


def test_the_fixed_set_follows_from_its_seed_and_its_hash_sees_everything(seed) -> None:
    data = FixedSet.draw(documents(), 100, 16, seed)
    assert data.ids.shape == (7, 17) and data.tokens == 112
    assert torch.equal(data.ids, FixedSet.draw(documents(), 100, 16, seed).ids)
    other = FixedSet.draw(documents(), 100, 16, seed + 1)
    changed = data.classes.clone()
    changed[0, 3] += 1
    hashes = {
        data.sha256(DIALS, READS),
        data.sha256(DIALS),
        other.sha256(DIALS, READS),
        FixedSet(data.ids, changed).sha256(DIALS, READS),
        data.sha256(replace(DIALS, weights=(0.5, 0.3, 0.2)), READS),
        data.sha256(replace(DIALS, gain=1.0), READS),
        data.sha256(DIALS, random_reads(TINY.n_layers, TINY.n_heads, 1)),
    }
    assert len(hashes) == 7 and all(len(each) == 64 for each in hashes)
    with pytest.raises(PenaltyError, match="Tokens of the objective set"):
        FixedSet.draw(documents(), 10**6, 16, seed)
    with pytest.raises(PenaltyError, match="Tokens of the objective set"):
        FixedSet.draw(documents(), 0, 16, seed)


def test_the_quadrature_is_exact_for_cubics() -> None:
    found = Quadrature.of_mixture(0.4, 0.4)
    assert found.dials[0] == 0.0 and found.dials[3] == 1.0
    x, w = np.array(found.dials), np.array(found.weights)
    for power in range(4):
        wanted = 0.4 * (power == 0) + 0.4 + 0.2 / (power + 1)
        assert float(w @ x**power) == pytest.approx(wanted, rel=1e-14)
    assert float(w @ x**4) != pytest.approx(0.44, abs=1e-5)
    assert Quadrature.of_mixture(0.5, 0.5).dials == (0.0, 1.0)
    assert Quadrature.of_mixture(0.4, 0.4, 1).dials == (0.0, 0.5, 1.0)


def test_what_is_no_objective_is_refused(seed) -> None:
    for dials, weights in (((0.0,), (0.5,)), ((0.0, 1.0), (1.0,)), ((0.0, 1.0), (1.5, -0.5))):
        with pytest.raises(PenaltyError, match="Weights of the dials"):
            Quadrature(dials, weights)
    with pytest.raises(DialError):
        Quadrature((1.5,), (1.0,))
    f = small(seed)
    with pytest.raises(PenaltyError, match="Reads"):
        PenalisedLoss(f.decoder, GROUPS, f.data, DIALS)
    with pytest.raises(PenaltyError, match="Gain of a norm"):
        PenalisedLoss(lively_decoder(), GROUPS, f.data, DIALS, READS)

"""Training: the objective, precision, batches, and a whole tiny run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from model.errors import ModelNotFoundError
from model.locality.dial import Dial
from model.training import loop
from model.training.batches import BatchStream, Documents
from model.training.objective import cross_entropy
from model.training.precision import products
from model.training.presets import PRESETS, preset
from model.transformer.decoder import Decoder
from tests.factories import N_CLASSES, TINY, class_names, lively_decoder


def test_objective_equals_torch_with_its_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(700, 24, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(61, 24, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 61, (700,), generator=generator)
    ours = cross_entropy(hidden, weight, targets, torch.float64)
    found = torch.autograd.grad(3.0 * ours, (hidden, weight))
    theirs = F.cross_entropy(hidden @ weight.T, targets)
    expected = torch.autograd.grad(3.0 * theirs, (hidden, weight))
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)
    for a, b in zip(found, expected, strict=True):
        assert (a - b).abs().max() <= 1e-6


def test_bfloat16_products_stay_near_float32_and_reach_every_weight() -> None:
    decoder = lively_decoder().requires_grad_(True)
    ids = torch.randint(0, 61, (4, 20), generator=torch.Generator().manual_seed(1))
    decoder.residual(ids).square().mean().backward()
    exact = {name: p.grad for name, p in decoder.named_parameters() if p.grad is not None}
    decoder.zero_grad(set_to_none=True)
    with products("bf16", torch.device("cpu")):
        decoder.residual(ids).square().mean().backward()
    near = {name: p.grad for name, p in decoder.named_parameters() if p.grad is not None}
    assert near.keys() == exact.keys() and len(near) == 28
    for name, grad in near.items():
        assert not torch.equal(grad, exact[name])
        assert F.cosine_similarity(grad.flatten(), exact[name].flatten(), dim=0) > 0.99, name


def documents(count: int = 60, seed: int = 0) -> Documents:
    """Texts in which each token tells the next one, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    ids, classes = [], []
    for _ in range(count):
        start, length = int(rng.integers(1, 60)), int(rng.integers(3, 30))
        doc = np.array([1 + (start + 7 * k) % 60 for k in range(length)])
        ids.append(doc)
        classes.append(doc % (N_CLASSES - 1))
    return Documents(ids, classes, bos_id=0, bos_class=N_CLASSES - 1)


def test_batches_keep_ids_and_classes_aligned_and_begin_with_bos() -> None:
    stream = iter(BatchStream(documents(), 16, 64, 3, seed=1))
    shapes = []
    for _, batch in zip(range(6), stream, strict=False):
        shapes.append(tuple(batch.ids.shape))
        assert (batch.ids[:, 0] == 0).all()
        is_bos = batch.ids == 0
        assert torch.equal(batch.classes == N_CLASSES - 1, is_bos)
        assert torch.equal(batch.classes[~is_bos], batch.ids[~is_bos] % (N_CLASSES - 1))
    assert shapes == [(4, 17), (4, 17), (1, 65)] * 2


RECIPE = replace(
    preset("trial"),
    total_tokens=64 * 60,
    discovery_tokens=64 * 20,
    batch_tokens=64,
    length=12,
    warmup_steps=5,
    learning_rate=1e-2,
    precision="fp32",
    relevant_share=0.5,
)


def run(seed: int = 3, recipe=RECIPE) -> tuple[Decoder, list[loop.Event]]:
    decoder = Decoder(TINY, seed)
    events = list(loop.train(decoder, documents(), documents(20, 9), recipe, class_names(), 10, 30))
    return decoder, events


def test_a_run_learns_discovers_and_reports() -> None:
    decoder, events = run()
    kinds = [type(event).__name__ for event in events]
    assert kinds.count("Discovered") == 1 and kinds[-1] == "Finished"
    losses = [e.loss for e in events if isinstance(e, loop.Progress)]
    assert losses[-1] < 0.6 * losses[0]
    last = [e for e in events if isinstance(e, loop.Evaluated)][-1]
    assert [e.dial for e in last.evaluations] == [0.0, 0.5, 1.0]
    assert last.evaluations[2].measures["fidelity"] == pytest.approx(1.0, abs=1e-6)
    assert last.evaluations[0].measures["fidelity"] < 0.999
    assert last.evaluations[0].nats_per_token < np.log(60)
    assert all(torch.isfinite(p).all() for p in decoder.parameters())


def test_two_runs_agree_bit_for_bit_and_the_seed_matters() -> None:
    first, second = run()[0].state_dict(), run()[0].state_dict()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    other = run(recipe=replace(RECIPE, seed=2))[0].state_dict()
    assert not torch.equal(first["embed.weight"], other["embed.weight"])


def test_a_twin_trains_at_dial_zero_only(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(loop, "sample_dials", lambda *args: seen.append(args))
    _, events = run(recipe=replace(RECIPE, sample_dial=False))
    assert not seen
    assert isinstance(events[-1], loop.Finished)
    assert events[-1].reads.rest == 0.5 and events[-1].reads.blocks.any()


def test_the_dial_is_sampled_as_the_recipe_says() -> None:
    generator = torch.Generator().manual_seed(0)
    dial = loop.sample_dials(preset("bundled"), 30_000, generator)
    assert isinstance(dial, Dial) and isinstance(dial.value, tuple)
    values = np.array(dial.value)
    assert (values == 0).mean() == pytest.approx(0.4, abs=0.02)
    assert (values == 1).mean() == pytest.approx(0.4, abs=0.02)
    between = values[(values > 0) & (values < 1)]
    assert between.mean() == pytest.approx(0.5, abs=0.02)


def test_learning_rate_rises_stays_and_falls() -> None:
    recipe = replace(RECIPE, total_tokens=64 * 1000, warmup_steps=100)
    rates = [loop.learning_rate(recipe, step) for step in (1, 100, 500, 600, 1000)]
    assert rates[0] == pytest.approx(1e-4)
    assert rates[1] == rates[2] == rates[3] == recipe.learning_rate
    assert rates[4] == pytest.approx(recipe.learning_rate * recipe.final_rate)


def test_presets_are_found_by_name() -> None:
    assert preset("twin").total_tokens == preset("bundled").total_tokens
    assert not preset("twin").sample_dial
    with pytest.raises(ModelNotFoundError, match="bundled"):
        preset("unknown")
    assert all(name == recipe.name for name, recipe in PRESETS.items())

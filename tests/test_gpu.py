"""The same numbers on CUDA as on the CPU; skipped, with the reason, where there is no GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from model.locality.dial import Dial
from model.locality.measures import MEASURES
from model.locality.relevance import Relevance
from model.locality.sweep import sweep_dials
from model.training import loop
from model.transformer.decoder import Decoder
from tests.factories import TINY, class_names, tiny_case
from tests.test_training import RECIPE, documents

pytestmark = pytest.mark.gpu


def on_gpu(relevance: Relevance) -> Relevance:
    moved = {
        name: value.cuda() if isinstance(value, torch.Tensor) else value
        for name, value in vars(relevance).items()
    }
    return Relevance(**moved)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_both_paths_agree_with_the_cpu(value: float) -> None:
    decoder, ids, relevance = tiny_case(batch=3, length=30)
    expected = decoder(ids, Dial(value), relevance)
    there, moved = decoder.cuda(), on_gpu(relevance)
    fused = there(ids.cuda(), Dial(value), moved).cpu()
    hooked = there.run_with_cache(ids.cuda(), Dial(value), moved)[0].cpu()
    assert (fused - expected).abs().max() <= 1e-3
    assert (hooked - expected).abs().max() <= 1e-3


def test_the_sweep_agrees_with_the_cpu() -> None:
    decoder, ids, relevance = tiny_case(batch=2, length=20)
    dials = [Dial(0.0), Dial(0.7), Dial(1.0)]
    expected = sweep_dials(decoder, ids, relevance, dials)
    found = sweep_dials(decoder.cuda(), ids.cuda(), on_gpu(relevance), dials)
    assert (found.nats.cpu() - expected.nats).abs().max() <= 1e-3
    for name in MEASURES:
        assert (found.measures[name].cpu() - expected.measures[name]).abs().max() <= 1e-3


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_learns_on_the_gpu(precision: str) -> None:
    decoder = Decoder(TINY, 3).cuda()
    recipe = replace(RECIPE, precision=precision)
    events = list(loop.train(decoder, documents(), documents(20, 9), recipe, class_names(), 10, 30))
    losses = [e.loss for e in events if isinstance(e, loop.Progress)]
    assert losses[-1] < 0.7 * losses[0]
    assert isinstance(events[-1], loop.Finished)

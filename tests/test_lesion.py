"""Lesions of single units: many at once against one hooked run each, and what they cannot do."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from model.errors import UnitError
from model.locality.dial import Dial
from model.locality.lesions import Site, effect_bits, lesioned_nats, read_site
from model.locality.relevance import Relevance
from tests.factories import TINY, lively_decoder, random_reads, random_text

UNITS = (0, 7, 23)
SITES = [Site(layer, kind) for layer in range(TINY.n_layers) for kind in ("mlp", "residual")]


def case(seed: int, batch: int = 3, length: int = 10):
    ids, classes = random_text(batch, length, seed)
    reads = random_reads(TINY.n_layers, TINY.n_heads, seed, rest=0.5)
    return lively_decoder(seed=seed), ids, Relevance.compile(classes, reads)


def hooked(decoder, ids, dial, relevance, site, unit, value, where):
    """One lesion by TransformerLens's own hooks, nats."""

    def replace(activation, hook):
        activation = activation.clone()
        activation[..., unit] = torch.where(where, value, activation[..., unit])
        return activation

    logits = decoder.run_with_hooks(ids, dial, relevance, fwd_hooks=[(site.hook, replace)])
    log_p = logits[:, :-1].double().log_softmax(dim=-1)
    return -log_p.gather(2, ids[:, 1:, None])[..., 0]


def not_first(ids: torch.Tensor) -> torch.Tensor:
    return (torch.arange(ids.shape[1]) > 0).expand(ids.shape)


@pytest.mark.parametrize("dial", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("site", SITES, ids=lambda site: site.hook)
def test_many_lesions_at_once_are_one_hooked_run_each(site, dial, seed, monkeypatch):
    monkeypatch.setattr("model.locality.lesions._LARGEST_STACK", 60)  # two units a stack
    decoder, ids, relevance = case(seed)
    where, setting = not_first(ids), Dial(dial, gain=2.0, temperature=1.5)
    reading = read_site(decoder, ids, setting, relevance, site)
    values = torch.tensor([0.0, 0.4, -1.3])
    found = lesioned_nats(decoder, reading, relevance, UNITS, values, where)
    assert found.shape == (3, *ids[:, 1:].shape)
    slow = [
        hooked(decoder, ids, setting, relevance, site, unit, value, where)
        for unit, value in zip(UNITS, values, strict=True)
    ]
    assert (found.double() - torch.stack(slow)).abs().max() < 1e-5
    # The comparison sees a lesion of another unit.
    assert (found[0].double() - slow[1]).abs().max() > 1e-3


def test_the_reading_is_the_plain_model(seed):
    decoder, ids, relevance = case(seed)
    dial = Dial(0.7)
    reading = read_site(decoder, ids, dial, relevance, Site(1))
    logits = decoder(ids, dial, relevance)[:, :-1]
    nats = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    torch.testing.assert_close(reading.nats.flatten(), nats, rtol=0, atol=1e-5)
    assert reading.activations.shape == (*ids.shape, TINY.d_mlp)
    assert not any(point.has_hooks() for point in decoder.hook_dict.values())


def test_a_unit_set_to_what_it_says_changes_nothing_and_the_past_never_changes(seed):
    decoder, ids, relevance = case(seed)
    reading = read_site(decoder, ids, Dial(0.5), relevance, Site(0))
    none = torch.zeros_like(ids, dtype=torch.bool)
    same = lesioned_nats(decoder, reading, relevance, UNITS, torch.zeros(3), none)
    torch.testing.assert_close(same, reading.nats.expand_as(same), rtol=0, atol=1e-5)
    late = torch.arange(ids.shape[1]).expand(ids.shape) >= 6
    found = lesioned_nats(decoder, reading, relevance, UNITS, torch.full((3,), 9.0), late)
    change = (found - reading.nats).abs()
    assert change[:, :, :6].max() < 1e-5
    assert change[:, :, 6:].max() > 1e-2


def test_the_effect_by_hand_in_bits():
    plain = torch.tensor([1.0, 1.0, 1.0, 1.0])
    lesioned = torch.tensor([[2.0, 3.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    own = torch.tensor([[True, True, False, False], [False] * 4])
    inside, outside = effect_bits(plain, lesioned, own)
    assert float(inside[0]) == pytest.approx(1.5 / math.log(2))
    assert float(outside[0]) == pytest.approx(-0.5 / math.log(2))
    assert math.isnan(float(inside[1]))
    assert float(outside[1]) == 0.0


def test_bad_sites_and_units_say_what_there_is(seed):
    decoder, ids, relevance = case(seed)
    with pytest.raises(UnitError, match="must be one of"):
        Site(0, "head")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UnitError, match="at least 0"):
        Site(-1)
    with pytest.raises(UnitError, match=r"\[0, 2\]"):
        read_site(decoder, ids, Dial(), relevance, Site(3))
    reading = read_site(decoder, ids, Dial(), relevance, Site(2))
    with pytest.raises(UnitError, match=r"\[0, 39\]"):
        lesioned_nats(decoder, reading, relevance, [40], torch.zeros(1), not_first(ids))
    with pytest.raises(UnitError, match="a value a unit"):
        lesioned_nats(decoder, reading, relevance, [0, 1], torch.zeros(1), not_first(ids))
    none = lesioned_nats(decoder, reading, relevance, [], torch.zeros(0), not_first(ids))
    assert none.shape == (0, *ids[:, 1:].shape)

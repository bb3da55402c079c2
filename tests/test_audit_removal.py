"""Removals as rows of one batch, held to one hooked run each, and to what they must not do."""

from __future__ import annotations

import math

import pytest
import torch

from model.errors import AuditError, DialError
from model.locality.dial import Dial, Schedule
from model.locality.reads import Reads
from model.locality.relevance import Relevance
from model.locality.removal import (
    INTERVENTIONS,
    Effects,
    Removal,
    relevance_without,
    removal_effects,
)
from model.transformer.decoder import Decoder
from tests.factories import N_CLASSES, TINY, lively_decoder, random_reads, random_text
from tests.naive_removal import log_probabilities

BLOCKS = (0, 2, 4)
REMOVALS = [Removal(kind, block) for kind in INTERVENTIONS for block in BLOCKS]
SETTINGS = [
    Dial(0.0),
    Dial(0.6, gain=2.0, temperature=1.5),
    Dial(0.9, schedule=Schedule("progressive")),
    Dial(1.0),
]


def case(
    seed: int, rest: float = 0.5, length: int = 12
) -> tuple[Decoder, torch.Tensor, torch.Tensor, Reads]:
    ids, classes = random_text(1, length, seed)
    classes[0, 1:4] = torch.tensor([0, 2, 4])  # every removal has something to remove
    reads = random_reads(TINY.n_layers, TINY.n_heads, seed, rest=rest)
    return lively_decoder(seed=seed), ids, classes, reads


def effects(seed: int, dial: Dial, rest: float = 0.5) -> Effects:
    decoder, ids, classes, reads = case(seed, rest)
    return removal_effects(decoder, ids, relevance_without(classes, reads, REMOVALS), dial)


@pytest.mark.parametrize("rest", [0.0, 0.5])
@pytest.mark.parametrize("dial", SETTINGS, ids=lambda dial: f"{dial.value}")
def test_many_removals_at_once_are_one_hooked_run_each(
    dial: Dial, rest: float, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.locality.removal._LARGEST_PART", 2 * 12 * TINY.d_vocab)
    found = effects(seed, dial, rest)
    decoder, ids, classes, reads = case(seed, rest)
    plain = log_probabilities(decoder, ids, classes[0].numpy(), reads, dial)
    usual = decoder(ids, dial, Relevance.compile(classes, reads))[0].double().log_softmax(-1)
    assert (plain - usual).abs().max() < 1e-4  # the reference is the model, where nothing is taken
    following = ids[0, 1:, None]
    assert found.top[0].tolist() == plain.argmax(-1).tolist()
    for index, removal in enumerate(REMOVALS):
        without = log_probabilities(
            decoder, ids, classes[0].numpy(), reads, dial, removal.intervention, removal.class_id
        )
        kl = (plain.exp() * (plain - without)).sum(-1) / math.log(2)
        actual = (plain - without)[:-1].gather(1, following)[:, 0] / math.log(2)
        assert (found.kl_bits[index] - kl).abs().max() < 1e-4
        assert (found.actual_bits[index] - actual).abs().max() < 1e-4
        assert (found.last_log_p[index + 1] - without[-1]).abs().max() < 1e-4
        assert found.top[index + 1].tolist() == without.argmax(-1).tolist()
    # The comparison sees the removal of another block.
    assert (found.kl_bits[3] - found.kl_bits[4]).abs().max() > 1e-2


def test_at_dial_0_only_attention_can_be_taken_away(seed: int) -> None:
    found = effects(seed, Dial(0.0))
    assert found.kl_bits[:3].max() < 1e-6
    assert found.kl_bits[3:].max() > 1e-2


def test_what_comes_before_a_block_keeps_its_predictions(seed: int) -> None:
    decoder, ids, classes, reads = case(seed)
    classes[0, 1:] = 1
    classes[0, 8] = 3
    rows = relevance_without(classes, reads, [Removal(kind, 3) for kind in INTERVENTIONS])
    found = removal_effects(decoder, ids, rows, Dial(0.8))
    assert found.kl_bits[:, :8].max() < 1e-6
    # Its own row sees itself in both; rows behind it may lose it.
    assert found.kl_bits[1, 9:].max() > 1e-3


def test_a_block_that_does_not_occur_takes_nothing_away(seed: int) -> None:
    decoder, ids, classes, reads = case(seed)
    classes[classes == 5] = 1
    rows = relevance_without(classes, reads, [Removal(kind, 5) for kind in INTERVENTIONS])
    found = removal_effects(decoder, ids, rows, Dial(0.8))
    assert found.kl_bits.max() < 1e-6 and found.actual_bits.abs().max() < 1e-5
    assert torch.equal(found.top[0].expand(2, -1), found.top[1:])


@pytest.mark.parametrize("rest", [0.0, 0.5])
def test_the_largest_relevance_of_a_row_is_that_of_its_table(seed: int, rest: float) -> None:
    _, _, classes, reads = case(seed, rest)
    rows = relevance_without(classes, reads, REMOVALS)
    for layer in range(TINY.n_layers):
        assert torch.equal(rows.raw(layer).amax(dim=-1), rows.largest(layer))
    plain = Relevance.compile(classes, reads)
    assert torch.equal(plain.raw(1)[0], rows.raw(1)[0])
    assert torch.equal(plain.by_block(1)[0], rows.by_block(1)[0])
    assert torch.equal(plain.tops[:, 0], rows.tops[:, 0])


def test_bad_removals_say_what_is_wrong(seed: int) -> None:
    decoder, ids, classes, reads = case(seed)
    with pytest.raises(AuditError, match="must be one of"):
        Removal("erase", 0)  # pyright: ignore[reportArgumentType]
    for block in (-1, N_CLASSES - 1):
        with pytest.raises(AuditError, match=r"\[0, 5\]"):
            relevance_without(classes, reads, [Removal("attention", block)])
    with pytest.raises(AuditError, match="one prompt"):
        relevance_without(classes.repeat(2, 1), reads, REMOVALS)
    rows = relevance_without(classes, reads, [])
    assert removal_effects(decoder, ids, rows, Dial(0.5)).kl_bits.shape == (0, 12)
    with pytest.raises(DialError, match="tokens are"):
        removal_effects(decoder, ids[:, :5], rows, Dial(0.5))

"""Relevance and measures against plain loops over one row at a time."""

from __future__ import annotations

import math

import pytest
import torch

from model.errors import PartitionError
from model.locality.bias import dial_bias, dial_biases
from model.locality.dial import Dial, strength
from model.locality.discovery import AttentionStatistics
from model.locality.measures import MASSES, MEASURES, Masks, row_measures
from model.locality.reads import Reads
from model.locality.relevance import Relevance
from model.locality.sweep import sweep_dials
from tests.factories import (
    N_CLASSES,
    TINY,
    class_names,
    lively_decoder,
    random_reads,
    random_text,
    tiny_case,
)

SINK_CLASS = N_CLASSES - 1


def relevance_by_hand(classes: list[int], reads: Reads, layer: int, head: int) -> list[list[float]]:
    rows = []
    for i, a in enumerate(classes):
        row = []
        for j, b in enumerate(classes):
            allowed = reads.allowances[layer, head, a].tolist()
            relevant = bool(reads.blocks[layer, head, a, b])
            relevant |= allowed[0] and j == i
            relevant |= allowed[1] and j == i - 1
            relevant |= allowed[2] and b == SINK_CLASS
            resting = reads.rest if b == SINK_CLASS else 0.0
            row.append((1.0 if relevant else resting) if j <= i else 0.0)
        rows.append(row)
    return rows


@pytest.mark.parametrize("seed", range(5))
def test_relevance_equals_the_rules_read_one_pair_at_a_time(seed: int) -> None:
    _, classes = random_text(2, 13, seed)
    classes[1, 6] = SINK_CLASS
    reads = random_reads(2, 3, seed, rest=0.25 * seed / 2)
    relevance = Relevance.compile(classes, reads)
    for layer in range(2):
        for row in range(2):
            for head in range(3):
                expected = relevance_by_hand(classes[row].tolist(), reads, layer, head)
                assert relevance.raw(layer)[row, head].tolist() == expected


@pytest.mark.parametrize("rest", [0.0, 0.5])
@pytest.mark.parametrize("share", [0.02, 0.3])
@pytest.mark.parametrize("few_classes", [True, False])
def test_the_largest_relevance_of_a_row_is_known_from_the_classes_seen(
    rest: float, share: float, few_classes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not few_classes:
        monkeypatch.setattr("model.locality.relevance._BITS", 1)
    for seed in range(4):
        _, classes = random_text(3, 20, seed)
        classes[1, 0], classes[2, 9] = 0, SINK_CLASS
        reads = random_reads(2, 3, seed, share, rest=rest)
        relevance = Relevance.compile(classes, reads)
        visible = torch.ones(20, 20, dtype=torch.bool).tril()
        for layer in range(2):
            raw, dense = relevance.raw(layer), relevance.dense(layer)
            assert torch.equal(relevance.largest(layer), raw.amax(-1))
            assert torch.equal(relevance.fallback(layer), raw.amax(-1) == 0)
            gap = dense.amax(-1, keepdim=True) - dense
            assert torch.equal(relevance.gap(layer)[..., visible], gap[..., visible])
            causal = torch.full((20, 20), float("-inf")).triu(1)
            for lmbda in ((0.0, 0.4, 1.0), (0.7,), (1.0,)):
                forces = strength(torch.tensor(lmbda).double(), 4.0)[:, None].expand(-1, 3)
                expected = dial_bias(gap, forces, causal)
                found = dial_biases(relevance, [None, forces] if layer else [forces, None])[layer]
                assert torch.allclose(found.rows(), expected, atol=1e-5)
                assert torch.allclose(found.rows(7, 15), expected[:, :, 7:15, :15], atol=1e-5)


def test_a_head_rests_on_the_sink_only_where_it_reads_nothing() -> None:
    blocks = torch.zeros(1, 1, N_CLASSES, N_CLASSES, dtype=torch.bool)
    blocks[..., 2] = True
    nothing = torch.zeros(1, 1, N_CLASSES, 3, dtype=torch.bool)
    reads = Reads(blocks, nothing, class_names(), rest=0.5)
    relevance = Relevance.compile(torch.tensor([[SINK_CLASS, 1, 2, 1]]), reads)
    assert relevance.raw(0)[0, 0, 1].tolist() == [0.5, 0, 0, 0]
    assert relevance.raw(0)[0, 0, 3].tolist() == [0.5, 0, 1, 0]
    assert relevance.largest(0)[0, 0].tolist() == [0.5, 0.5, 1, 1]
    assert not relevance.fallback(0).any()
    with pytest.raises(PartitionError, match="below what is read"):
        Reads(blocks, nothing, class_names(), rest=1.0)


def measures_by_hand(p: list[float], r: list[float], classes: list[int], by_block: list[bool]):
    i = len(p) - 1
    found = dict.fromkeys(MEASURES, 0.0)
    for j, mass in enumerate(p):
        found["entropy_bits"] -= mass * math.log2(mass) if mass > 0 else 0.0
        if j == i:
            name = "self_share"
        elif classes[j] == SINK_CLASS:
            name = "sink_share"
        elif j == i - 1:
            name = "previous_share"
        else:
            name = "semantic_share" if by_block[j] else "other_share"
        found[name] += mass
        if r[j] == max(r) and r[j] > 0:
            found["fidelity"] += mass
            found["relevant_share"] += 1 / len(p)
    found["entropy_normalised"] = found["entropy_bits"] / math.log2(len(p)) if i else 0.0
    found["fallback_share"] = float(max(r) == 0)
    return found


@pytest.mark.parametrize("value", [0.0, 0.7, 1.0])
def test_measures_equal_plain_loops(value: float) -> None:
    decoder, ids, _ = tiny_case(length=12)
    _, classes = random_text(2, 12)
    classes[0, 5] = SINK_CLASS
    reads = random_reads(TINY.n_layers, TINY.n_heads, seed=3, share=0.12)
    relevance = Relevance.compile(classes, reads)
    assert any(relevance.fallback(layer).any() for layer in range(3))
    _, cache = decoder.run_with_cache(ids, Dial(value), relevance)
    for layer in range(TINY.n_layers):
        pattern = cache[f"blocks.{layer}.attn.hook_pattern"].double()
        found = row_measures(pattern, Masks.of(relevance, layer))
        assert set(found) == set(MEASURES)
        for b in range(2):
            for h in range(TINY.n_heads):
                r = relevance_by_hand(classes[b].tolist(), reads, layer, h)
                for i in range(12):
                    seen = classes[b, : i + 1].tolist()
                    by_block = [bool(reads.blocks[layer, h, seen[-1], c]) for c in seen]
                    expected = measures_by_hand(
                        pattern[b, h, i, : i + 1].tolist(), r[i][: i + 1], seen, by_block
                    )
                    for name, number in expected.items():
                        assert found[name][b, h, i].item() == pytest.approx(number, abs=1e-6), name
        assert torch.allclose(sum(found[m] for m in MASSES), torch.ones(()).double(), atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_sweep_equals_one_hooked_call_a_dial(temperature: float) -> None:
    decoder, ids, relevance = tiny_case(batch=3, length=17)
    dials = [Dial(v, gain=3.0, temperature=temperature) for v in (0.0, 0.25, 0.9, 1.0)]
    found = sweep_dials(decoder, ids, relevance, dials)
    for index, dial in enumerate(dials):
        logits, cache = decoder.run_with_cache(ids, dial, relevance)
        nats = -logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
        assert (found.nats[index] - nats).abs().max() <= 2e-5
        assert (found.next_logits[index] - logits[:, -1]).abs().max() <= 2e-5
        for layer in range(TINY.n_layers):
            pattern = cache[f"blocks.{layer}.attn.hook_pattern"]
            expected = row_measures(pattern, Masks.of(relevance, layer))
            for name in MEASURES:
                assert (found.measures[name][layer, index] - expected[name]).abs().max() <= 2e-5


def test_a_sweep_in_parts_is_the_same_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, ids, relevance = tiny_case(batch=2, length=9)
    dials = [Dial(v) for v in (0.0, 0.2, 0.5, 0.9, 1.0)]
    whole = sweep_dials(decoder, ids, relevance, dials)
    monkeypatch.setattr("model.locality.sweep._LARGEST_PART", 2 * 2 * TINY.n_heads * 81)
    parts = sweep_dials(decoder, ids, relevance, dials)
    assert parts.nats.shape == whole.nats.shape == (5, 2, 8)
    assert (parts.nats - whole.nats).abs().max() <= 1e-5
    assert (parts.next_logits - whole.next_logits).abs().max() <= 1e-5
    for name in MEASURES:
        assert parts.measures[name].shape == (3, 5, 2, TINY.n_heads, 9)
        assert (parts.measures[name] - whole.measures[name]).abs().max() <= 1e-5


def test_discovery_finds_the_planted_reads() -> None:
    """Heads that put all their mass on one class are given that class, within the budget."""
    n, heads = N_CLASSES, 3
    _, classes = random_text(8, 30, seed=2)
    relation = Relevance.compile(classes, random_reads(1, heads)).relation
    patterns = torch.full((8, heads, 30, 30), 1e-4).tril()
    for head in range(heads):
        patterns[:, head] += (classes == head)[:, None, :] * torch.ones(30, 30).tril()
    patterns /= patterns.sum(-1, keepdim=True)
    statistics = AttentionStatistics.empty(1, heads, n)
    statistics.add([patterns], classes, relation)
    reads = statistics.choose(0.30, class_names())
    queries = [q for q in range(n - 1) if statistics.rows[q] > 0]
    for head in range(heads):
        for query in queries:
            assert reads.blocks[0, head, query, head]
    assert not reads.blocks[..., SINK_CLASS].any() and reads.rest == 0.5
    shares = [
        float(Masks.of(Relevance.compile(classes, reads), 0).relevant.float().tril()[:, h].sum())
        for h in range(heads)
    ]
    assert min(shares) > 0
    found = Relevance.compile(classes, reads)
    share = row_measures(patterns, Masks.of(found, 0))["relevant_share"]
    share = share * (found.largest(0) == 1)  # rows at rest read nothing
    share[..., 1] = 0  # here the previous token is the sink
    assert float(share[..., 1:].mean(dim=(0, 2)).max()) <= 0.30 + 1e-6
    assert reads.allowances[..., :2].any()
    open_sinks = [
        int(statistics.choose(0.3, class_names(), sink_worth=w).allowances[..., 2].sum())
        for w in (0.0, 1.0, 1e6)
    ]
    assert open_sinks[0] == 0 and open_sinks[0] <= open_sinks[1] <= open_sinks[2] > 0
    assert not statistics.choose(0.30, class_names(), ()).allowances[..., :2].any()


def test_reads_round_trip_and_refuse() -> None:
    reads = random_reads(2, 3, rest=0.25)
    data = reads.to_dict()
    again = Reads.from_dict(data, class_names(), 2, 3)
    assert again.rest == 0.25
    assert torch.equal(again.blocks, reads.blocks)
    assert torch.equal(again.allowances, reads.allowances)
    with pytest.raises(PartitionError, match="6 heads"):
        Reads.from_dict({**data, "heads": data["heads"][:-1]}, class_names(), 2, 3)
    with pytest.raises(PartitionError, match="stand once"):
        Reads.from_dict({**data, "heads": data["heads"] * 2}, class_names(), 2, 3)
    with pytest.raises(PartitionError, match="partition's classes"):
        Reads.from_dict(data, class_names(6), 2, 3)
    data["heads"][0]["reads"]["C0"] = ["UNICORN"]
    with pytest.raises(PartitionError, match="UNICORN"):
        Reads.from_dict(data, class_names(), 2, 3)


def test_classes_of_other_blocks_are_refused() -> None:
    reads = random_reads(1, 1)
    for wrong in (torch.tensor([[0, 7]]), torch.tensor([[-1, 0]]), torch.zeros(1, 0).long()):
        with pytest.raises(PartitionError):
            Relevance.compile(wrong, reads)


def test_describe_names_what_a_head_reads() -> None:
    blocks = torch.zeros(1, 1, N_CLASSES, N_CLASSES, dtype=torch.bool)
    blocks[..., 1] = True
    allowances = torch.zeros(1, 1, N_CLASSES, 3, dtype=torch.bool)
    allowances[..., 2] = True
    assert Reads(blocks, allowances, class_names()).describe(0, 0) == "C1; also sink"


def test_lively_decoder_is_not_degenerate() -> None:
    """The references would agree on a model that attends uniformly; this one does not."""
    ids, _ = random_text(1, 20)
    _, cache = lively_decoder().run_with_cache(ids)
    assert cache["blocks.1.attn.hook_pattern"][0, :, -1].max() > 0.3

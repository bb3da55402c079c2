"""Rules and relevance: against pairs read one at a time, causal, withdrawn to the last bit."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.errors import RuleError
from model.locality.bias import dial_bias, dial_biases
from model.locality.dial import Dial
from model.locality.measures import Masks, row_measures
from model.locality.relevance import Relevance
from model.locality.sweep import sweep_dials
from model.rules.binding import Bound, Vocabulary, bind, resolve
from model.rules.firing import fired
from model.rules.injection import acting, applies, inject
from model.rules.rule import Condition, RuleSet
from model.rules.toml_file import load_rules
from model.transformer.checkpoint import LoadedModel
from tests.factories import N_CLASSES, TINY, class_names, lively_decoder, random_reads, random_text
from tests.rule_models import naive_relevance, rule, tiny_vocabulary
from workbench import paths
from workbench.models import open_model

SAMPLE = paths.SAMPLE_DATA / "rules" / "kitchen.toml"
WORDS = Vocabulary(
    class_names(), TINY.n_layers, TINY.n_heads, (None, *(bytes([33 + i]) for i in range(60)))
)


def random_rules(rng: np.random.Generator, count: int = 6) -> Bound:
    made = []
    for number in range(count):
        names = rng.choice(class_names(), size=rng.integers(1, 4), replace=False)
        when = Condition(blocks=tuple(rng.choice(class_names(), size=3, replace=False)))
        scope = tuple(int(x) for x in rng.choice(TINY.n_heads, size=2, replace=False))
        made.append(
            rule(
                f"r{number}",
                " ".join(names),
                when,
                strength=float(rng.choice([0.0, 0.25, 0.5, 1.0])),
                effect=str(rng.choice(["add", "only"])),
                priority=number,
                heads=scope if rng.random() < 0.5 else None,
            )
        )
    return bind(RuleSet(tuple(made)), WORDS)


def tiny_case(
    rng: np.random.Generator, rest: float
) -> tuple[torch.Tensor, Relevance, Bound, np.ndarray]:
    seed = int(rng.integers(10**6))
    ids, classes = random_text(3, 13, seed)
    classes[1, 6] = N_CLASSES - 1
    reads = random_reads(TINY.n_layers, TINY.n_heads, seed, share=0.15, rest=rest)
    bound = random_rules(rng)
    return ids, Relevance.compile(classes, reads), bound, rng.random((3, 13, len(bound))) < 0.4


@pytest.mark.parametrize("rest", [0.0, 0.5])
@pytest.mark.parametrize("turn", range(4))
def test_relevance_under_rules_equals_what_their_text_says(
    rng: np.random.Generator, rest: float, turn: int
) -> None:
    for _ in range(turn):
        rng.random(7)
    _, base, bound, where = tiny_case(rng, rest)
    found = inject(base, bound, where)
    changed = 0
    for layer in range(TINY.n_layers):
        raw = found.raw(layer)
        assert torch.equal(found.largest(layer), raw.amax(-1))
        for row in range(3):
            for head in range(TINY.n_heads):
                expected = naive_relevance(base, bound, where, layer, row, head)
                assert raw[row, head].double().numpy() == pytest.approx(expected, abs=1e-7)
                changed += int((expected != base.raw(layer)[row, head].numpy()).sum())
    assert changed > 50  # the comparison is on cases that rules decide


def test_the_reference_notices_a_wrong_precedence(rng: np.random.Generator) -> None:
    _, base, bound, where = tiny_case(rng, 0.0)
    where[:] = True
    wrong = replace(bound, precedence=bound.precedence[::-1].copy())
    found = inject(base, bound, where)
    differs = [
        np.abs(
            found.raw(layer)[0, head].numpy() - naive_relevance(base, wrong, where, layer, 0, head)
        )
        for layer in range(TINY.n_layers)
        for head in range(TINY.n_heads)
    ]
    assert max(each.max() for each in differs) > 0.1


@pytest.mark.parametrize("value", [0.3, 1.0])
def test_bias_and_measures_read_rules_as_they_read_blocks(
    rng: np.random.Generator, value: float
) -> None:
    ids, base, bound, where = tiny_case(rng, 0.5)
    found = inject(base, bound, where)
    decoder = lively_decoder()
    strengths = [s for s, _ in decoder.settings(ids.shape, Dial(value), found)]
    causal = torch.full((13, 13), float("-inf")).triu(1)
    for layer, bias in enumerate(dial_biases(found, strengths)):
        force = strengths[layer]
        assert bias is not None and force is not None
        expected = dial_bias(found.gap(layer), force, causal)
        assert torch.allclose(bias.rows(), expected, rtol=1e-5, atol=1e-5)
    swept = sweep_dials(decoder, ids, found, [Dial(value)])
    _, cache = decoder.run_with_cache(ids, Dial(value), found)
    measured = row_measures(cache["blocks.0.attn.hook_pattern"], Masks.of(found, 0))
    for name, rows in measured.items():
        assert torch.allclose(swept.measures[name][0, 0], rows, atol=1e-5), name
    assert torch.isfinite(decoder(ids, Dial(1.0), found)).all()


def test_dial_zero_is_the_plain_model_bit_for_bit(rng: np.random.Generator) -> None:
    ids, base, bound, where = tiny_case(rng, 0.0)
    decoder = lively_decoder()
    found = inject(base, bound, where)
    assert torch.equal(decoder(ids), decoder(ids, Dial(0.0), found))
    assert not torch.equal(decoder(ids), decoder(ids, Dial(0.5), found))


def test_a_rule_that_reads_all_keys_alone_is_the_plain_model(rng: np.random.Generator) -> None:
    """With r = R for every key no bias is left, and the dial says nothing."""
    ids, base, _, _ = tiny_case(rng, 0.0)
    every = bind(RuleSet((rule("all", " ".join(class_names()), effect="only"),)), WORDS)
    found = inject(base, every, np.ones((*ids.shape, 1), dtype=bool))
    assert all((found.gap(layer).tril() == 0).all() for layer in range(TINY.n_layers))
    decoder = lively_decoder()
    assert torch.allclose(decoder(ids), decoder(ids, Dial(1.0), found), atol=1e-5)


def test_no_rule_that_applies_costs_nothing_and_changes_nothing(rng: np.random.Generator) -> None:
    _, base, bound, where = tiny_case(rng, 0.0)
    assert inject(base, bound, np.zeros_like(where)) is base
    nothing = bind(RuleSet(), WORDS)
    assert inject(base, nothing, np.zeros((3, 13, 0), dtype=bool)) is base
    weak = bind(RuleSet((rule("weak", "C0", strength=0.0, effect="only"),)), WORDS)
    same = inject(base, weak, np.ones((3, 13, 1), dtype=bool))
    for layer in range(TINY.n_layers):
        assert torch.equal(same.raw(layer), base.raw(layer))


def test_a_rule_says_nothing_before_a_key_it_reads_is_in_sight() -> None:
    classes = torch.tensor([[N_CLASSES - 1, 1, 0, 1]])
    base = Relevance.compile(classes, random_reads(TINY.n_layers, TINY.n_heads, share=0.0))
    bound = bind(RuleSet((rule("food", "C0", effect="only", strength=0.5),)), WORDS)
    always = np.ones((1, 4, 1), dtype=bool)
    assert applies(bound, classes, always)[0, :, 0].tolist() == [False, False, True, True]
    found = inject(base, bound, always)
    assert torch.equal(found.raw(0)[0, 0, :2], base.raw(0)[0, 0, :2])
    assert found.raw(0)[0, 0, 3].tolist() == [0.0, 0.0, 0.5, 0.0]


def test_a_beaten_rule_beats_no_other() -> None:
    """The first silences the second, whose silence lets the third speak."""
    rules = (
        rule("one", "C0", priority=3),
        rule("two", "C1", priority=2),
        rule("three", "C0 C2", priority=1),
    )
    bound = bind(RuleSet(rules), WORDS)
    assert acting(bound, (0, 1, 2)).any(axis=(1, 2)).tolist() == [True, False, True]
    assert acting(bound, (1, 2)).any(axis=(1, 2)).tolist() == [True, False]
    narrow = replace(rules[0], heads=(1,))
    some = acting(bind(RuleSet((narrow, *rules[1:])), WORDS), (0, 1, 2))
    assert some[1, 0].tolist() == [True, False, True, True]


@pytest.fixture(scope="module")
def bundled() -> LoadedModel:
    return open_model("bundled", "cpu")


def bundled_text(model: LoadedModel) -> tuple[list[int], list[int], Relevance]:
    from model.blocks.membership import MembershipTable

    text = "fruit that people eat with bread in the house of a doctor; " * 12
    ids = model.tokenizer.encode_with_bos(text)[:128]
    table = MembershipTable(model.tokenizer.token_bytes, model.partition, model.lexicon)
    classes = table.classes_for_ids(np.array(ids))
    return ids, classes.tolist(), Relevance.compile(torch.from_numpy(classes)[None], model.reads)


def words_of(model: LoadedModel) -> Vocabulary:
    config = model.config
    names = model.partition.class_names
    return Vocabulary(names, config.n_layers, config.n_heads, model.tokenizer.token_bytes)


@torch.inference_mode()
def test_injection_and_withdrawal_on_the_bundled_model(bundled: LoadedModel) -> None:
    """In under 50 ms each, and what was before comes back to the last bit."""
    ids, classes, base = bundled_text(bundled)
    tokens, dial = torch.tensor([ids]), Dial(0.8)
    assert tokens.shape == (1, 128)
    words, rules = words_of(bundled), load_rules(SAMPLE)
    plain, before = bundled.decoder(tokens), bundled.decoder(tokens, dial, base)
    spent = []
    for _ in range(5):
        start = time.perf_counter()
        bound = bind(rules, words)
        under = inject(base, bound, fired(bound, [ids], [classes]))
        spent.append(time.perf_counter() - start)
    assert min(spent) < 0.05
    during = bundled.decoder(tokens, dial, under)
    assert (during - before).abs().max() > 0.1
    assert torch.equal(bundled.decoder(tokens, Dial(0.0), under), plain)
    start = time.perf_counter()
    left = bind(RuleSet(), words)
    after = inject(base, left, fired(left, [ids], [classes]))
    assert time.perf_counter() - start < 0.05
    assert torch.equal(bundled.decoder(tokens, dial, after), before)
    recompiled = bundled_text(bundled)[2]
    assert torch.equal(bundled.decoder(tokens, dial, recompiled), before)


@torch.inference_mode()
def test_withdrawing_one_rule_is_as_if_it_had_never_been(bundled: LoadedModel) -> None:
    ids, classes, base = bundled_text(bundled)
    tokens, dial, words = torch.tensor([ids]), Dial(0.8), words_of(bundled)
    rules = load_rules(SAMPLE)
    few = rules.without("eating-reads-food")
    more = few.plus(rules.rule("eating-reads-food"))
    found = {}
    for name, each in (("few", few), ("all", rules), ("again", more.without("eating-reads-food"))):
        bound = bind(each, words)
        under = inject(base, bound, fired(bound, [ids], [classes]))
        found[name] = bundled.decoder(tokens, dial, under)
    assert more.content_hash == rules.content_hash
    assert torch.equal(found["few"], found["again"])
    assert not torch.equal(found["few"], found["all"])
    # A column set to False is the same withdrawal, so that many can run along one batch.
    bound = bind(rules, words)
    where = np.repeat(fired(bound, [ids], [classes]), 2, axis=0)
    where[1, :, bound.index("eating-reads-food")] = False
    both = Relevance.compile(torch.tensor([classes, classes]), bundled.reads)
    logits = bundled.decoder(tokens.repeat(2, 1), dial, inject(both, bound, where))
    assert torch.allclose(logits[0], found["all"][0], atol=1e-4)
    assert torch.allclose(logits[1], found["few"][0], atol=1e-4)


def test_rules_of_another_model_and_double_injection_are_refused(
    rng: np.random.Generator,
) -> None:
    _, base, bound, where = tiny_case(rng, 0.0)
    where[:] = True
    with pytest.raises(RuleError, match="another model"):
        inject(base, resolve(RuleSet(), tiny_vocabulary()), np.zeros((3, 13, 0), dtype=bool))
    with pytest.raises(RuleError, match="injected already"):
        inject(inject(base, bound, where), bound, where)
    with pytest.raises(RuleError, match="Firing"):
        inject(base, bound, where[:, :4])

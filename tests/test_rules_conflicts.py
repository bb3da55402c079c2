"""Binding, precedence, conflicts with their examples, and what differs between two sets."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from model.errors import RuleError
from model.locality.dial import Dial
from model.locality.relevance import Relevance
from model.rules.binding import bind, clashes, resolve
from model.rules.comparison import difference, effect
from model.rules.conflicts import add, conflicts
from model.rules.firing import fired
from model.rules.injection import inject
from model.rules.rule import Condition, RuleSet
from tests.factories import lively_decoder
from tests.model_dirs import TEXTS, tiny_config, tiny_reads
from tests.rule_models import rule, sentence, tiny_vocabulary

FOOD = rule("food", "FOOD", Condition(tokens=(" the",)), priority=2)
ANIMAL = rule("animal", "ANIMAL", Condition(blocks=("FUNCTION",)))
SENTENCES = [sentence(text) for text in TEXTS]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reads": ("UNICORN",)}, "UNICORN.*no block of this model.*FUNCTION, ANIMAL"),
        ({"when": Condition(blocks=("<b>",))}, "when.blocks of rule x is '<b>'"),
        ({"when": Condition(tokens=("the cat",))}, "no single token"),
        ({"layers": (2,)}, "layers 0 to 1"),
        ({"heads": (0, 4)}, "heads 0 to 3"),
        ({"over": ("ghost",)}, "names no rule"),
        ({"over": ("x",)}, "x over x.*circle"),
    ],
)
def test_what_a_model_lacks_is_named(changes: dict[str, object], said: str) -> None:
    keys = {"when": Condition(first=0), "reads": ("FOOD",), **changes}
    made = rule("x", " ".join(keys.pop("reads")), keys.pop("when"), **keys, line=7)  # pyright: ignore
    with pytest.raises(RuleError, match=rf"Line 7: .*{said}"):
        bind(RuleSet((made,)), tiny_vocabulary())


def test_a_circle_of_priorities_is_named_and_a_long_chain_is_none() -> None:
    ring = [rule(f"r{n}", "FOOD", over=(f"r{(n + 1) % 5}",)) for n in range(5)]
    with pytest.raises(RuleError, match=r"r0 over r1 over r2 over r3 over r4 over r0.*circle"):
        bind(RuleSet(tuple(ring)), tiny_vocabulary())
    chain = [rule(f"r{n}", "FOOD", over=(f"r{n + 1}",) if n < 999 else ()) for n in range(1000)]
    start = time.process_time()
    bound = bind(RuleSet(tuple(chain)), tiny_vocabulary())
    assert time.process_time() - start < 5
    assert bound.precedence.tolist() == list(range(999, -1, -1))


def test_over_beats_any_number_and_carries_on() -> None:
    low = rule("low", "FOOD", over=("high",), priority=-5)
    high = rule("high", "ANIMAL", priority=50)
    top = rule("top", "SIGN", over=("low",))
    between = rule("between", "FOOD", priority=51, heads=(0,))
    bound = resolve(RuleSet((high, low, top, between)), tiny_vocabulary())
    found = {each.id: int(p) for each, p in zip(bound.rules, bound.precedence, strict=True)}
    assert found == {"high": 50, "low": 51, "top": 52, "between": 51}


def test_equal_priorities_are_refused_where_they_decide() -> None:
    with pytest.raises(
        RuleError, match=r"animal and food is 0.*4 of|animal and food is 0: is the s"
    ):
        bind(RuleSet((rule("food", "FOOD"), rule("animal", "ANIMAL"))), tiny_vocabulary())
    harmless = [
        ({}, {"reads": "FOOD ANIMAL"}),
        ({"layers": (0,)}, {"layers": (1,)}),
        ({"heads": (0, 1)}, {"heads": (2,)}),
        ({"when": Condition(first=0, last=3)}, {"when": Condition(first=4)}),
        ({"when": Condition(blocks=("FOOD",))}, {"when": Condition(blocks=("NONE",))}),
        ({"when": Condition(tokens=(" the",))}, {"when": Condition(tokens=(" a",))}),
    ]
    for one, other in harmless:
        pair = (
            rule("food", **{"reads": "FOOD", **one}),
            rule("animal", **{"reads": "ANIMAL", **other}),
        )
        assert clashes(bind(RuleSet(pair), tiny_vocabulary())) == []


def test_a_conflict_is_shown_where_it_happens() -> None:
    [found] = conflicts(bind(RuleSet((ANIMAL, FOOD)), tiny_vocabulary()), SENTENCES)
    assert found.clash.winner == "food" and found.clash.heads == 8
    assert found.seen and found.sentence is not None and found.position is not None
    shown = SENTENCES[found.sentence]
    assert shown.text == TEXTS[0]  # "the cat ate a red apple in the garden"
    # The first " the" with both an animal and a food in sight.
    names = [tiny_vocabulary().class_names[c] for c in shown.classes[: found.position + 1]]
    assert "ANIMAL" in names and "FOOD" in names
    assert tiny_vocabulary().token_bytes[shown.ids[found.position]] == b" the"


def test_a_conflict_that_no_sentence_shows_is_still_named() -> None:
    quiet = rule("quiet", "SIGN", Condition(regex="zebra"), priority=9)
    [found] = conflicts(bind(RuleSet((quiet, ANIMAL)), tiny_vocabulary()), SENTENCES)
    assert not found.seen and found.clash.describe().endswith("quiet wins there")


def test_adding_a_rule_shows_the_conflicts_that_it_brings() -> None:
    sign = rule("sign", "SIGN", Condition(blocks=("FUNCTION",)), priority=-1)
    rules, none = add(RuleSet(), ANIMAL, tiny_vocabulary(), SENTENCES)
    rules, [one] = add(rules, FOOD, tiny_vocabulary(), SENTENCES)
    assert {one.clash.first, one.clash.second} == {"food", "animal"} and none == []
    rules, two = add(rules, sign, tiny_vocabulary(), SENTENCES)
    assert [(each.clash.first, each.clash.winner) for each in two] == [
        ("food", "food"),
        ("animal", "animal"),
    ]
    with pytest.raises(RuleError, match="taken"):
        add(rules, sign, tiny_vocabulary())
    with pytest.raises(RuleError, match="same, yet both"):
        add(rules, rule("other", "FOOD"), tiny_vocabulary())
    assert len(rules) == 3


def test_a_thousand_rules_are_bound_and_fire_in_time() -> None:
    made = tuple(
        rule(
            f"r{n}",
            "FOOD ANIMAL" if n % 2 else "SIGN",
            Condition(regex=f"[aeiou]{n}?t"),
            priority=n,
        )
        for n in range(1000)
    )
    start = time.process_time()
    bound = bind(RuleSet(made), tiny_vocabulary())
    said = SENTENCES[0]
    where = fired(bound, [said.ids], [said.classes])
    relevance = Relevance.compile(torch.tensor([said.classes]), tiny_reads())
    assert inject(relevance, bound, where) is not relevance
    assert time.process_time() - start < 6
    assert len(clashes(bound)) == 500 * 500


@pytest.mark.parametrize("pattern", ["(a|a)*$", "((a{1,99}){1,99}){1,99}$", "(e|ee|eee)+(?!.)x"])
def test_a_regex_that_would_run_for_ever_is_stopped_and_named(pattern: str) -> None:
    bound = bind(RuleSet((rule("slow", "FOOD", Condition(regex=pattern)),)), tiny_vocabulary())
    said = sentence("a" * 40 + "e" * 40 + "!")
    start = time.process_time()
    with pytest.raises(RuleError, match=r"regex of rule slow.*time limit"):
        fired(bound, [said.ids], [said.classes])
    assert time.process_time() - start < 4


def test_differences_are_by_id_and_key() -> None:
    before = RuleSet((FOOD, ANIMAL))
    after = RuleSet(
        (rule("food", "FOOD", Condition(tokens=(" a",)), priority=2), rule("new", "SIGN"))
    )
    found = difference(before, after)
    assert (found.added, found.removed) == (("new",), ("animal",))
    assert found.changed == {"food": {"when.tokens": ([" the"], [" a"])}}
    assert difference(before, RuleSet((ANIMAL, FOOD), name="other")).empty
    assert not found.empty


def test_an_effect_is_zero_for_the_same_and_kl_by_hand_for_others() -> None:
    said, decoder, dial = sentence(TEXTS[0]), lively_decoder(tiny_config()), Dial(0.9)
    base = Relevance.compile(torch.tensor([said.classes]), tiny_reads())
    bound = bind(RuleSet((FOOD,)), tiny_vocabulary())
    under = inject(base, bound, fired(bound, [said.ids], [said.classes]))
    tokens = torch.tensor([said.ids])
    nothing = effect(decoder, tokens, dial, base, base)
    assert nothing.pairs == 0 and nothing.bits.max() == 0 and not nothing.likeliest_changes.any()
    found = effect(decoder, tokens, dial, base, under)
    with torch.inference_mode():
        p, q = (decoder(tokens, dial, r)[0].double().softmax(-1).numpy() for r in (base, under))
    assert found.bits.numpy() == pytest.approx((p * np.log2(p / q)).sum(-1), abs=1e-6)
    assert 0 < found.pairs < 1 and found.bits.max() > 0.01
    # Nothing differs before the first token at which the rule applies.
    first = next(
        i
        for i in range(len(said.ids))
        if not torch.equal(under.raw(0)[0, :, i], base.raw(0)[0, :, i])
    )
    assert found.bits[:first].max() == 0
    with pytest.raises(RuleError, match="one text"):
        effect(decoder, tokens[:, :3], dial, base, under)

"""Rules see no later token, end to end: ids, membership, conditions, relevance, logits."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.locality.dial import Dial
from model.locality.relevance import Relevance
from model.rules.binding import bind
from model.rules.firing import fired
from model.rules.injection import inject
from model.rules.rule import Condition, RuleSet
from tests.factories import lively_decoder
from tests.model_dirs import tiny_config, tiny_reads, tiny_tokenizer
from tests.rule_models import rule, sentence, tiny_table, tiny_vocabulary


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(1, 299), min_size=14, max_size=14),
    st.lists(st.integers(1, 299), min_size=14, max_size=14),
    st.integers(0, 13),
    st.sampled_from([0.5, 1.0]),
)
def test_ids_after_t_never_change_logits_up_to_t(
    ids: list[int], other: list[int], t: int, value: float
) -> None:
    """From ids through membership, conditions, rules and relevance to logits."""
    before, after = (logits(each, value) for each in (ids, ids[:t] + other[t:]))
    assert torch.equal(before[: t + 1], after[: t + 1])


CAUSAL = bind(
    RuleSet(
        (
            rule("regex", "ANIMAL SIGN", Condition(regex="[aeiou].*[st]$"), effect="only"),
            rule("block", "FOOD", Condition(blocks=("FUNCTION", "NONE")), priority=1, strength=0.7),
            rule("ahead", "FUNCTION", Condition(regex="(?!.*z).*a"), priority=2, heads=(0,)),
        )
    ),
    tiny_vocabulary(),
)


def logits(ids: list[int], value: float, leak: bool = False) -> torch.Tensor:
    whole = np.array([tiny_tokenizer().bos_id, *ids])
    classes = tiny_table().classes_for_ids(whole)
    relevance = Relevance.compile(torch.from_numpy(classes)[None], tiny_reads())
    where = fired(CAUSAL, [whole.tolist()], [classes.tolist()])
    if leak:
        where[:] = where[:, -1:]
    decoder = lively_decoder(tiny_config())
    return decoder(torch.from_numpy(whole)[None], Dial(value), inject(relevance, CAUSAL, where))[0]


def test_rules_that_look_ahead_would_be_caught() -> None:
    ids = tiny_tokenizer().encode("the dog ran to the cat, bird or bread")
    before, after = (logits([*ids, last], 0.9, leak=True) for last in (ids[0], ids[1]))
    assert not torch.equal(before[: len(ids) + 1], after[: len(ids) + 1])


def test_a_regex_sees_whole_characters_of_the_text_so_far() -> None:
    bound = bind(RuleSet((rule("e", "FOOD", Condition(regex="é$")),)), tiny_vocabulary())
    said = sentence("é a")
    assert len(tiny_tokenizer().encode("é")) == 2  # two tokens make the one character
    where = fired(bound, [said.ids], [said.classes])[0, :, 0].tolist()
    assert where[:3] == [False, False, True] and not any(where[3:])

"""What tests of rules share: a tiny model's vocabulary, texts, and rules read pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from model.blocks.membership import MembershipTable
from model.locality.relevance import Relevance
from model.rules.binding import Bound, Vocabulary
from model.rules.conflicts import Sentence
from model.rules.rule import Condition, Rule
from tests.model_dirs import BLOCKS, tiny_config, tiny_lexicon, tiny_tokenizer


@cache
def tiny_vocabulary() -> Vocabulary:
    config = tiny_config()
    names = BLOCKS.class_names
    return Vocabulary(names, config.n_layers, config.n_heads, tiny_tokenizer().token_bytes)


@cache
def tiny_table() -> MembershipTable:
    return MembershipTable(tiny_tokenizer().token_bytes, BLOCKS, tiny_lexicon())


def sentence(text: str) -> Sentence:
    ids = tiny_tokenizer().encode_with_bos(text)
    return Sentence(text, ids, tiny_table().classes_for_ids(np.array(ids)).tolist())


def rule(rule_id: str, reads: str, when: Condition | None = None, **keys: object) -> Rule:
    """A rule that fires always, unless `when` says otherwise."""
    return Rule(rule_id, when or Condition(first=0), tuple(reads.split()), **keys)  # pyright: ignore


def naive_relevance(
    base: Relevance, bound: Bound, fired: np.ndarray, layer: int, row: int, head: int
) -> np.ndarray:
    """r' by the text of `injection`, one query at a time: float64 [query, key]."""
    classes = base.classes[row].tolist()
    own = base.raw(layer)[row, head].double().numpy()
    out = own.copy()
    for i in range(len(classes)):
        acting: list[int] = []
        order = sorted(range(len(bound)), key=lambda p: -bound.precedence[p])
        for p in order:
            reads = {bound.vocabulary.class_ids[name] for name in bound.rules[p].reads}
            if not fired[row, i, p] or not reads & set(classes[: i + 1]):
                continue
            if not in_scope(bound.rules[p].layers, layer) or not in_scope(
                bound.rules[p].heads, head
            ):
                continue
            beaten = any(
                not set(bound.rules[p].reads) & set(bound.rules[q].reads)
                and bound.precedence[q] > bound.precedence[p]
                for q in acting
            )
            if not beaten:
                acting.append(p)
        kept = min([1.0, *(1 - bound.rules[p].strength for p in acting if is_only(bound, p))])
        for j in range(i + 1):
            more = [
                bound.rules[p].strength
                for p in acting
                if bound.vocabulary.class_names[classes[j]] in bound.rules[p].reads
            ]
            out[i, j] = max([own[i, j] * kept, *more])
    return out


def is_only(bound: Bound, row: int) -> bool:
    return bound.rules[row].effect == "only"


def in_scope(numbers: Sequence[int] | None, number: int) -> bool:
    return numbers is None or number in numbers

"""Conflicts shown on sentences: where two rules that read apart do apply at one token."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from model.errors import RuleError
from model.rules.binding import Bound, Clash, Vocabulary, bind, clashes
from model.rules.firing import fired
from model.rules.injection import applies
from model.rules.rule import Rule, RuleSet

MOST_SHOWN = 1_000  # clashes that an example is looked for


@dataclass(frozen=True)
class Sentence:
    """A text as a model reads it, begin-of-text first: ids and classes, one a token."""

    text: str
    ids: Sequence[int]
    classes: Sequence[int]


@dataclass(frozen=True)
class Conflict:
    """A clash, and the first sentence and token, if any, where both rules apply.

    sentence: index into those that were given, or None; position: of the token, from 0.
    """

    clash: Clash
    sentence: int | None = None
    position: int | None = None

    @property
    def seen(self) -> bool:
        return self.sentence is not None


def conflicts(bound: Bound, sentences: Iterable[Sentence]) -> list[Conflict]:
    """Every clash of the bound rules, the first `MOST_SHOWN` of them with an example if there is.

    Sentences are read until every clash has its example.
    """
    found = clashes(bound)
    waiting = {
        number: (bound.index(clash.first), bound.index(clash.second))
        for number, clash in enumerate(found[:MOST_SHOWN])
    }
    places: dict[int, tuple[int, int]] = {}
    for index, sentence in enumerate(sentences):
        if not waiting:
            break
        classes = torch.tensor([list(sentence.classes)])
        where = applies(bound, classes, fired(bound, [sentence.ids], [sentence.classes]))[0]
        ever = where.any(axis=0)
        for number, (first, second) in list(waiting.items()):
            if ever[first] and ever[second]:
                both = np.flatnonzero(where[:, first] & where[:, second])
                if len(both):
                    places[number] = index, int(both[0])
                    del waiting[number]
    return [
        Conflict(clash, *places.get(number, (None, None))) for number, clash in enumerate(found)
    ]


def add(
    rules: RuleSet, rule: Rule, vocabulary: Vocabulary, sentences: Iterable[Sentence] = ()
) -> tuple[RuleSet, list[Conflict]]:
    """The set with one rule more, and the conflicts that this rule brings, with examples.

    RuleError where its id is taken, where the model lacks what it names, where it closes a circle
    of `over`, or where a conflict has no winner.
    """
    if any(each.id == rule.id for each in rules.rules):
        raise RuleError(
            "id", rule.id, "is taken by another rule of the set", "Withdraw that one first", "id"
        )
    more = rules.plus(rule)
    bound = bind(more, vocabulary)
    own = [each for each in clashes(bound) if rule.id in (each.first, each.second)]
    if not own:
        return more, []
    names = {rule.id, *(each.first for each in own), *(each.second for each in own)}
    few = RuleSet(tuple(each for each in more.rules if each.id in names))
    kept = {(each.first, each.second) for each in own}
    return more, [
        each
        for each in conflicts(_among(bound, few), sentences)
        if (each.clash.first, each.clash.second) in kept
    ]


def _among(bound: Bound, few: RuleSet) -> Bound:
    """Some of the bound rules, with the precedence that they have among all."""
    names = {rule.id for rule in few.rules}
    rows = [row for row, rule in enumerate(bound.rules) if rule.id in names]
    return Bound(
        tuple(bound.rules[row] for row in rows),
        bound.vocabulary,
        bound.precedence[rows],
        bound.blocks[rows],
        bound.reads[rows],
        bound.scope[rows],
        tuple(bound.tokens[row] for row in rows),
    )

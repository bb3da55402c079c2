"""Rules against a model: whether it has what they name, and who beats whom.

Names become arrays once, so that a query costs look-ups. Precedence is one number a rule: its
priority, or one more than the largest precedence among the rules that it is `over`, if that is
greater. Two rules that can fire together, read disjoint blocks and meet in a head must differ in
it; else they are refused, with both names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model.errors import RuleError
from model.rules.rule import Rule, RuleSet

_SHOWN = 12  # names in a message


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What a model has that rules can name: its classes, heads and tokens' bytes."""

    class_names: tuple[str, ...]
    n_layers: int
    n_heads: int
    token_bytes: tuple[bytes | None, ...]

    @cached_property
    def ids(self) -> Mapping[bytes, int]:
        """Bytes of a token -> its id."""
        return {raw: index for index, raw in enumerate(self.token_bytes) if raw is not None}

    @cached_property
    def class_ids(self) -> Mapping[str, int]:
        return {name: index for index, name in enumerate(self.class_names)}


@dataclass(frozen=True, eq=False)
class Bound:
    """Rules of one set in one model, the one of the greatest precedence first, then by id.

    precedence: int64 [rule]. blocks, reads: bool [rule, class], which classes a query may have, and
    whose keys are read. scope: bool [rule, layer, head]. tokens: ids a query may have, None for
    all. disjoint: bool [rule, rule], where two read no block in common. strength: float64 [rule].
    """

    rules: tuple[Rule, ...]
    vocabulary: Vocabulary
    precedence: NDArray[np.int64]
    blocks: NDArray[np.bool_]
    reads: NDArray[np.bool_]
    scope: NDArray[np.bool_]
    tokens: tuple[frozenset[int] | None, ...]

    @cached_property
    def disjoint(self) -> NDArray[np.bool_]:
        reads = self.reads.astype(np.float32)
        return reads @ reads.T == 0

    @cached_property
    def strength(self) -> NDArray[np.float64]:
        return np.array([rule.strength for rule in self.rules])

    @cached_property
    def only(self) -> NDArray[np.bool_]:
        """Which rules lower what the head reads by itself."""
        return np.array([rule.effect == "only" for rule in self.rules], dtype=bool)

    @cached_property
    def by_class(self) -> tuple[tuple[int, ...], ...]:
        """Rules that a query of each class may fire."""
        return tuple(tuple(np.flatnonzero(column).tolist()) for column in self.blocks.T)

    def __len__(self) -> int:
        return len(self.rules)

    def index(self, rule_id: str) -> int:
        """Row of a rule; RuleError where there is none of that id."""
        for index, rule in enumerate(self.rules):
            if rule.id == rule_id:
                return index
        raise RuleError("Rule", rule_id, "is not bound here", "Use an id of the rule set")


@dataclass(frozen=True)
class Clash:
    """Two rules that can fire together, read disjoint blocks and meet in `heads` heads.

    winner: the id that reads in those heads, "" where precedence is equal.
    """

    first: str
    second: str
    winner: str
    heads: int

    def describe(self) -> str:
        meet = f"meet in {self.heads} head{'s' if self.heads > 1 else ''}"
        end = f"{self.winner} wins there" if self.winner else "neither has the greater priority"
        return f"{self.first} and {self.second} can fire together, {meet}, and read apart: {end}"


def bind(rules: RuleSet, vocabulary: Vocabulary) -> Bound:
    """The rules of a set in a model; RuleError names what it lacks, or which two clash for good."""
    bound = resolve(rules, vocabulary)
    open_ones = _undecided(bound)
    if open_ones:
        worst = open_ones[0]
        first, second = (bound.rules[bound.index(i)] for i in (worst.first, worst.second))
        more = f" (and {len(open_ones) - 1:,} pairs more)" if len(open_ones) > 1 else ""
        raise RuleError(
            f"{_at(second)}priority of {first.id} and {second.id}",
            first.priority,
            f"is the same, yet both can fire at one query, read disjoint blocks and meet in "
            f"{worst.heads} heads{more}",
            f'Give one a greater priority, or write over = ["{first.id}"] in {second.id}',
            "priority",
        )
    return bound


def resolve(rules: RuleSet, vocabulary: Vocabulary) -> Bound:
    """As `bind`, with clashes of equal precedence left as they are."""
    precedence = _precedence(rules)
    ordered = tuple(sorted(rules.rules, key=lambda rule: (-precedence[rule.id], rule.id)))
    shape = (len(ordered), len(vocabulary.class_names))
    blocks, reads = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    scope = np.zeros((len(ordered), vocabulary.n_layers, vocabulary.n_heads), dtype=bool)
    tokens = []
    for row, rule in enumerate(ordered):
        reads[row, _classes(rule, "reads", rule.reads, vocabulary)] = True
        if rule.when.blocks:
            blocks[row, _classes(rule, "when.blocks", rule.when.blocks, vocabulary)] = True
        else:
            blocks[row] = True
        layers = _within(rule, "layers", rule.layers, vocabulary.n_layers)
        heads = _within(rule, "heads", rule.heads, vocabulary.n_heads)
        scope[row, np.array(layers)[:, None], heads] = True
        tokens.append(_token_ids(rule, vocabulary) if rule.when.tokens else None)
    numbers = np.array([precedence[rule.id] for rule in ordered], dtype=np.int64)
    return Bound(ordered, vocabulary, numbers, blocks, reads, scope, tuple(tokens))


def clashes(bound: Bound) -> list[Clash]:
    """All pairs that clash, in the order of the bound rules.

    That two regexes can hold together is taken for granted: a pair may never meet in a text.
    """
    shared, pairs = _meeting(bound)
    found = []
    for a, b in np.argwhere(pairs).tolist():
        if _no_common_token(bound, a, b):
            continue
        wins = bound.precedence[a] > bound.precedence[b]
        names = bound.rules[a].id, bound.rules[b].id
        found.append(Clash(*names, names[0] if wins else "", int(shared[a, b])))
    return found


def _undecided(bound: Bound) -> list[Clash]:
    """The clashes of equal precedence, found without making all the others."""
    shared, pairs = _meeting(bound)
    pairs &= bound.precedence[:, None] == bound.precedence
    return [
        Clash(bound.rules[a].id, bound.rules[b].id, "", int(shared[a, b]))
        for a, b in np.argwhere(pairs).tolist()
        if not _no_common_token(bound, a, b)
    ]


def _meeting(bound: Bound) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Heads that two rules share, and which pairs clash as far as arrays say: [rule, rule] each."""
    count = len(bound)
    flat = bound.scope.reshape(count, np.prod(bound.scope.shape[1:])).astype(np.float32)
    blocks = bound.blocks.astype(np.float32)
    first = np.array([rule.when.first or 0 for rule in bound.rules], dtype=np.float64)
    ends = [rule.when.last for rule in bound.rules]
    last = np.array([np.inf if end is None else end for end in ends], dtype=np.float64)
    together = (blocks @ blocks.T > 0) & (first[:, None] <= last) & (first <= last[:, None])
    shared = flat @ flat.T
    return shared, np.triu(bound.disjoint & (shared > 0) & together, 1)


def _no_common_token(bound: Bound, a: int, b: int) -> bool:
    one, other = bound.tokens[a], bound.tokens[b]
    return one is not None and other is not None and one.isdisjoint(other)


def _precedence(rules: RuleSet) -> dict[str, int]:
    """id -> precedence; RuleError on a circle, with its path, or an unknown id in `over`."""
    known = {rule.id: rule for rule in rules.rules}
    for rule in rules.rules:
        for other in rule.over:
            if other not in known:
                raise RuleError(
                    f"{_at(rule)}over of rule {rule.id}",
                    other,
                    "names no rule of this set",
                    "Correct it or remove it",
                    "over",
                )
    found: dict[str, int] = {}
    for start in known:
        path: list[str] = [start]  # a stack of our own: a chain may be longer than recursion allows
        on_path = {start}
        while path:
            rule = known[path[-1]]
            waiting = next((other for other in rule.over if other not in found), None)
            if waiting is None:
                beaten = [found[other] + 1 for other in rule.over]
                found[rule.id] = max([rule.priority, *beaten])
                on_path.discard(path.pop())
            elif waiting in on_path:
                circle = [*path[path.index(waiting) :], waiting]
                raise RuleError(
                    f"{_at(rule)}over of rule {rule.id}",
                    " over ".join(circle[:_SHOWN]),
                    "is a circle: each would beat itself",
                    "Remove one of these",
                    "over",
                )
            else:
                path.append(waiting)
                on_path.add(waiting)
    return found


def _classes(rule: Rule, key: str, names: Sequence[str], vocabulary: Vocabulary) -> list[int]:
    for name in names:
        if name not in vocabulary.class_ids:
            known = ", ".join(vocabulary.class_names[:_SHOWN])
            more = len(vocabulary.class_names) - _SHOWN
            raise RuleError(
                f"{_at(rule)}{key} of rule {rule.id}",
                name,
                "is no block of this model",
                f"Use one of {known}" + (f" and {more} more" if more > 0 else ""),
                key,
            )
    return [vocabulary.class_ids[name] for name in names]


def _within(rule: Rule, key: str, numbers: Sequence[int] | None, count: int) -> list[int]:
    for number in numbers or ():
        if number >= count:
            raise RuleError(
                f"{_at(rule)}{key} of rule {rule.id}",
                number,
                f"this model has {key} 0 to {count - 1}",
                "Choose such a number",
                key,
            )
    return [*numbers] if numbers is not None else [*range(count)]


def _token_ids(rule: Rule, vocabulary: Vocabulary) -> frozenset[int]:
    found = set()
    for text in rule.when.tokens:
        index = vocabulary.ids.get(text.encode("utf-8"))
        if index is None:
            raise RuleError(
                f"{_at(rule)}tokens of rule {rule.id}",
                text,
                "is no single token of this model, blanks before it included",
                "Use a token, or a regex for a text of several",
                "when.tokens",
            )
        found.add(index)
    return frozenset(found)


def _at(rule: Rule) -> str:
    return "" if rule.line is None else f"Line {rule.line}: "

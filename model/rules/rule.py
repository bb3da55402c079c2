"""What a rule says: IF the query meets a condition THEN heads read blocks, with a strength.

    when     blocks, tokens, a regex over the text so far, positions; all that are given must hold
    reads    the blocks whose keys become relevant
    effect   "add": r_ij = max(r_ij, strength) for those keys.
             "only": before that, what the head reads by itself is multiplied by 1 - strength
    scope    layers x heads; all where none are given
    priority of two rules that read disjoint blocks at one query of one head, the greater wins

A rule is a value: it knows no model. `binding` finds out whether a model has what it names.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date as Date
from typing import Any

from model.errors import RuleError
from model.rules.checker import Checker
from model.rules.patterns import check_pattern
from model.rules.plain import check_count, check_text, check_texts, shown

MOST_RULES = 1_000
EFFECTS = ("add", "only")
LARGEST_PRIORITY = 1_000_000
_MOST_HEADS = 4_096
_ID = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}\Z")


@dataclass(frozen=True)
class Condition:
    """All parts that are given must hold at the query; at least one is.

    blocks: the query's class is one of them. tokens: its text is one of them, exactly. regex: found
    in the text up to the query, which `$` ends. first, last: its position, both included; 0 is
    begin-of-text.
    """

    blocks: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    regex: str = ""
    first: int | None = None
    last: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", check_texts("blocks", self.blocks))
        object.__setattr__(self, "tokens", check_texts("tokens", self.tokens, plain=False))
        for key in ("first", "last"):
            if getattr(self, key) is not None:
                check_count(key, getattr(self, key), 0, 10**9)
        if self.first is not None and self.last is not None and self.first > self.last:
            raise RuleError(
                "last", self.last, f"must not be before first, {self.first}", "Swap them", "last"
            )
        if not isinstance(self.regex, str):
            raise RuleError("regex", shown(self.regex), "must be text", "Quote it", "regex")
        if self.regex:
            check_pattern("when.regex", self.regex)
        if not (self.blocks or self.tokens or self.regex) and self.first is self.last is None:
            raise RuleError(
                "when",
                "empty",
                "must say when the rule fires",
                "Give blocks, tokens, regex, first or last; `first = 0` is always",
                "when",
            )

    def describe(self) -> str:
        """The condition as a phrase, e.g. "the query is of ACTION and its token is ' ate'"."""
        parts = []
        if self.blocks:
            parts.append(f"the query is of {' or '.join(self.blocks)}")
        if self.tokens:
            parts.append(f"its token is {' or '.join(map(repr, self.tokens))}")
        if self.regex:
            parts.append(f"the text so far has /{self.regex}/")
        if self.first is not None or self.last is not None:
            last = "the end" if self.last is None else self.last
            parts.append(f"its position is {self.first or 0} to {last}")
        return " and ".join(parts)


@dataclass(frozen=True)
class Rule:
    """One rule. strength: in [0, 1]. layers, heads: from 0, None for all. over: ids it beats."""

    id: str
    when: Condition
    reads: tuple[str, ...]
    strength: float = 1.0
    effect: str = "add"
    layers: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    priority: int = 0
    over: tuple[str, ...] = ()
    checker: Checker | None = None
    note: str = ""
    author: str = ""
    date: Date | None = None
    version: int = 1
    line: int | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_id(self.id)
        object.__setattr__(self, "reads", check_texts("reads", self.reads))
        if not self.reads:
            raise RuleError("reads", [], "must name at least one block", "Add it", "reads")
        if isinstance(self.strength, bool) or not isinstance(self.strength, (int, float)):
            value = shown(self.strength)
            raise RuleError("strength", value, "must be a number", "Correct it", "strength")
        if not 0.0 <= self.strength <= 1.0:
            value = shown(self.strength)
            raise RuleError("strength", value, "must lie in [0, 1]", "Correct it", "strength")
        object.__setattr__(self, "strength", float(self.strength))
        if self.effect not in EFFECTS:
            raise RuleError(
                "effect",
                shown(self.effect),
                f"must be one of {', '.join(EFFECTS)}",
                "Choose",
                "effect",
            )
        for key in ("layers", "heads"):
            object.__setattr__(self, key, _indices(key, getattr(self, key)))
        check_count("priority", self.priority, -LARGEST_PRIORITY, LARGEST_PRIORITY)
        check_count("version", self.version, 1, 10**9)
        object.__setattr__(self, "over", check_texts("over", self.over))
        check_text("note", self.note)
        check_text("author", self.author)
        if self.date is not None and type(self.date) is not Date:
            raise RuleError("date", str(self.date), "must be a day", "Write 2026-01-31", "date")

    def describe(self) -> str:
        """The rule as a sentence."""
        where = ", ".join(
            f"{name} {', '.join(map(str, numbers))}" if numbers is not None else f"all {name}"
            for name, numbers in (("layers", self.layers), ("heads", self.heads))
        )
        only = " only" if self.effect == "only" else ""
        return (
            f"IF {self.when.describe()} THEN read{only} {' and '.join(self.reads)} "
            f"(strength {self.strength:g}, {where}, priority {self.priority})"
        )

    def to_dict(self) -> dict[str, Any]:
        """What is not left to a default, in the order of the file format."""
        when = {k: _listed(v) for k, v in vars(self.when).items() if v not in ((), "", None)}
        found: dict[str, Any] = {"id": self.id, "version": self.version, "reads": [*self.reads]}
        defaults = {"effect": "add", "layers": None, "heads": None, "priority": 0, "over": ()}
        defaults |= {"note": "", "author": "", "date": None}
        found["strength"] = self.strength
        for key, default in defaults.items():
            if getattr(self, key) != default:
                found[key] = _listed(getattr(self, key))
        found["when"] = when
        if self.checker is not None:
            found["checker"] = self.checker.to_dict()
        return found


@dataclass(frozen=True)
class RuleSet:
    """Rules with ids of their own; their order means nothing. line numbers are not compared."""

    rules: tuple[Rule, ...] = ()
    name: str = "rules"
    version: int = 1
    note: str = ""

    def __post_init__(self) -> None:
        check_text("name", self.name)
        check_text("note", self.note)
        check_count("version", self.version, 1, 10**9)
        if len(self.rules) > MOST_RULES:
            raise RuleError(
                "Rules",
                f"{len(self.rules):,}",
                f"a rule set holds at most {MOST_RULES:,}",
                "Keep those that matter, or make several sets",
            )
        seen: dict[str, Rule] = {}
        for rule in self.rules:
            if rule.id in seen:
                raise RuleError(f"{_at(rule)}id", rule.id, "is taken", "Give it its own", "id")
            seen[rule.id] = rule

    def __len__(self) -> int:
        return len(self.rules)

    def rule(self, rule_id: str) -> Rule:
        """The rule of an id; RuleError lists some that there are."""
        for rule in self.rules:
            if rule.id == rule_id:
                return rule
        known = ", ".join(rule.id for rule in self.rules[:8]) or "none"
        raise RuleError("Rule", rule_id, "is not in this set", f"Use one of {known}")

    def without(self, rule_id: str) -> RuleSet:
        """The set after a rule is withdrawn, and with it what others say of beating it."""
        self.rule(rule_id)
        kept = tuple(
            replace(rule, over=tuple(other for other in rule.over if other != rule_id))
            if rule_id in rule.over
            else rule
            for rule in self.rules
            if rule.id != rule_id
        )
        return replace(self, rules=kept)

    def plus(self, rule: Rule) -> RuleSet:
        """The set with one rule more, or with another of the same id in its place."""
        kept = tuple(each for each in self.rules if each.id != rule.id)
        return replace(self, rules=(*kept, rule))

    def to_dict(self) -> dict[str, Any]:
        """Name, version, note and the rules, in the order of their ids."""
        found: dict[str, Any] = {"name": self.name, "version": self.version}
        if self.note:
            found["note"] = self.note
        rules = sorted(self.rules, key=lambda rule: rule.id)
        return {**found, "rule": [rule.to_dict() for rule in rules]}

    def canonical(self) -> str:
        """Canonical JSON: sorted keys, no blanks; equal sets have equal text."""
        return json.dumps(
            self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str
        )

    @property
    def content_hash(self) -> str:
        """SHA-256 of the canonical form, hex."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


def check_id(value: object) -> None:
    """RuleError unless `value` can be a rule's id, which is safe in a link, a path and a page."""
    if not isinstance(value, str) or not _ID.match(value):
        raise RuleError(
            "id",
            shown(value),
            "must be 1 to 64 of a-z, 0-9, dot and hyphen, a letter or digit first",
            "Rename the rule",
            "id",
        )


def _indices(key: str, value: Sequence[int] | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or not 0 < len(value) <= _MOST_HEADS:
        raise RuleError(
            key, shown(value), "must be a list of numbers, not empty", "Leave it out", key
        )
    for each in value:
        check_count(key, each, 0, 10**6)
    return tuple(sorted(set(value)))


def _listed(value: Any) -> Any:
    return [*value] if isinstance(value, tuple) else value


def _at(rule: Rule) -> str:
    return "" if rule.line is None else f"Line {rule.line}: "

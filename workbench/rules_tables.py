"""Tables of rules: what fired at each token, what checkers say, conflicts, what a change does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.generation import Began, Checked, Ended, Event, Written
from workbench.tables import Column, Table

if TYPE_CHECKING:
    from model.rules.comparison import Difference
    from model.rules.rule import RuleSet
    from workbench.rules import ConflictShown, FiredRule, Matter
    from workbench.rules_induced import InducedRules

_FIRED = (
    ("position", "Position", ""),
    ("token", "Token", ""),
    ("written", "Written by the model", ""),
    ("rule", "Rule", ""),
    ("status", "What it does", ""),
    ("strength", "Strength", "fraction"),
    ("heads", "Heads it acts in", "count"),
    ("beaten_by", "Beaten by", ""),
)


def fired_table(events: Sequence[Event], about: Mapping[str, Any]) -> Table:
    """A row for each token, read or written, and rule that fired at it.

    A rule that fires at a token acts on the prediction of the next one; so what fires at the last
    token that was written, which predicts nothing, is left out.
    """
    rows = [dict(zip((key for key, *_ in _FIRED), row, strict=True)) for row in _fired(events)]
    columns = tuple(
        Column(key, title, unit, [row[key] for row in rows]) for key, title, unit in _FIRED
    )
    return Table("rules-fired", "Rules fired at each token", columns, about)


def checks_table(checks: Sequence[Checked], about: Mapping[str, Any]) -> Table:
    """A row a checker; spans in characters of the text that was written, None without one."""
    columns = (
        Column("rule", "Rule", "", [each.rule_id for each in checks]),
        Column("checker", "Checker", "", [each.checker for each in checks]),
        Column("status", "Answer", "", [each.status for each in checks]),
        Column("start", "From", "character", [each.span and each.span[0] for each in checks]),
        Column("end", "To", "character", [each.span and each.span[1] for each in checks]),
        Column("detail", "Why", "", [each.detail for each in checks]),
    )
    return Table("rule-checks", "Checkers on the text", columns, about)


def rules_table(rules: RuleSet) -> Table:
    """A row a rule, in the order of ids."""
    found = sorted(rules.rules, key=lambda rule: rule.id)
    columns = (
        Column("rule", "Rule", "", [rule.id for rule in found]),
        Column("version", "Version", "", [rule.version for rule in found]),
        Column("says", "What it says", "", [rule.describe() for rule in found]),
        Column("strength", "Strength", "fraction", [rule.strength for rule in found]),
        Column("priority", "Priority", "", [rule.priority for rule in found]),
        Column(
            "checker", "Checker", "", [r.checker.describe() if r.checker else "" for r in found]
        ),
        Column("note", "Note", "", [rule.note for rule in found]),
        Column("author", "Author", "", [rule.author for rule in found]),
        Column("date", "Date", "", [str(rule.date or "") for rule in found]),
    )
    about = {"set": rules.name, "version": rules.version, "hash": rules.content_hash}
    return Table("rules", "Rules", columns, about)


def conflicts_table(conflicts: Sequence[ConflictShown], about: Mapping[str, Any]) -> Table:
    """A row a pair of rules that can read apart at one query."""
    columns = (
        Column("first", "Rule", "", [each.first for each in conflicts]),
        Column("second", "Other rule", "", [each.second for each in conflicts]),
        Column("winner", "Wins", "", [each.winner for each in conflicts]),
        Column("heads", "Heads in common", "count", [each.heads for each in conflicts]),
        Column("token", "Seen at", "", [each.token for each in conflicts]),
        Column("sentence", "In the sentence", "", [each.sentence for each in conflicts]),
    )
    return Table("rule-conflicts", "Conflicts of rules", columns, about)


def difference_table(difference: Difference, about: Mapping[str, Any]) -> Table:
    """A row for each rule that is new or gone, and for each key that differs in one that stays."""
    rows = [(rule, "added", "", "", "") for rule in difference.added]
    rows += [(rule, "removed", "", "", "") for rule in difference.removed]
    rows += [
        (rule, "changed", key, _said(before), _said(after))
        for rule, keys in difference.changed.items()
        for key, (before, after) in keys.items()
    ]
    names = (("rule", "Rule"), ("change", "Change"), ("key", "Key"))
    names += (("before", "Before"), ("after", "After"))
    columns = tuple(
        Column(key, title, "", [row[index] for row in rows])
        for index, (key, title) in enumerate(names)
    )
    return Table("rules-difference", "What differs", columns, about)


def matters_table(matters: Sequence[Matter], about: Mapping[str, Any]) -> Table:
    """A row a prompt, the one on which the exchange matters most first."""
    columns = (
        Column("prompt", "Prompt", "", [each.text for each in matters]),
        Column("pairs", "Pairs of other relevance", "fraction", [each.pairs for each in matters]),
        Column("bits", "Largest change of prediction", "bits", [each.bits for each in matters]),
        Column("token", "At token", "", [each.token for each in matters]),
        Column("changes", "Likeliest token changes", "count", [each.changes for each in matters]),
    )
    return Table("rules-matter", "Where it matters", columns, about)


def induced_table(found: InducedRules, about: Mapping[str, Any]) -> Table:
    """A row a rule found in attention, the surest first; bits are None where it was not ablated."""
    rows = found.found
    columns = (
        Column("layer", "Layer", "", [each.rule.layer for each in rows]),
        Column("head", "Head", "", [each.rule.head for each in rows]),
        Column("query", "Query of", "", [each.query for each in rows]),
        Column("key", "Reads", "", [each.key for each in rows]),
        Column("support", "Support", "fraction", [each.rule.support for each in rows]),
        Column("confidence", "Confidence", "fraction", [each.rule.confidence for each in rows]),
        Column("lift", "Lift", "times", [each.rule.lift for each in rows]),
        Column("documents", "Documents", "count", [each.rule.documents for each in rows]),
        Column("q", "False discovery rate", "fraction", [each.rule.q_value for each in rows]),
        Column("bits", "Ablation, its queries", "bits per token", [each.bits for each in rows]),
        Column("others", "Ablation, others", "bits per token", [each.others for each in rows]),
    )
    known = {"tested": found.tested, "by_chance": found.by_chance}
    known |= {"tested_by_chance": found.tested_by_chance}
    return Table("rules-induced", "Rules found in attention", columns, {**about, **known})


def ended(events: Sequence[Event]) -> Ended | None:
    """The last event, if the text was written to its end."""
    return events[-1] if events and isinstance(events[-1], Ended) else None


def _fired(events: Sequence[Event]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    token, last = "", -1
    for event in events:
        if isinstance(event, Began):
            last = event.prompt.n_tokens - 1
            for position, fired in enumerate(event.fired):
                rows += _rows(position, event.prompt.tokens[position], False, fired)
        elif isinstance(event, Written):
            if event.predicted_at > last:
                rows += _rows(event.predicted_at, token, True, event.fired)
            token = event.token
    return rows


def _rows(
    position: int, token: str, written: bool, fired: Sequence[FiredRule]
) -> list[tuple[Any, ...]]:
    return [
        (
            position,
            token,
            written,
            each.rule_id,
            each.status,
            each.strength,
            each.heads,
            ", ".join(each.beaten_by),
        )
        for each in fired
    ]


def _said(value: Any) -> str:
    """A value of a rule as text; "" where it is left to its default."""
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

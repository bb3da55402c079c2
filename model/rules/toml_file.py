"""The file format of rules: TOML, read strictly and written by hand.

    format = 1
    name = "kitchen"
    version = 3

    [[rule]]
    id = "eating-reads-food"
    reads = ["FOOD"]
    strength = 0.8
    priority = 10
    [rule.when]
    tokens = [" eat", " ate"]

Every message names the line. Unknown keys are refused. What is read is bounded before it is parsed:
a file of `MOST_BYTES`, lines of `LONGEST_LINE` characters, and as many rules as a set holds.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from model.errors import RuleError
from model.rules.checker import Checker
from model.rules.plain import shown
from model.rules.rule import MOST_RULES, Condition, Rule, RuleSet
from model.rules.toml_lines import Lines, find_lines

FORMAT = 1
MOST_BYTES = 2**20
LONGEST_LINE = 4_000  # characters; a key of a million dots would cost its square

_TOP = ("format", "name", "version", "note", "rule")
_RULE = tuple(f.name for f in fields(Rule) if f.name != "line")
_WHEN = tuple(f.name for f in fields(Condition))
_CHECKER = tuple(f.name for f in fields(Checker))
_LISTS = {"reads", "layers", "heads", "over", "blocks", "tokens", "allowed"}


def load_rules(path: Path | str) -> RuleSet:
    """The rules in a file; RuleError says what is wrong, on which line, and what to do."""
    file = Path(path)
    try:
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise _too_large(f"{size:,} bytes")
        content = file.read_bytes()
    except OSError as error:
        raise RuleError(
            "File of rules", str(path), f"cannot be read ({error.strerror})", "Check the path"
        ) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RuleError(
            "File of rules", file.name, f"is not UTF-8 (byte {error.start})", "Save it as UTF-8"
        ) from error
    return parse_rules(text)


def parse_rules(text: str) -> RuleSet:
    """As `load_rules`, from a text."""
    if len(text) > MOST_BYTES:
        raise _too_large(f"{len(text):,} characters")
    text = text.replace("\r\n", "\n")
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > LONGEST_LINE:
            raise RuleError(
                f"Line {number}",
                f"{len(line):,} characters",
                f"may have at most {LONGEST_LINE:,}",
                "Break it",
            )
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        reason = str(error).replace("at end of document", f"at line {text.count(chr(10)) + 1}")
        raise RuleError(
            "File of rules", text[:40], f"is no TOML ({reason})", "Correct that line"
        ) from error
    return _rule_set(document, find_lines(text))


def to_toml(rules: RuleSet) -> str:
    """The file of a rule set, rules in the order of their ids; `parse_rules` gives it back."""
    data = rules.to_dict()
    lines = [f"format = {FORMAT}"]
    lines += [f"{key} = {_value(data[key])}" for key in ("name", "version", "note") if key in data]
    for rule in data["rule"]:
        lines += ["", "[[rule]]"]
        tables = {key: value for key, value in rule.items() if isinstance(value, dict)}
        lines += [f"{key} = {_value(each)}" for key, each in rule.items() if key not in tables]
        for name, table in tables.items():
            lines += [f"[rule.{name}]", *(f"{key} = {_value(each)}" for key, each in table.items())]
    return "\n".join(lines) + "\n"


def _rule_set(document: Mapping[str, Any], lines: Lines) -> RuleSet:
    _known(document, _TOP, "", lines.top.get)
    version = document.get("format")
    if type(version) is not int or version != FORMAT:
        newer = type(version) is int and version > FORMAT
        raise RuleError(
            f"{_line(lines.top.get('format'))}format",
            shown(version),
            f"must be {FORMAT}",
            "Open the file with a newer workbench" if newer else f"Write format = {FORMAT}",
        )
    entries = document.get("rule", [])
    if not isinstance(entries, list):
        raise RuleError(
            f"{_line(lines.top.get('rule'))}rule", shown(entries), "must be [[rule]]", "Correct it"
        )
    if len(entries) > MOST_RULES:
        raise RuleError(
            "Rules",
            f"{len(entries):,}",
            f"a rule set holds at most {MOST_RULES:,}",
            "Keep those that matter, or make several files",
        )
    rules = tuple(_rule(entry, index, lines) for index, entry in enumerate(entries))
    given = {key: document[key] for key in ("name", "version", "note") if key in document}
    try:
        return RuleSet(rules, **given)
    except RuleError as error:
        line = lines.top.get(error.key)
        raise _placed(error, "" if error.subject.startswith("Line") else _line(line)) from error


def _rule(entry: Any, index: int, lines: Lines) -> Rule:
    line = lines.of(index)
    if not isinstance(entry, dict):
        raise RuleError(f"{_line(line)}rule", shown(entry), "must be a table", "Write [[rule]]")
    name = entry.get("id")
    subject = f"rule {name!r}, " if isinstance(name, str) and len(name) <= 64 else ""

    def where(key: str) -> int | None:
        return lines.of(index, key)

    _known(entry, _RULE, subject, where)
    parts: dict[str, Any] = dict(entry)
    for key in ("id", "when", "reads"):
        if key not in entry:
            raise RuleError(f"{_line(line)}{subject}{key}", "missing", "must be given", "Add it")
    try:
        for key, kind, known in (("when", Condition, _WHEN), ("checker", Checker, _CHECKER)):
            if key in entry:
                table = entry[key]
                if not isinstance(table, dict):
                    raise RuleError(
                        key, shown(table), "must be a table", f"Write [rule.{key}]", key
                    )
                _known(table, known, subject, where, f"{key}.")
                if key == "checker" and "kind" not in table:
                    raise RuleError("checker.kind", "missing", "must be given", "Add it", key)
                parts[key] = kind(**_values(table))
        return Rule(**_values(parts), line=line)
    except RuleError as error:
        if error.subject.startswith("Line "):
            raise
        key = error.key
        at = (
            where(key)
            if key.startswith(("checker", "when.")) or key in entry
            else where(f"when.{key}")
        )
        raise _placed(error, f"{_line(at or line)}{subject}") from error


def _values(table: Mapping[str, Any]) -> dict[str, Any]:
    """Lists as tuples; a list of anything else stays, and is refused by what it is given to."""
    return {
        key: tuple(value) if key in _LISTS and isinstance(value, list) else value
        for key, value in table.items()
    }


def _known(
    table: Mapping[str, Any], known: tuple[str, ...], subject: str, where: Any, prefix: str = ""
) -> None:
    for key in table:
        if key not in known:
            raise RuleError(
                f"{_line(where(prefix + key))}{subject}key",
                key[:80],
                f"must be one of {', '.join(known)}",
                "Remove it or correct its spelling",
            )


def _value(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value) if not isinstance(value, float) else repr(value)


def _placed(error: RuleError, before: str) -> RuleError:
    return RuleError(before + error.subject, error.value, error.rule, error.remedy, error.key)


def _line(line: int | None) -> str:
    return "" if line is None else f"Line {line}: "


def _too_large(size: str) -> RuleError:
    return RuleError(
        "File of rules",
        size,
        f"may have at most {MOST_BYTES:,}",
        "Keep the rules that matter, or make several files",
    )

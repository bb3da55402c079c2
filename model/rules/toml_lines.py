"""On which line of a TOML file a key stands: the parser of the standard library does not say.

A light reading of lines: headers, keys and where strings of several lines end. It is used for
messages only; where it is at a loss, the line of the rule, or none, is named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_HEADER = re.compile(r"\s*\[{1,2}\s*([A-Za-z0-9_.\- \"']+?)\s*\]{1,2}\s*(?:#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_\-\"']+(?:\s*\.\s*[A-Za-z0-9_\-\"']+)*)\s*=")
_QUOTES = re.compile(r"\"\"\"|'''|#|\"(?:[^\"\\]|\\.)*\"|'[^']*'")


@dataclass
class Lines:
    """top: key -> line. rules: one mapping a rule, dotted key -> line, "" for its header."""

    top: dict[str, int] = field(default_factory=dict)
    rules: list[dict[str, int]] = field(default_factory=list)

    def of(self, index: int, key: str = "") -> int | None:
        """The line of a key of rule `index`, or of the rule itself."""
        if index >= len(self.rules):
            return self.top.get("rule")
        found = self.rules[index]
        while key and key not in found:
            key = key.rpartition(".")[0]
        return found.get(key)


def find_lines(text: str) -> Lines:
    """Lines of all keys, counted from 1."""
    found = Lines()
    here, prefix, inside = found.top, "", ""
    for number, line in enumerate(text.split("\n"), start=1):
        if inside:
            inside = _still_open(line, inside)
            continue
        if header := _HEADER.match(line):
            name = _name(header.group(1))
            if name == "rule" and line.lstrip().startswith("[["):
                here, prefix = {"": number}, ""
                found.rules.append(here)
            elif name.startswith("rule.") and found.rules:
                here, prefix = found.rules[-1], name.removeprefix("rule.")
                here.setdefault(prefix, number)
            else:
                here, prefix = found.top, name
                here.setdefault(name, number)
            continue
        if key := _KEY.match(line):
            name = _name(key.group(1))
            here.setdefault(f"{prefix}.{name}" if prefix else name, number)
        inside = _still_open(line, "")
    return found


def _name(text: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in text.split("."))


def _still_open(line: str, inside: str) -> str:
    """Which kind of string of several lines is open at the end of the line, "" for none."""
    at = 0
    while at < len(line):
        if inside:
            end = line.find(inside, at)
            if end < 0:
                return inside
            at, inside = end + 3, ""
            continue
        found = _QUOTES.search(line, at)
        if found is None or found.group() == "#":
            return ""
        at = found.end()
        if found.group() in ('"""', "'''"):
            inside = found.group()
    return inside

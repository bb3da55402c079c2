"""Prompts of a batch audit, read one at a time from CSV or JSON lines.

CSV has a header with the column `prompt`, JSON lines are objects with that key; `id` and
`paraphrase` may stand beside it. A paraphrase says the same in other words.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.errors import AuditError, LocalistError

COLUMNS = ("id", "prompt", "paraphrase")
LONGEST_LINE = 2**20  # characters


@dataclass(frozen=True)
class Asked:
    """One row. number: from 1. error: why it cannot be read, "" where it can."""

    number: int
    prompt: str
    id: str = ""
    paraphrase: str = ""
    error: str = ""


def read_asked(path: Path) -> Iterator[Asked]:
    """The rows of a .csv, .jsonl or .ndjson file in UTF-8, in its order, one at a time.

    AuditError where the file cannot be read at all, or lacks the column `prompt`; a single bad line
    of JSON is a row with an error.
    """
    readers: dict[str, Callable[[Path], Iterator[Asked]]] = {
        ".csv": _csv,
        ".jsonl": _jsonl,
        ".ndjson": _jsonl,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise _wrong(path, "must be called .csv, .jsonl or .ndjson")
    try:
        yield from reader(path)
    except UnicodeDecodeError as error:
        raise _wrong(path, f"is not UTF-8 ({error.reason})") from error
    except csv.Error as error:
        raise _wrong(path, f"is no CSV ({error})") from error
    except OSError as error:
        raise _wrong(path, f"cannot be read ({error.strerror})") from error


def _csv(path: Path) -> Iterator[Asked]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, strict=True)
        header = [name.strip().lower() for name in next(rows, [])]
        if "prompt" not in header or len(set(header)) < len(header):
            raise _wrong(path, "must have a header with the column prompt, each column once")
        places = {name: header.index(name) for name in COLUMNS if name in header}
        number = 0
        for row in rows:
            if not row:  # an empty line
                continue
            number += 1
            cells = {name: row[at] for name, at in places.items() if at < len(row)}
            yield _asked(number, cells)


def _jsonl(path: Path) -> Iterator[Asked]:
    number = 0
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        while line := file.readline(LONGEST_LINE):
            if len(line) == LONGEST_LINE and not line.endswith("\n"):
                raise _wrong(path, f"has a line beyond {LONGEST_LINE} characters")
            if not line.strip():
                continue
            number += 1
            try:
                found: Any = json.loads(line)
            except (ValueError, RecursionError):
                found = None
            if not isinstance(found, dict):
                yield Asked(number, "", error="The line is no JSON object")
                continue
            yield _asked(number, {name: found[name] for name in COLUMNS if name in found})


def _asked(number: int, cells: dict[str, Any]) -> Asked:
    known = {"id": str(cells.get("id", ""))[:200]}
    for name in ("prompt", "paraphrase"):
        value = cells.get(name, "") if name == "paraphrase" else cells.get(name)
        try:
            if not isinstance(value, str):
                return Asked(number, "", known["id"], error=f"The {name} is no text")
            value.encode()
        except UnicodeEncodeError:
            return Asked(number, "", known["id"], error=f"The {name} has half a character")
        known[name] = value
    return Asked(number, known["prompt"], known["id"], known["paraphrase"])


def _wrong(path: Path, rule: str) -> LocalistError:
    return AuditError("File of prompts", path.name, rule, "Correct the file")

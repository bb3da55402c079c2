"""The audit log: one JSON line an event, each chained to the one before by its hash.

A line is the canonical JSON of its entry; `hash` is the sha256 of the entry without it, and
`previous` the hash of the entry before. A head file says how many entries there are, where the last
one ends and what its hash is, so that lines cut off the end are missed.

What is found: a changed, inserted, removed or moved line, lines cut off the end, a missing head.
What is not: somebody who may write both files can write a whole new log, cut both back to an
earlier entry, or forge entries at the end. Against that, keep the head's hash elsewhere (`log
verify` prints it): `--expect HASH` holds the log to it, since a log that still has that hash has
every entry up to it unchanged.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model.errors import AuditLogError
from workbench.files import write_atomic
from workbench.paths import store

FORMAT = 1
EVENTS = (
    "log repaired",
    "model loaded",
    "rule injected",
    "rule withdrawn",
    "audit run",
    "export",
    "verification",
)
START = "0" * 64
LONGEST_LINE = 2**20
_KEYS = {"number", "time", "event", "details", "previous", "hash"}


@dataclass(frozen=True)
class Entry:
    """One event. number: from 1. time: UTC, ISO 8601. previous, hash: hex."""

    number: int
    time: str
    event: str
    details: Mapping[str, Any]
    previous: str
    hash: str


@dataclass(frozen=True)
class Head:
    """The last entry that is known to be written: its number, hash, and the byte where it ends."""

    entries: int = 0
    hash: str = START
    bytes: int = 0


def log_file() -> Path:
    """The log of this person's store."""
    return store() / "audit" / "log.jsonl"


def head_file(log: Path) -> Path:
    """The head that belongs to a log."""
    return log.with_suffix(".head.json")


def canonical(value: Any) -> str:
    """JSON in its one form: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def append(event: str, details: Mapping[str, Any], log: Path | None = None) -> Entry:
    """Write one event at the end, on disk when this returns; several processes may do so at once.

    AuditLogError when the end of the log is not what its head says: nothing is written on top of a
    log that was cut or altered there. What a killed writer left of a line is cut off, and an entry
    "log repaired" says so.
    """
    if event not in EVENTS:
        raise AuditLogError("Event", event, f"must be one of {', '.join(EVENTS)}", "Use one")
    path = log_file() if log is None else log
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path), path.open("a+b") as file:
        head = _read_head(path)
        if head is None:
            if os.fstat(file.fileno()).st_size:
                raise _broken(path, "has entries and no head file")
            head = Head()
            _write_head(path, head)
        head, cut = _end(file, path, head)
        if cut:
            os.ftruncate(file.fileno(), head.bytes)
            kept = {"bytes": len(cut), "sha256": hashlib.sha256(cut).hexdigest()}
            head, _ = _write(file, path, head, "log repaired", kept)
        _, entry = _write(file, path, head, event, details)
    return entry


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone with a log until the block ends; a process that dies lets go."""
    with path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def parse(line: bytes) -> Entry:
    """The entry of one line without its end; ValueError says what is wrong with the line."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError("is no JSON") from error
    if not isinstance(found, dict) or set(found) != _KEYS:
        raise ValueError(f"must have the keys {', '.join(sorted(_KEYS))}")
    try:
        if canonical(found).encode() != line:
            raise ValueError("is not in the form in which it was written")
    except UnicodeEncodeError as error:
        raise ValueError("is not in the form in which it was written") from error
    entry = Entry(**found)
    if type(entry.number) is not int or not isinstance(entry.details, dict):
        raise ValueError("must have a number and details")
    del found["hash"]
    if _hash(found) != entry.hash:
        raise ValueError("was altered: its hash is not that of its content")
    return entry


def read_head(log: Path) -> Head | None:
    """The head, None where there is none; AuditLogError where it is none."""
    return _read_head(log)


def _end(file: Any, path: Path, head: Head) -> tuple[Head, bytes]:
    """The head once it has taken in what stands behind it, and what is left of a line after it.

    A writer that was killed between line and head leaves whole entries behind the head.
    """
    size = os.fstat(file.fileno()).st_size
    if size < head.bytes:
        raise _broken(path, f"is {head.bytes - size} bytes shorter than its head says")
    file.seek(max(0, head.bytes - 1))
    rest = file.read(size)
    if head.bytes:
        if rest[:1] != b"\n":
            raise _broken(path, "does not end where its head says")
        rest = rest[1:]
    *whole, cut = rest.split(b"\n")
    for line in whole:
        try:
            entry = parse(line)
        except ValueError as error:
            raise _broken(path, f"has a line behind its head that {error}") from error
        if entry.previous != head.hash or entry.number != head.entries + 1:
            raise _broken(path, "has a line behind its head that does not follow it")
        head = Head(entry.number, entry.hash, head.bytes + len(line) + 1)
    return head, cut


def _write(
    file: Any, path: Path, head: Head, event: str, details: Mapping[str, Any]
) -> tuple[Head, Entry]:
    content: dict[str, Any] = {
        "number": head.entries + 1,
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "event": event,
        "details": dict(details),
        "previous": head.hash,
    }
    try:
        content = json.loads(canonical(content))  # lists for tuples, as they will be read
        entry = Entry(**content, hash=_hash(content))
        line = canonical({**content, "hash": entry.hash}).encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise AuditLogError(
            "Details of an event",
            details,
            f"cannot be written as JSON ({error})",
            "Give plain values",
        ) from error
    if len(line) > LONGEST_LINE:
        raise AuditLogError(
            "Details of an event",
            f"{len(line)} bytes",
            f"may have at most {LONGEST_LINE} in the log",
            "Log hashes in place of content",
        )
    file.seek(0, os.SEEK_END)
    file.write(line)
    file.flush()
    os.fsync(file.fileno())
    head = Head(entry.number, entry.hash, head.bytes + len(line))
    _write_head(path, head)
    return head, entry


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def _read_head(log: Path) -> Head | None:
    path = head_file(log)
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise _broken(log, "has a head file that is no JSON") from error
    names = {"format": int, "entries": int, "hash": str, "bytes": int}
    right = isinstance(found, dict) and {k: type(v) for k, v in found.items()} == names
    if not right or found["format"] != FORMAT:
        raise _broken(log, "has a head file of another format")
    return Head(found["entries"], found["hash"], found["bytes"])


def _write_head(log: Path, head: Head) -> None:
    content = {"format": FORMAT, "entries": head.entries, "hash": head.hash, "bytes": head.bytes}
    write_atomic(head_file(log), (canonical(content) + "\n").encode())


def _broken(path: Path, what: str) -> AuditLogError:
    return AuditLogError(
        "Audit log",
        path.name,
        what,
        "Run `python -m workbench log verify`, then move log and head aside to begin a new log",
    )

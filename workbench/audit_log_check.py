"""Reading an audit log from its first line to its last: does it still say what was written?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model.errors import AuditLogError
from workbench.audit_log import LONGEST_LINE, START, Entry, head_file, locked, parse, read_head


@dataclass(frozen=True)
class LogReport:
    """What a verification found. entries: that verify, from the first on; head: hash of the last.

    fault: what is wrong at the first place where something is, "" where nothing is. notes: what a
    reader should know and what breaks nothing, such as a line that a killed writer left unfinished.
    """

    entries: int
    head: str
    fault: str = ""
    notes: tuple[str, ...] = ()

    @property
    def intact(self) -> bool:
        return not self.fault


def verify_log(log: Path, expect: str = "") -> LogReport:
    """Every entry against its hash, its neighbour and the head; memory does not grow with the log.

    expect: a hash that the chain must hold, from the head that somebody noted down. AuditLogError
    where there is neither log nor head, since then there is nothing to say.
    """
    if not log.exists() and not head_file(log).exists():
        raise AuditLogError(
            "Audit log", log.name, "does not exist", "Audit something first, or name the file"
        )
    with locked(log):
        return _verify(log, expect)


def read_entries(log: Path) -> Iterator[Entry]:
    """Entries in their order up to the first line that is none; nothing is checked but the line."""
    for line, whole in _lines(log):
        if not whole:
            return
        try:
            yield parse(line)
        except ValueError:
            return


def _verify(log: Path, expect: str) -> LogReport:
    entries, last, end, notes = 0, START, 0, []
    try:
        head = read_head(log)
    except AuditLogError as error:
        return LogReport(0, START, f"{error.rule} ({head_file(log).name})")
    at_head, expected = head is not None and head.entries == 0, not expect or expect == START
    for number, (line, whole) in enumerate(_lines(log), start=1):
        if not whole and len(line) < LONGEST_LINE:
            notes.append(
                f"line {number} is cut short: a writer was killed; the next event will repair it"
            )
            break
        fault = ""
        try:
            entry = parse(line) if whole else None
        except ValueError as error:
            entry, fault = None, f"line {number} {error}"
        if entry is None:
            return LogReport(entries, last, fault or f"line {number} is too long to be an entry")
        if entry.number != number:
            fault = f"line {number} holds entry {entry.number}: lines were removed, added or moved"
        elif entry.previous != last:
            fault = f"line {number} does not follow the line before it"
        if fault:
            return LogReport(entries, last, fault)
        entries, last, end = number, entry.hash, end + len(line) + 1
        if head is not None and head.entries == number:
            if (head.hash, head.bytes) != (last, end):
                return LogReport(
                    entries, last, f"entry {number} is not the one that the head knows"
                )
            at_head = True
        expected = expected or entry.hash == expect
    if head is None:
        return LogReport(
            entries, last, "the head file is missing: lines may have been cut off the end"
        )
    if not at_head:
        missing = head.entries - entries
        return LogReport(entries, last, f"{missing} entries were cut off the end")
    if not expected:
        return LogReport(entries, last, f"no entry has the expected hash {expect}")
    if entries > head.entries:
        notes.append(
            f"{entries - head.entries} entries stand behind the head: a writer was killed before "
            "it wrote the head, or they were added by hand"
        )
    return LogReport(entries, last, "", tuple(notes))


def _lines(log: Path) -> Iterator[tuple[bytes, bool]]:
    """Lines without their ends, and whether they had one; `LONGEST_LINE` bytes at a time."""
    if not log.exists():
        return
    with log.open("rb") as file:
        while line := file.readline(LONGEST_LINE):
            yield line.removesuffix(b"\n"), line.endswith(b"\n")

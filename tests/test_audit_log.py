"""The audit log: what it finds, two writers at once, and writers that are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from model.errors import AuditLogError
from tests.serving import ROOT
from workbench.audit_log import START, append, canonical, head_file, log_file
from workbench.audit_log_check import read_entries, verify_log
from workbench.cli import main

WRITER = """
import sys
from pathlib import Path
from workbench.audit_log import append
log, who, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for number in range(count):
    append("audit run", {"who": who, "number": number, "filler": "x" * 2000}, log)
"""
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of six events."""
    path = tmp_path / "audit" / "log.jsonl"
    for number in range(6):
        append("audit run", {"number": number, "text": "=1+1 <b>\u202e"}, path)
    return path


def writer(log: Path, who: str, count: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, str(log), who, str(count)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)


def lines(log: Path) -> list[bytes]:
    return log.read_bytes().splitlines(keepends=True)


def test_entries_are_chained_and_verify(log: Path) -> None:
    report = verify_log(log)
    entries = list(read_entries(log))
    assert (report.intact, report.entries, report.notes) == (True, 6, ())
    assert [each.number for each in entries] == [1, 2, 3, 4, 5, 6]
    assert [each.previous for each in entries] == [START, *(each.hash for each in entries[:-1])]
    assert report.head == entries[-1].hash
    assert entries[2].details == {"number": 2, "text": "=1+1 <b>\u202e"}
    assert json.loads(lines(log)[0])["event"] == "audit run"


def altered(kept: list[bytes]) -> list[bytes]:
    return [*kept[:2], kept[2].replace(b'"number":2,', b'"number":7,'), *kept[3:]]


def rehashed(kept: list[bytes]) -> list[bytes]:
    """The forger knows how a line is hashed, and forgets the line after it."""
    import hashlib

    entry = json.loads(kept[2])
    entry["details"]["number"] = 7
    del entry["hash"]
    entry["hash"] = hashlib.sha256(canonical(entry).encode()).hexdigest()
    return [*kept[:2], canonical(entry).encode() + b"\n", *kept[3:]]


FORGERIES = {
    "altered": (altered, 2, "was altered"),
    "rehashed": (rehashed, 3, "does not follow"),
    "a space": (lambda k: [*k[:2], k[2].replace(b":", b": ", 1), *k[3:]], 2, "not in the form"),
    "swapped": (lambda k: [*k[:2], k[3], k[2], *k[4:]], 2, "holds entry 4"),
    "removed": (lambda k: [*k[:2], *k[3:]], 2, "holds entry 4"),
    "doubled": (lambda k: [*k[:3], k[2], *k[3:]], 3, "holds entry 3"),
    "first removed": (lambda k: k[1:], 0, "holds entry 2"),
    "no JSON": (lambda k: [*k[:2], b"[1\n", *k[3:]], 2, "no JSON"),
    "other keys": (lambda k: [*k[:2], b'{"a":1}\n', *k[3:]], 2, "must have the keys"),
    "cut": (lambda k: k[:4], 4, "2 entries were cut off the end"),
    "emptied": (lambda k: [], 0, "6 entries were cut off the end"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_what_a_forger_does_is_found(log: Path, name: str) -> None:
    forge, verified, fault = FORGERIES[name]
    log.write_bytes(b"".join(forge(lines(log))))
    report = verify_log(log)
    assert not report.intact and fault in report.fault
    assert report.entries == verified


def test_a_log_cut_within_its_last_line_by_hand_misses_that_entry(log: Path) -> None:
    log.write_bytes(log.read_bytes()[:-10])
    assert "1 entries were cut off" in verify_log(log).fault
    with pytest.raises(AuditLogError, match="shorter than its head says"):
        append("export", {}, log)


def test_a_missing_log_and_a_missing_or_spoilt_head_are_found(log: Path) -> None:
    head = head_file(log).read_bytes()
    head_file(log).write_bytes(b"{}")
    assert "another format" in verify_log(log).fault
    head_file(log).unlink()
    assert "head file is missing" in verify_log(log).fault
    with pytest.raises(AuditLogError, match="no head file"):
        append("export", {}, log)
    log.unlink()
    with pytest.raises(AuditLogError, match="does not exist"):
        verify_log(log)
    head_file(log).write_bytes(head)
    assert "6 entries were cut off" in verify_log(log).fault


def test_a_whole_new_log_is_found_by_a_head_that_was_noted_down(log: Path) -> None:
    noted = verify_log(log).head
    append("export", {}, log)
    assert verify_log(log, noted).intact
    log.unlink()
    head_file(log).unlink()
    for number in range(7):
        append("audit run", {"number": number}, log)
    assert verify_log(log).intact  # this much cannot be seen from the two files alone
    assert noted in verify_log(log, noted).fault


def test_what_a_killed_writer_left_is_noted_and_repaired(log: Path) -> None:
    with log.open("ab") as file:
        file.write(b'{"details":{"half":')
    report = verify_log(log)
    assert report.intact and report.entries == 6 and "cut short" in report.notes[0]
    append("export", {"after": True}, log)
    report, entries = verify_log(log), list(read_entries(log))
    assert (report.intact, report.entries, report.notes) == (True, 8, ())
    assert entries[6].event == "log repaired" and entries[6].details["bytes"] == 19
    assert entries[7].details == {"after": True}


def test_a_writer_killed_before_the_head_leaves_an_entry_behind_it(log: Path) -> None:
    head = head_file(log).read_bytes()
    append("export", {}, log)
    head_file(log).write_bytes(head)
    report = verify_log(log)
    assert report.intact and report.entries == 7 and "behind the head" in report.notes[0]
    append("export", {}, log)
    assert verify_log(log).entries == 8 and verify_log(log).notes == ()
    head_file(log).write_bytes(head)
    kept = lines(log)
    log.write_bytes(b"".join([*kept[:6], kept[7]]))
    with pytest.raises(AuditLogError, match="behind its head"):
        append("export", {}, log)


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    processes = [writer(log, who, 25) for who in ("a", "b")]
    for process in processes:
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 0, said
    assert verify_log(log).entries == 50 and verify_log(log).intact
    found = [(each.details["who"], each.details["number"]) for each in read_entries(log)]
    for who in ("a", "b"):  # each in its own order, none lost
        assert [number for name, number in found if name == who] == list(range(25))


def test_writers_that_are_killed_leave_a_log_that_verifies(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    log, before = tmp_path / "log.jsonl", 0
    for turn in range(6):
        process = writer(log, f"turn {turn}", 100_000)
        while not log.exists() or log.stat().st_size <= before:
            time.sleep(0.005)
        time.sleep(float(rng.uniform(0.0, 0.05)))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        report = verify_log(log)
        assert report.intact, report.fault
        before = log.stat().st_size
    append("export", {}, log)
    report = verify_log(log)
    assert report.intact and not report.notes
    turns = {each.details.get("who") for each in read_entries(log)}
    assert turns >= {f"turn {turn}" for turn in range(6)}


def test_bad_events_are_refused_and_nothing_is_written(log: Path) -> None:
    size = log.stat().st_size
    for event, details, message in (
        ("party", {}, "must be one of"),
        ("export", {"a": float("nan")}, "as JSON"),
        ("export", {"a": object()}, "as JSON"),
        ("export", {"a": "\ud800"}, "as JSON"),
        ("export", {"a": "x" * 2**20}, "at most"),
    ):
        with pytest.raises(AuditLogError, match=message):
            append(event, details, log)
    assert log.stat().st_size == size and verify_log(log).intact


def test_the_command_says_what_it_found(log: Path, capsys: Captured) -> None:
    file = ["--file", str(log)]
    assert main(["log", "verify", *file]) == 0
    said = capsys.readouterr().out
    assert said.startswith("6 entries verify; head ")
    assert main(["log", "verify", *file, "--expect", said.split()[-1]]) == 0
    assert main(["log", "verify", *file, "--expect", "ab"]) == 1
    assert "no entry has the expected hash" in capsys.readouterr().out
    assert main(["log", "show", *file, "--last", "2"]) == 0
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) == 2 and "\u202e" not in shown
    log.write_bytes(b"".join(lines(log)[:3]))
    assert main(["log", "verify", *file]) == 1
    assert "ALTERED: 3 entries were cut off the end" in capsys.readouterr().out
    assert main(["log", "verify", "--file", str(log.with_name("other.jsonl"))]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_the_log_lies_in_the_store(own_store: Path) -> None:
    assert log_file() == own_store.resolve() / "audit" / "log.jsonl"

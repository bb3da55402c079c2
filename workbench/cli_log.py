"""`log`: read the audit log, and verify that nobody changed it."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Generator
from pathlib import Path
from typing import Any

from workbench.audit_log import canonical, log_file
from workbench.audit_log_check import read_entries, verify_log
from workbench.text import display_token


def add_to(commands: Any) -> None:
    """Add the subcommand to an argparse collection of them."""
    command = commands.add_parser(
        "log",
        help="read or verify the audit log",
        description="The audit log has one line an event, each chained to the one before. "
        "`verify` exits with 0 where every entry stands as it was written, 1 where the log was "
        "altered, cut or reordered, 2 where there is none. Somebody who may write both log and "
        "head can write a new log: keep the printed hash elsewhere, and give it as --expect.",
    )
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=True)
    verify = actions.add_parser("verify", help="hold every entry against the chain and the head")
    verify.add_argument("--expect", default="", metavar="HASH", help="a hash that it must hold")
    show = actions.add_parser("show", help="print the last entries")
    show.add_argument("--last", type=int, default=20, metavar="N", help="how many (20)")
    for action, run in ((verify, run_verify), (show, run_show)):
        action.add_argument("--file", metavar="F", help="another log than that of the store")
        action.set_defaults(run=run)


def run_verify(options: argparse.Namespace) -> Generator[tuple[str, str], None, int]:
    """(stream, text) pairs, and the exit code."""
    report = verify_log(_file(options), options.expect)
    for note in report.notes:
        yield "err", f"note: {note}"
    if report.fault:
        yield "out", f"ALTERED: {report.fault}"
        yield "out", f"{report.entries} entries before that verify"
        return 1
    yield "out", f"{report.entries} entries verify; head {report.head}"
    return 0


def run_show(options: argparse.Namespace) -> Generator[tuple[str, str], None, int]:
    """(stream, text) pairs: a line an entry."""
    for entry in deque(read_entries(_file(options)), maxlen=max(0, options.last)):
        details = "".join(
            each if each == " " else display_token(each) for each in canonical(entry.details)
        )
        yield "out", f"{entry.number:6} {entry.time} {entry.event}: {details}"
    return 0


def _file(options: argparse.Namespace) -> Path:
    return Path(options.file) if options.file else log_file()

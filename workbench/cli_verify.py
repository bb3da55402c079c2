"""`verify`: audit again what an evidence bundle says, and compare every number."""

from __future__ import annotations

import argparse
from collections.abc import Generator
from pathlib import Path
from typing import Any

from workbench.audit_log import append
from workbench.cli_sweep import read_texts


def add_to(commands: Any) -> None:
    """Add the subcommand to an argparse collection of them."""
    command = commands.add_parser(
        "verify",
        help="audit again what an evidence bundle says",
        description="Runs the audit of a bundle again on the model that is here, and compares. "
        "Exits with 0 where all agrees, 1 where something differs (where, and by how much), 2 "
        "where it cannot be told (and why).",
    )
    command.add_argument("folder", metavar="DIR", help="a bundle that `audit` wrote")
    command.add_argument("--text-file", metavar="F", help="the prompts, where DIR redacts them")
    command.add_argument("--device", default="", help="another device than that of the bundle")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> Generator[tuple[str, str], None, int]:
    """(stream, text) pairs, and the exit code."""
    texts = read_texts(Path(options.text_file)) if options.text_file else None
    from workbench.evidence_verify import AGREE, EXIT, tolerance, verify_bundle

    found = verify_bundle(Path(options.folder), texts, options.device)
    append("verification", {"bundle": found.content_hash, "status": found.status})
    for note in found.notes:
        yield "err", f"note: {note}"
    yield "out", f"{found.status}{'' if found.status == AGREE else ':'}"
    for reason in found.reasons:
        yield "out", f"  {reason}"
    if found.numbers:
        yield "err", f"{found.numbers} numbers compared, largest difference {found.largest:.3g}"
        yield "err", tolerance()
    return EXIT[found.status]

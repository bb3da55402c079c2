"""`--json OUT`: a file, written whole, or `-` for standard output and nothing else on it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model.errors import LocalistError
from workbench.files import to_json, write_atomic


def add_json(command: argparse.ArgumentParser, what: str, required: bool = False) -> None:
    """Add the option to a command; `what` names what is written."""
    command.add_argument(
        "--json",
        metavar="OUT",
        required=required,
        help=f"write {what} as JSON to a file, or to standard output for -",
    )


def check_output(out: str) -> None:
    """LocalistError, before any work is done, where `out` cannot be written."""
    path = Path(out)
    if out != "-" and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise LocalistError(
            "Output file", out, "must lie in a folder that exists", "Create the folder first"
        )


def write_json(out: str, data: Any) -> Iterator[tuple[str, str]]:
    """Lines for the terminal; the file is written before the first of them."""
    check_output(out)
    text = to_json(data)
    if out == "-":
        yield "out", text.rstrip("\n")
        return
    try:
        write_atomic(Path(out).absolute(), text.encode())
    except OSError as error:
        raise LocalistError(
            "Output file", out, f"cannot be written ({error.strerror})", "Choose another place"
        ) from error
    yield "err", f"written: {out}"

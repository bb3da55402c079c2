"""The command line, one subcommand a module of `COMMANDS`. Results on stdout, the rest on stderr.

Exit codes: 0 done, 1 the machine refused (a full disk) or a verification found a difference, 2 bad
input or nothing to verify (the message says what to do), 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from model.errors import LocalistError
from workbench import (
    cli_anchors,
    cli_audit,
    cli_bounds,
    cli_certify,
    cli_examples,
    cli_log,
    cli_models,
    cli_path,
    cli_rules,
    cli_sparse,
    cli_sweep,
    cli_train,
    cli_verify,
)

COMMANDS = (
    cli_models,
    cli_train,
    cli_sparse,
    cli_certify,
    cli_path,
    cli_sweep,
    cli_bounds,
    cli_anchors,
    cli_examples,
    cli_audit,
    cli_verify,
    cli_log,
    cli_rules,
)


def parser() -> argparse.ArgumentParser:
    """The parser with one subcommand a module of `COMMANDS`."""
    top = argparse.ArgumentParser(
        prog="python -m workbench",
        description="Localist Workbench: train, list and measure models with a locality dial.",
        epilog="`python -m workbench COMMAND --help` explains a command.",
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in COMMANDS:
        module.add_to(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    try:
        options = parser().parse_args(arguments)
    except SystemExit as stop:  # argparse has printed help, or what is wrong
        return int(stop.code or 0)
    try:
        return _run(options.run(options))
    except LocalistError as error:
        _print(f"error: {error}", sys.stderr)
        return 2
    except OSError as error:  # a full disk, a folder that may not be written
        if isinstance(error, BrokenPipeError):  # the reader of our output has gone
            sys.stderr.close()
            return 0
        _print(f"error: {error}", sys.stderr)
        return 1
    except KeyboardInterrupt:
        _print("interrupted", sys.stderr)
        return 130


def _run(lines: Iterator[tuple[str, str]]) -> int:
    """Print each line as it comes; the exit code that a generator returns, else 0."""
    while True:
        try:
            stream, text = next(lines)
        except StopIteration as end:
            return int(end.value or 0)
        _print(text, sys.stdout if stream == "out" else sys.stderr)


def _print(text: str, stream: TextIO) -> None:
    print(text, file=stream, flush=True)

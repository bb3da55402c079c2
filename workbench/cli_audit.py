"""`audit`: audit prompts, and write the evidence that another person can verify."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.audit_log import append
from workbench.cli_sweep import parse_dials, progress_line, read_texts, trained_gain
from workbench.devices import CHOICES
from workbench.models import open_model


def add_to(commands: Any) -> None:
    """Add the subcommand to an argparse collection of them."""
    command = commands.add_parser(
        "audit",
        help="audit prompts and write evidence",
        description="Which blocks fire on each prompt and why, what removing them does to the next "
        "tokens beside the attention they draw, and which bounds hold: as JSON, CSV and a report, "
        "in a folder that `verify` can hold to the model.",
    )
    command.add_argument("--model", required=True, metavar="M", help="a name that `models` lists")
    command.add_argument(
        "--text-file",
        required=True,
        metavar="F",
        help="UTF-8, one prompt a line; empty ones skipped",
    )
    command.add_argument(
        "--out", required=True, metavar="DIR", help="a folder that is not there yet"
    )
    add_dial(command)
    command.add_argument(
        "--redact",
        action="store_true",
        help="keep no text: prompts by salted hash; hides them from readers, not from guessing",
    )
    command.add_argument("--salt", default="", metavar="HEX", help="for --redact (drawn anew)")
    command.set_defaults(run=run)
    add_batch(commands)


def add_batch(commands: Any) -> None:
    """Add the subcommand for many prompts."""
    command = commands.add_parser(
        "audit-batch",
        help="audit many prompts",
        description="Which blocks fire on each prompt, how much they cover, bits a token, and how "
        "steady that is under other dials and paraphrases. Streams; the same command goes on where "
        "an interrupted one stopped.",
    )
    command.add_argument("--model", required=True, metavar="M", help="a name that `models` lists")
    command.add_argument(
        "--prompts",
        required=True,
        metavar="F",
        help=".csv or .jsonl with `prompt`, and `id` and `paraphrase` where there are such",
    )
    command.add_argument("--out", required=True, metavar="DIR", help="a folder, new or to go on in")
    command.add_argument(
        "--dials", default="1", help="values in [0, 1]; others are held to the first (1)"
    )
    add_dial(command, one=False)
    command.set_defaults(run=run_many)


def add_dial(command: argparse.ArgumentParser, one: bool = True) -> None:
    """Add the options that say how a model runs and where; `one`: at one dial value."""
    if one:
        command.add_argument("--dial", type=float, default=1.0, help="a value in [0, 1] (1)")
    command.add_argument("--gain", type=float, help="gain of the dial (the model's own)")
    command.add_argument("--temperature", type=float, default=1.0, help="at dial 1 (1)")
    command.add_argument("--schedule", default="uniform", choices=("uniform", "progressive"))
    command.add_argument("--beta", type=float, default=1.0, help="of a progressive schedule (1)")
    command.add_argument("--device", default="auto", help=", ".join(CHOICES) + " (auto)")


def run(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """(stream, text) pairs; input is checked before anything is loaded."""
    texts = read_texts(Path(options.text_file))
    from workbench.evidence import Settings, check_folder, write_bundle
    from workbench.evidence_redaction import check_salt
    from workbench.inference import device_of

    folder = Path(options.out).absolute()
    check_folder(folder)
    salt = check_salt(options.salt) or secrets.token_hex(16)
    model = open_model(options.model, options.device)
    settings = Settings(
        options.model,
        options.dial,
        trained_gain(model.provenance) if options.gain is None else options.gain,
        options.temperature,
        options.schedule,
        options.beta,
        device_of(model),
        salt if options.redact else "",
    )
    append("model loaded", {"model": options.model, "content_hash": model.content_hash})
    content_hash = write_bundle(folder, model, texts, settings, progress_line)
    asked = {"model": model.content_hash, "dial": options.dial, "prompts": len(texts)}
    append("audit run", {**asked, "bundle": content_hash})
    append("export", {"bundle": content_hash})
    yield "out", content_hash
    yield "err", f"written: {options.out} ({len(texts)} prompts)"


def run_many(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """(stream, text) pairs; input is checked before anything is loaded."""
    values, prompts = parse_dials(options.dials), Path(options.prompts)
    from model.locality.dial import Dial, Schedule
    from workbench.audit_batch_files import SUMMARY, run_batch
    from workbench.evidence import check_parent

    folder = Path(options.out).absolute()
    check_parent(folder)
    schedule = Schedule(options.schedule, options.beta)
    model = open_model(options.model, options.device)
    gain = trained_gain(model.provenance) if options.gain is None else options.gain
    dials = [Dial(value, gain, options.temperature, schedule) for value in values]
    append("model loaded", {"model": options.model, "content_hash": model.content_hash})
    done = 0
    for done in run_batch(folder, prompts, model, dials):
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{done} prompts")
            sys.stderr.flush()
    append("audit run", {"model": model.content_hash, "dials": values, "prompts": done})
    yield "out", (folder / SUMMARY).read_text("utf-8").rstrip("\n")
    yield "err", f"written: {options.out} ({done} prompts)"

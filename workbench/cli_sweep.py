"""`sweep`: perplexity and localism of a model on a text, over dial values."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from model.errors import DialError, TextError
from workbench.cli_output import add_json, check_output, write_json
from workbench.devices import CHOICES
from workbench.models import open_model

LARGEST_FILE = 64 * 2**20
DIALS = "0,0.25,0.5,0.75,0.9,1"


def add_to(commands: Any) -> None:
    """Add the subcommand to an argparse collection of them."""
    command = commands.add_parser(
        "sweep",
        help="measure a model on a text over dial values",
        description="One text a line, each with its own begin-of-text, cut into windows. Writes, "
        "per dial value, nats per token, perplexity, entropy and shares, overall and per head.",
    )
    add_reading(command, DIALS)
    add_json(command, "the results", required=True)
    command.set_defaults(run=run)


def add_reading(command: argparse.ArgumentParser, dials: str) -> None:
    """Add the options of a command that reads a text with a model over dial values."""
    command.add_argument("--model", required=True, metavar="M", help="a name that `models` lists")
    command.add_argument(
        "--text-file",
        required=True,
        metavar="F",
        help="UTF-8, one text a line; empty lines skipped",
    )
    command.add_argument("--dials", default=dials, help=f"values in [0, 1] ({dials})")
    command.add_argument("--window", type=int, default=64, help="tokens a window (64)")
    command.add_argument("--gain", type=float, help="gain of the dial (the model's own)")
    command.add_argument("--schedule", default="uniform", choices=("uniform", "progressive"))
    command.add_argument("--beta", type=float, default=1.0, help="of a progressive schedule (1)")
    command.add_argument("--device", default="auto", help=", ".join(CHOICES) + " (auto)")


def run(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """(stream, text) pairs; input is checked before anything is loaded."""
    asked = reading(options)
    from workbench.sweep import sweep

    yield from write_json(options.json, {"model": options.model, **sweep(**asked)})


def reading(options: argparse.Namespace) -> dict[str, Any]:
    """What `add_reading` asked for, as the arguments of a service; the model is opened last."""
    dials, texts = parse_dials(options.dials), read_texts(Path(options.text_file))
    check_output(options.json)
    model = open_model(options.model, options.device)

    from model.locality.dial import Schedule

    return {
        "model": model,
        "texts": texts,
        "dials": dials,
        "window": options.window,
        "gain": trained_gain(model.provenance) if options.gain is None else options.gain,
        "schedule": Schedule(options.schedule, options.beta),
        "progress": progress_line,
    }


def trained_gain(provenance: Mapping[str, Any]) -> float:
    """The gain that the model was trained with, or the default of the dial."""
    from model.locality.dial import DEFAULT_GAIN

    preset = provenance.get("preset")
    gain = preset.get("gain") if isinstance(preset, Mapping) else None
    return float(gain) if isinstance(gain, (int, float)) else DEFAULT_GAIN


def progress_line(done: int, total: int) -> None:
    """A line that overwrites itself, only where a person watches."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done}/{total} windows" + ("\n" if done == total else ""))
        sys.stderr.flush()


def parse_dials(text: str) -> list[float]:
    """Comma-separated dial values; DialError names the first that is none."""
    from model.locality.dial import check_dial

    found = []
    for part in text.split(","):
        try:
            number = float(part)
        except ValueError:
            raise DialError(
                "Dial", part.strip(), "must be a number", f"Give values such as {DIALS}"
            ) from None
        found.append(check_dial(number))
    return found


def read_texts(path: Path) -> list[str]:
    """The lines of a UTF-8 file that are not empty; TextError where there are none."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise TextError(
                "Text file", path.name, f"must have at most {LARGEST_FILE} bytes", "Cut it in parts"
            )
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextError(
            "Text file", path.name, f"is not UTF-8 (byte {error.start})", "Save it as UTF-8"
        ) from error
    except OSError as error:
        raise TextError(
            "Text file", str(path), f"cannot be read ({error.strerror})", "Check the path"
        ) from error
    # Not splitlines(): form feeds and U+2028 belong to their text.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    texts = [line for line in lines if line]
    if not texts:
        raise TextError("Text file", path.name, "holds no text", "Write one text a line")
    return texts

"""Links to what is on the screen: the choices of a person as query parameters, and back.

A link carries names, hashes and numbers. The text goes in only where a person asked for that; an
example goes in by its name. Whatever is read is checked one by one: a bad value is reported and its
default used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from model.errors import DialError
from workbench.choices import DEFAULT_DIAL, Choices, check

VERSION = "1"
LONGEST_PROMPT = 1500  # characters; links of more than a few thousand bytes get cut on their way
_FACTORS = ("gain", "temperature")


@dataclass(frozen=True)
class Link:
    """What a link says. model_hash: the first digits; example: its name; prompt: None if not in it.

    dial_b: the second dial where two are compared, else None.
    """

    model: str = ""
    model_hash: str = ""
    layer: int = 0
    head: int = 0
    dial: float = DEFAULT_DIAL
    dial_b: float | None = None
    choices: Choices = field(default_factory=Choices)
    example: str = ""
    prompt: str | None = None


def write(link: Link) -> dict[str, str]:
    """Query parameters; what stands at its default is left out, but for what numbers depend on."""
    choices = link.choices
    found = {
        "v": VERSION,
        "model": link.model,
        "hash": link.model_hash,
        "layer": str(link.layer),
        "head": str(link.head),
        "dial": _number(link.dial),
        "schedule": _schedule(choices),
        "gain": _number(choices.gain),
        "temperature": _number(choices.temperature),
    }
    if link.dial_b is not None:
        found["compare"] = _number(link.dial_b)
    if link.example:
        found["example"] = link.example
    elif link.prompt is not None and len(link.prompt) <= LONGEST_PROMPT:
        found["prompt"] = link.prompt
    return found


def read(parameters: Mapping[str, str]) -> tuple[Link, tuple[str, ...]]:
    """The link, and a sentence for every value that was not taken as it stands."""
    problems: list[str] = []
    version = parameters.get("v", VERSION)
    if version != VERSION:
        problems.append(
            f"The link is of version {version[:12]!r}, this workbench reads version {VERSION}: "
            "values whose meaning may have changed were checked one by one."
        )
    link = Link(
        model=parameters.get("model", ""),
        model_hash=parameters.get("hash", ""),
        layer=_index(parameters, "layer", problems),
        head=_index(parameters, "head", problems),
        dial=_fraction(parameters, "dial", DEFAULT_DIAL, problems),
        choices=_choices(parameters, problems),
        example=parameters.get("example", ""),
        prompt=parameters.get("prompt"),
    )
    if "compare" in parameters:
        link = replace(link, dial_b=_fraction(parameters, "compare", 1.0, problems))
    known = {"v", "model", "hash", "layer", "head", "dial", "compare", "schedule", *_FACTORS}
    for name in sorted(parameters.keys() - known - {"example", "prompt"}):
        problems.append(f"The link's {name[:40]!r} is unknown and was left aside.")
    return link, tuple(problems)


def fitted(link: Link, n_layers: int, n_heads: int) -> tuple[Link, tuple[str, ...]]:
    """The link with indices and weights that a model of that size has, and what was changed."""
    problems = []
    for name, count in (("layer", n_layers), ("head", n_heads)):
        value = getattr(link, name)
        if value >= count:
            problems.append(
                f"The link's {name} is {value}: this model has {count} of them, counted from 0. "
                f"{name.title()} 0 is shown."
            )
            link = replace(link, **{name: 0})
    if not link.choices.fits(n_layers, n_heads):
        problems.append(
            f"The link's hand-set schedule does not fit {n_layers} layers of {n_heads} heads. "
            "The uniform schedule is used."
        )
        link = replace(link, choices=replace(link.choices, kind="uniform", weights=None))
    return link, tuple(problems)


def _choices(parameters: Mapping[str, str], problems: list[str]) -> Choices:
    choices = Choices()
    if "schedule" in parameters:
        try:
            choices = _read_schedule(parameters["schedule"])
        except (DialError, ValueError):
            problems.append(
                _refused("schedule", parameters["schedule"], "uniform, progressive:β or hand:rows")
                + " The uniform schedule is used."
            )
    for name in _FACTORS:
        if name not in parameters:
            continue
        try:
            choices = replace(choices, **{name: float(parameters[name])})
        except (DialError, ValueError):
            used = f" {getattr(choices, name):g} is used."
            problems.append(_refused(name, parameters[name], "a number in (0, 1000]") + used)
    return choices


def _read_schedule(text: str) -> Choices:
    kind, _, rest = text.partition(":")
    if kind == "progressive":
        return Choices(kind, beta=float(rest) if rest else 1.0)
    if kind == "hand":
        rows = tuple(tuple(float(cell) for cell in row.split(",")) for row in rest.split(";"))
        return Choices(kind, weights=rows)
    if rest:
        raise ValueError(text)
    return Choices(kind)


def _schedule(choices: Choices) -> str:
    if choices.kind == "progressive":
        return f"progressive:{_number(choices.beta)}"
    if choices.weights is not None:
        rows = (",".join(map(_number, row)) for row in choices.weights)
        return f"hand:{';'.join(rows)}"
    return choices.kind


def _index(parameters: Mapping[str, str], name: str, problems: list[str]) -> int:
    text = parameters.get(name, "0")
    if text.isascii() and text.isdigit() and len(text) <= len("9999"):
        return int(text)
    problems.append(_refused(name, text, "a whole number from 0") + " 0 is used.")
    return 0


def _fraction(
    parameters: Mapping[str, str], name: str, otherwise: float, problems: list[str]
) -> float:
    if name not in parameters:
        return otherwise
    try:
        return check(name, float(parameters[name]), 0.0, 1.0)
    except (DialError, ValueError):
        used = f" {otherwise:g} is used."
        problems.append(_refused(name, parameters[name], "a number in [0, 1]") + used)
        return otherwise


def _refused(name: str, text: str, rule: str) -> str:
    shown = text if len(text) <= len("x" * 40) else text[:39] + "…"
    return f"The link's {name} is {shown!r}: it must be {rule}."


def _number(value: float) -> str:
    """The shortest text that reads back as the same number, without a needless `.0`."""
    return str(int(value)) if value == math.floor(value) else repr(value)

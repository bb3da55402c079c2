"""Examples that paint at once: precomputed for the bundled model, read without torch.

`python -m workbench examples` writes them anew after the bundled model has changed. A file is the
canvas's own container: a JSON header and arrays, in float32 where the page draws no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.errors import CheckpointError, ModelNotFoundError
from workbench.canvas import DialView, decode_payload, encode_payload
from workbench.choices import DEFAULT_DIAL, Choices
from workbench.curves import DialCurves, dial_curves
from workbench.files import write_atomic
from workbench.inference import NextToken, Prompt, dial_of, next_tokens, prepare, read_only
from workbench.paths import SAMPLE_DATA
from workbench.views import HeadSummary, dial_view, head_summary

if TYPE_CHECKING:
    from model.transformer.checkpoint import LoadedModel

FOLDER = SAMPLE_DATA / "examples"
BUNDLED = "bundled"
_FORMAT = 1
_LARGEST = 8 * 2**20


@dataclass(frozen=True)
class Example:
    """A text to begin with; name: in links and file names."""

    name: str
    title: str
    text: str


EXAMPLES = (
    Example(
        "orchard",
        "Fruit and the animals that eat it",
        "the sweet red fruit of a tree that grows in warm countries, eaten by birds and small wild "
        "animals or made into jam and wine",
    ),
    Example(
        "doctor",
        "People and the body",
        "a doctor who treats diseases of the heart and the blood; the young woman carried her sick "
        "child to the hospital",
    ),
    Example(
        "ship",
        "Things made, places and motion",
        "a large ship with three masts that carries heavy goods across the ocean from one port to "
        "another",
    ),
    Example(
        "thought",
        "Mind, speech and feeling",
        "the belief that a person can know the truth only by careful thought; he spoke of his fear "
        "and his love in a long letter",
    ),
    Example(
        "measure",
        "Numbers and measures",
        "a unit of length equal to 12 inches; a period of about 30 days, one of 12 parts of a year",
    ),
)


@dataclass(frozen=True)
class StoredExample:
    """All that a page shows of an example at the default dial, layer 0, before torch is there."""

    example: Example
    model_name: str
    model_hash: str
    prompt: Prompt
    view: DialView
    next_tokens: tuple[NextToken, ...]
    heads: tuple[HeadSummary, ...]
    curves: DialCurves


def example(name: str) -> Example:
    """The example of that name; ModelNotFoundError lists the names there are."""
    for each in EXAMPLES:
        if each.name == name:
            return each
    raise ModelNotFoundError(
        "Example",
        name,
        "there is none of that name",
        f"Choose {', '.join(e.name for e in EXAMPLES)}",
    )


def compute(model: LoadedModel, name: str, chosen: Example) -> StoredExample:
    """What a page shows of an example in a model called `name`."""
    prompt = prepare(model, chosen.text)
    dial = dial_of(DEFAULT_DIAL, Choices())
    return StoredExample(
        chosen,
        name,
        model.content_hash,
        prompt,
        dial_view(model, prompt, dial, 0, name),
        next_tokens(model, prompt, dial),
        head_summary(model, prompt, dial),
        dial_curves(model, prompt.ids, prompt.classes.tolist(), Choices()),
    )


def write_examples(model: LoadedModel, name: str, folder: Path = FOLDER) -> Iterator[Path]:
    """Compute and write every example; yields each file as it stands."""
    for chosen in EXAMPLES:
        path = folder / f"{chosen.name}.lwdv"
        write_atomic(path, pack(compute(model, name, chosen)))
        yield path


def stored_example(name: str, folder: Path = FOLDER) -> StoredExample | None:
    """An example as stored, or None where the file is missing or was made of another text.

    CheckpointError or CanvasError when the file is damaged.
    """
    chosen, path = example(name), folder / f"{name}.lwdv"
    if not path.is_file():
        return None
    if path.stat().st_size > _LARGEST:
        raise _damaged(path.name, f"is larger than {_LARGEST} bytes")
    found = unpack(path.read_bytes(), chosen)
    return found if found.prompt.text == chosen.text else None


def pack(stored: StoredExample) -> bytes:
    """A stored example as bytes."""
    header: dict[str, Any] = {
        "kind": "localist-example",
        "format": _FORMAT,
        "text": stored.prompt.text,
        "ids": list(stored.prompt.ids),
        "view": {},
        "grid": list(stored.view.grid),
        "next_tokens": [asdict(each) for each in stored.next_tokens],
        "heads": [asdict(each) for each in stored.heads],
        "curve_measures": list(stored.curves.measures),
        "curve_tokens": stored.curves.tokens,
    }
    arrays: dict[str, np.ndarray] = {
        "prompt.scores": stored.prompt.scores.astype(np.float32),
        "prompt.margins": stored.prompt.margins.astype(np.float32),
        "view.grid": np.stack(list(stored.view.grid.values())).astype(np.float64),
        "curves.dials": stored.curves.dials.astype(np.float64),
        "curves.nats": stored.curves.nats.astype(np.float64),
        "curves.measures": np.stack(list(stored.curves.measures.values())).astype(np.float32),
    }
    for field in fields(DialView):
        value = getattr(stored.view, field.name)
        if field.name == "grid":
            continue
        if not isinstance(value, np.ndarray):
            header["view"][field.name] = value
            continue
        kind = {"i": np.int32, "u": np.uint8}.get(value.dtype.kind, value.dtype)
        arrays[f"view.{field.name}"] = value.astype(kind)
    return encode_payload(header, arrays)


def unpack(content: bytes, chosen: Example) -> StoredExample:
    """The inverse of `pack`; CheckpointError or CanvasError on what `pack` did not write."""
    header, arrays = decode_payload(content)
    if header.get("kind") != "localist-example" or header.get("format") != _FORMAT:
        raise _damaged(chosen.name, f"must be of format {_FORMAT}")
    try:
        view = _view(header, arrays)
        return StoredExample(
            chosen,
            view.model_name,
            view.model_hash,
            Prompt(
                header["text"],
                tuple(header["ids"]),
                view.tokens,
                read_only(view.classes.astype(np.int64)),
                read_only(arrays["prompt.scores"]),
                read_only(arrays["prompt.margins"]),
                view.reasons,
            ),
            view,
            tuple(NextToken(**each) for each in header["next_tokens"]),
            tuple(
                HeadSummary(**{**each, "class_mass": tuple(each["class_mass"])})
                for each in header["heads"]
            ),
            DialCurves(
                arrays["curves.dials"],
                arrays["curves.nats"],
                dict(
                    zip(
                        header["curve_measures"],
                        arrays["curves.measures"].astype(np.float64),
                        strict=True,
                    )
                ),
                header["curve_tokens"],
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(chosen.name, f"lacks a part ({error})") from error


def _view(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> DialView:
    plain = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in header["view"].items()
    }
    shaped: dict[str, Any] = {
        field.name: arrays[f"view.{field.name}"]
        for field in fields(DialView)
        if field.name != "grid" and field.name not in plain
    }
    grid = dict(zip(header["grid"], arrays["view.grid"], strict=True))
    return DialView(**plain, **shaped, grid=grid)


def _damaged(name: str, rule: str) -> CheckpointError:
    return CheckpointError(
        "Stored example", name, rule, "Write it again with `python -m workbench examples`"
    )

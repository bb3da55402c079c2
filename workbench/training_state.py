"""What a training run keeps while it goes: one file, replaced whole, that a kill cannot part."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.errors import CheckpointError
from workbench.files import write_atomic

if TYPE_CHECKING:
    from model.training.loop import Event, Snapshot

SNAPSHOT = "snapshot.safetensors"
LOCK = "lock"


@dataclass
class Curve:
    """The training curve so far: one entry a report, nats per token."""

    entries: list[dict[str, Any]] = field(default_factory=list)

    def note(self, event: Event) -> None:
        from model.training.loop import Evaluated, Progress

        if isinstance(event, Progress):
            self.entries.append(
                {"step": event.step, "tokens": event.tokens, "training": round(event.loss, 6)}
            )
        elif isinstance(event, Evaluated):
            found = {
                f"{e.dial:g}": {"nats": e.nats_per_token, **e.measures} for e in event.evaluations
            }
            self.entries.append({"step": event.step, "validation": found})


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the run's folder; CheckpointError while another process holds it.

    The lock goes with the process, however that ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CheckpointError(
                "Training run", folder.name, "is going on in another process", "Wait for its end"
            ) from error
        yield


def save_state(folder: Path, identity: Mapping[str, Any], snapshot: Snapshot, curve: Curve) -> None:
    """One file holds tensors and all else, so that no kill can part them."""
    from safetensors.torch import save

    state = {
        "identity": identity,
        "step": snapshot.step,
        "reads": None if snapshot.reads is None else snapshot.reads.to_dict(),
        "curve": curve.entries,
    }
    content = save(
        {name: value.contiguous() for name, value in snapshot.tensors.items()},
        metadata={"state": json.dumps(state)},
    )
    write_atomic(folder / SNAPSHOT, content)


def load_state(folder: Path, identity: Mapping[str, Any]) -> tuple[Snapshot, Curve]:
    """The inverse of `save_state`; CheckpointError when it is damaged or of another identity."""
    from safetensors import SafetensorError, safe_open

    from model.locality.reads import Reads
    from model.training.loop import Snapshot

    try:
        with safe_open(folder / SNAPSHOT, framework="pt") as file:
            state = json.loads((file.metadata() or {})["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(
            "Snapshot of the run",
            folder.name,
            f"cannot be read ({type(error).__name__})",
            "Start the run again, allowing to overwrite",
        ) from error
    changed = sorted(key for key in identity if state["identity"].get(key) != identity[key])
    if changed:
        raise CheckpointError(
            "Training run",
            folder.name,
            f"began with another {', '.join(changed)}",
            "Resume it with the same preset, settings, code and data, or start it again",
        )
    recipe, reads = identity["recipe"], state["reads"]
    if reads is not None:
        names = tuple(reads["classes"])
        reads = Reads.from_dict(reads, names, recipe["n_layers"], recipe["n_heads"])
    return Snapshot(state["step"], tensors, reads), Curve(state["curve"])

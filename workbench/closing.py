"""The closing phase: the groups alone, to a stationary point of an objective that stands still.

The objective needs reads, and the reads follow from the support, which moves. So the problem is
solved with the reads of its start, and again with those of its solution, until both agree: then the
model's reads are those of its own groups, and the residual is that of the model as it is stored.
Early rounds only go as far as the support needs (`LOOSE`); a round whose reads agree goes on to the
tolerance. What the steps told of the curvature goes from round to round: it is nearly the same. At
dial 0 alone the objective needs no reads, and one round does it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.files import write_atomic

if TYPE_CHECKING:
    from model.blocks.subspaces import Subspaces
    from model.locality.penalties import Groups
    from model.locality.reads import Reads
    from model.training.batches import Documents
    from model.training.proximal import State, Step
    from model.transformer.decoder import Decoder
    from workbench.objective import ObjectiveSpec

MOST_ROUNDS = 12
LOOSE = 0.5
NOISE = 1e-9  # of an objective whose forward pass is in float32
_SAVE_EVERY = 5


@dataclass(frozen=True)
class ClosingStep:
    """A step of the closing phase; objective in nats, residual without a unit."""

    round: int
    evaluations: int
    objective: float
    residual: float
    alive: int


@dataclass(frozen=True, eq=False)
class Closed:
    """The end: `decoder` holds the point of the smallest residual, `reads` those of its support.

    agrees: whether these are the reads that the objective was solved with.
    """

    reason: str
    residual: float
    reads: Reads
    agrees: bool


@dataclass(frozen=True)
class Settings:
    """alpha: nats per unit of weight. evaluations: gradients of f in all rounds together."""

    alpha: float
    tolerance: float
    evaluations: int
    memory: int


def close(
    decoder: Decoder,
    subspaces: Subspaces,
    class_names: tuple[str, ...],
    training: Documents,
    spec: ObjectiveSpec,
    settings: Settings,
    state_file: Path | None = None,
) -> Iterator[ClosingStep | Closed]:
    """Solve, in place, in rounds; with `state_file`, go on from there and keep it up to date."""
    from model.locality.penalties import Groups
    from model.locality.support import reads_of_support
    from model.training.proximal import Stopped, minimise, start

    groups = Groups.of(decoder.config, subspaces.ranks)
    found = _load(state_file, decoder, groups)
    number, state, z0 = (0, None, groups.read(decoder)) if found is None else found
    coupled = any(spec.dials)  # at dial 0 alone no reads come in
    used, memory, loose = 0, None, coupled
    while True:
        support = groups.alive(z0)
        reads = reads_of_support(support, groups, subspaces.names, class_names)
        objective = spec.loss(decoder, groups, training, reads)
        if state is None:
            state = start(objective, z0, settings.memory)
            state = state if memory is None else replace(state, memory=memory)
        last: Stopped | None = None
        budget = max(1, settings.evaluations - used - state.evaluations)
        tolerance = max(LOOSE, settings.tolerance) if loose else settings.tolerance
        for event in minimise(objective, groups, settings.alpha, state, tolerance, budget, NOISE):
            if isinstance(event, Stopped):
                last = event
                continue
            if state_file is not None and event.iteration % _SAVE_EVERY == 0:
                _save(state_file, number, event.state, z0)
            yield _shown(number, used, event)
        assert last is not None
        used += last.step.evaluations
        z = last.step.state.z
        groups.write(decoder, z)
        z = groups.read(decoder)  # as stored: the support is what float32 keeps
        after = reads_of_support(groups.alive(z), groups, subspaces.names, class_names)
        agrees = not coupled or bool((after.blocks == reads.blocks).all())
        number += 1
        spent = number >= MOST_ROUNDS or used >= settings.evaluations
        if spent or (agrees and last.step.residual.value <= settings.tolerance):
            yield Closed(last.reason, last.step.residual.value, after, agrees)
            return
        # Two rounds in a row that only move groups to and fro would never end: the last is tight.
        loose = not agrees and number < MOST_ROUNDS - 1
        z0, state, memory = z, None, last.step.state.memory


def _shown(number: int, used: int, step: Step) -> ClosingStep:
    return ClosingStep(
        number, used + step.evaluations, step.objective, step.residual.value, step.alive
    )


def _save(path: Path, number: int, state: State, first: Any) -> None:
    """One file, replaced whole: round, state, and the point whose support gave the reads."""
    import torch
    from safetensors.torch import save

    tensors = {
        "z": state.z,
        "gradient": state.gradient,
        "steps": state.memory.steps,
        "changes": state.memory.changes,
        "first": first,
        "numbers": torch.tensor(
            [
                number,
                state.value,
                state.memory.gamma,
                state.memory.most,
                state.sigma,
                state.iteration,
                state.evaluations,
            ],
            dtype=torch.float64,
        ),
    }
    write_atomic(path, save({name: value.contiguous() for name, value in tensors.items()}))


def _load(path: Path | None, decoder: Decoder, groups: Groups) -> tuple[int, State, Any] | None:
    if path is None or not path.exists():
        return None
    from safetensors.torch import load_file

    from model.training.curvature import Memory
    from model.training.proximal import State

    tensors = load_file(path)
    number, value, gamma, most, sigma, iteration, evaluations = tensors["numbers"].tolist()
    groups.check(tensors["z"])
    memory = Memory(tensors["steps"], tensors["changes"], gamma, int(most))
    state = State(
        tensors["z"], value, tensors["gradient"], memory, sigma, int(iteration), int(evaluations)
    )
    groups.write(decoder, state.z)
    return int(number), state, tensors["first"]

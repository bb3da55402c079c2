"""Making a group-sparse model as a service: from a trained one to a certified directory, by events.

Subspaces from the base model's activations, learning under the penalty, closing to a stationary
point, certificate. State is kept in `<store>/training/<name>/`: a snapshot while learning, the
solver's state while closing; after a kill, `resume` goes on with the part that was cut.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model.training.sparse_presets import SparsePreset
from workbench.certificate import FORMAT, Claim, stationarity, worst_slacks
from workbench.closing import Closed, Settings, close
from workbench.devices import resolve_device
from workbench.files import plain
from workbench.models import forget_models, open_model
from workbench.objective import ObjectiveSpec, copied
from workbench.provenance import code_version, provenance
from workbench.training import (
    REPORT_EVERY,
    SNAPSHOT_EVERY,
    Job,
    Prepared,
    Written,
    refuse_early,
)
from workbench.training_state import Curve, alone, load_state, save_state

if TYPE_CHECKING:
    from model.blocks.subspaces import Subspaces
    from model.transformer.checkpoint import LoadedModel
    from model.transformer.decoder import Decoder
    from workbench.sources import Sources

CLOSING = "closing.safetensors"
ABLATION_TOKENS = 32_768
EVALUATE_EVERY = 500


@dataclass(frozen=True)
class SparseJob(Job):
    """A `Job` whose recipe is that of the learning phase; `preset` says all the rest."""

    preset: SparsePreset | None = None


@dataclass(frozen=True)
class Committed:
    """The blocks have their dimensions, and alpha (nats per unit of weight) its unit."""

    committed: int
    d_model: int
    alpha: float
    alpha_max: float


def job_of(preset: SparsePreset, name: str, **options: Any) -> SparseJob:
    """The job of a preset; options as in `Job`."""
    return SparseJob(preset.phase, name, preset=preset, **options)


def run_sparse(
    job: SparseJob, resume: bool = False, sources: Sources | None = None
) -> Iterator[Any]:
    """Make the model and write its directory; events of all parts pass through.

    Two CPU runs of one recipe write the same weights, bit for bit, on one machine.
    """
    refuse_early(job, resume)
    with alone(job.state_folder):
        yield from _run(job, resume, sources)


def _run(job: SparseJob, resume: bool, sources: Sources | None) -> Iterator[Any]:
    import torch

    from model.training.loop import Finished, Snapshot, train
    from model.training.precision import has_fast_bfloat16
    from model.training.sparse import Sparsifying, prepared, subspaces_of
    from workbench.sources import load_sources

    preset, recipe, device = job.preset, job.recipe, resolve_device(job.device)
    assert preset is not None
    torch.set_num_threads(recipe.threads)
    if recipe.precision == "bf16" and not has_fast_bfloat16(torch.device(device)):
        recipe = recipe.with_changes({"precision": "fp32"})
    sources = load_sources() if sources is None else sources
    base = open_model(preset.base, device)
    names = sources.partition.class_names
    identity = {
        "recipe": plain({**recipe.to_dict(), "sparse": preset.to_dict()}),
        "base": base.content_hash,
        "device": device,
        "code_sha256": code_version(),
        "data_sha256": sources.data_sha256,
    }
    snapshot, curve = load_state(job.state_folder, identity) if resume else (None, Curve())
    subspaces = subspaces_of(
        base.decoder,
        sources.training,
        names,
        preset.rank,
        preset.basis_tokens,
        recipe.length,
        recipe.seed,
    )
    decoder = prepared(base.decoder, subspaces)
    alpha, largest = _strength(decoder, subspaces, sources, preset)
    parameters = sum(p.numel() for p in decoder.parameters())
    yield Prepared(
        sources.training.n_tokens,
        device,
        recipe.precision,
        parameters,
        snapshot.step if snapshot else 0,
        recipe.steps,
        recipe.batch_tokens,
    )
    yield Committed(subspaces.committed, subspaces.d_model, alpha, largest)
    learner = Sparsifying(decoder, subspaces, recipe, names, alpha, preset.ramp, preset.pool_cap)
    for event in train(
        decoder,
        sources.training,
        sources.validation,
        recipe,
        names,
        report_every=REPORT_EVERY,
        evaluate_every=EVALUATE_EVERY,
        snapshot_every=SNAPSHOT_EVERY,
        resume=snapshot,
        learner=learner,
    ):
        curve.note(event)
        if isinstance(event, Snapshot):
            save_state(job.state_folder, identity, event, curve)
        if not isinstance(event, Finished):
            yield event
    decoder.eval().requires_grad_(False)
    own = subspaces.along_axes()
    claim = Claim(_objective(preset, recipe.seed + 1), alpha, preset.tolerance, recipe.seed)
    settings = Settings(alpha, preset.tolerance, preset.evaluations, preset.memory)
    state_file = job.state_folder / CLOSING
    if not resume:
        state_file.unlink(missing_ok=True)
    closed = None
    torch.set_num_threads(preset.closing_threads)
    for event in close(
        decoder, own, names, sources.training, claim.objective, settings, state_file
    ):
        closed = event if isinstance(event, Closed) else closed
        yield event
    assert closed is not None
    counts = {
        "parameters": parameters,
        "trained_tokens": recipe.steps * recipe.batch_tokens,
        "corpus_tokens": sources.training.n_tokens,
    }
    about = provenance(job.name, identity, counts, curve.entries)
    about |= {"base": base.content_hash, "description": preset.description}
    yield Written(job.target, _write(job, decoder, own, closed, claim, about, sources))


def _strength(
    decoder: Decoder, subspaces: Subspaces, sources: Sources, preset: SparsePreset
) -> tuple[float, float]:
    """alpha of the learning phase, and alpha_max of its start on `start_tokens`."""
    from model.locality.penalties import Groups
    from model.locality.stationarity import alpha_max, strength_at
    from model.locality.support import reads_of_support
    from model.training.penalised import Quadrature

    groups = Groups.of(decoder.config, subspaces.ranks)
    z = groups.read(decoder)
    reads = reads_of_support(
        groups.alive(z), groups, subspaces.names, sources.partition.class_names
    )
    phase = preset.phase
    mixture = Quadrature.of_mixture(phase.share_zero, phase.share_one, 1, phase.gain)
    spec = ObjectiveSpec(
        preset.start_tokens, phase.length, phase.seed, mixture.dials, mixture.weights, mixture.gain
    )
    _, gradient = spec.loss(copied(decoder), groups, sources.training, reads)(z.double() * 0.0)
    largest = alpha_max(gradient, groups)
    return strength_at(preset.strength, largest), largest


def _objective(preset: SparsePreset, seed: int) -> ObjectiveSpec:
    return ObjectiveSpec(
        preset.objective_tokens,
        preset.phase.length,
        seed,
        preset.dials,
        preset.weights,
        preset.phase.gain,
    )


def _write(
    job: SparseJob,
    decoder: Decoder,
    subspaces: Subspaces,
    closed: Closed,
    claim: Claim,
    about: dict[str, Any],
    sources: Sources,
) -> str:
    """Certify, write, and forget the run's state; the content hash."""
    from model.transformer.checkpoint import LoadedModel, save_model
    from workbench.ablation import ablations

    tokenizer, partition, lexicon = sources.tokenizer, sources.partition, sources.lexicon
    model = LoadedModel(decoder, tokenizer, partition, lexicon, closed.reads, about, "", subspaces)
    ids, _ = sources.validation.packed(claim.objective.length + 1, seed=0)
    rows = -(-ABLATION_TOKENS // claim.objective.length)
    certificate = {
        "format": FORMAT,
        **claim.to_dict(),
        "data_sha256": about["data_sha256"],
        "closing": closed.reason,
        "reads_are_those_of_the_support": closed.agrees,
        **stationarity(decoder, subspaces, closed.reads, sources.training, claim),
        "heads": heads_in_words(model),
        "ablation": ablations(decoder, subspaces, ids[:rows]),
        "worst_slack": worst_slacks(model),
    }
    content_hash = save_model(
        job.target,
        decoder,
        tokenizer,
        partition,
        lexicon,
        closed.reads,
        about,
        subspaces=subspaces,
        certificate=certificate,
    )
    shutil.rmtree(job.state_folder, ignore_errors=True)
    forget_models()
    return content_hash


def heads_in_words(model: LoadedModel) -> list[dict[str, Any]]:
    """What each head reads by its living key groups, as a sentence."""
    from model.locality.penalties import Groups
    from model.locality.support import describe_support

    assert model.subspaces is not None
    groups = Groups.of(model.config, model.subspaces.ranks)
    alive = groups.alive(groups.read(model.decoder))
    words = describe_support(alive, groups, model.subspaces.names)
    return [
        {"layer": layer, "head": head, "reads": words[layer][head]}
        for layer in range(model.config.n_layers)
        for head in range(model.config.n_heads)
    ]

"""Training as a service: from a preset to a model directory, as a generator of events.

The same path serves the command line and, later, pages. A run keeps its state in
`<store>/training/<name>/` (one snapshot, replaced whole) until the model directory stands; then the
state goes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import CheckpointError, ModelNotFoundError
from model.training.presets import Preset
from workbench.devices import resolve_device
from workbench.files import plain
from workbench.paths import SHIPPED_MODELS, check_name, own_models, training_runs
from workbench.provenance import code_version, provenance
from workbench.training_state import SNAPSHOT, Curve, alone, load_state, save_state

if TYPE_CHECKING:
    from model.training.loop import Event
    from workbench.sources import Sources

REPORT_EVERY = 50
SNAPSHOT_EVERY = 500
_SIZES = ("d_model", "n_layers", "n_heads", "n_kv_heads", "d_head", "d_mlp", "n_ctx")


@dataclass(frozen=True)
class Job:
    """What to train, where, and what to call it. `shipped`: into sample_data/models."""

    recipe: Preset
    name: str
    device: str = "auto"
    shipped: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def target(self) -> Path:
        return (SHIPPED_MODELS if self.shipped else own_models()) / self.name

    @property
    def state_folder(self) -> Path:
        return training_runs() / self.name


@dataclass(frozen=True)
class Prepared:
    """Data and device are ready; training starts at `step`."""

    training_tokens: int
    device: str
    precision: str
    parameters: int
    step: int
    steps: int
    batch_tokens: int


@dataclass(frozen=True)
class Written:
    """The model directory stands."""

    directory: Path
    content_hash: str


def run_training(
    job: Job, resume: bool = False, sources: Sources | None = None
) -> Iterator[Prepared | Event | Written]:
    """Train and write the model directory; every event of the loop passes through.

    A kill at any moment leaves no half-written model, and with `resume` the run goes on from its
    last snapshot: the result is the same, bit for bit, as that of a run that was never cut.
    """
    refuse_early(job, resume)
    with alone(job.state_folder):
        yield from _run(job, resume, sources)


def _run(job: Job, resume: bool, sources: Sources | None) -> Iterator[Prepared | Event | Written]:
    import torch

    from model.training.loop import Finished, Snapshot, train
    from model.training.precision import has_fast_bfloat16
    from model.transformer.checkpoint import save_model
    from model.transformer.config import DecoderConfig
    from model.transformer.decoder import Decoder
    from workbench.sources import load_sources, with_random_blocks

    recipe, device = job.recipe, resolve_device(job.device)
    torch.set_num_threads(recipe.threads)
    if recipe.precision == "bf16" and not has_fast_bfloat16(torch.device(device)):
        recipe = recipe.with_changes({"precision": "fp32"})
    sources = load_sources() if sources is None else sources
    if recipe.partition == "random":
        sources = with_random_blocks(sources, recipe.seed)
    sizes = {name: getattr(recipe, name) for name in _SIZES}
    config = DecoderConfig(d_vocab=sources.tokenizer.d_vocab, **sizes)
    identity = {
        "recipe": plain(recipe.to_dict()),
        "device": device,
        "code_sha256": code_version(),
        "data_sha256": sources.data_sha256,
    }
    snapshot, curve = load_state(job.state_folder, identity) if resume else (None, Curve())
    decoder = Decoder(config, seed=recipe.seed).to(device)
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
    decoder.train()
    for event in train(
        decoder,
        sources.training,
        sources.validation,
        recipe,
        sources.partition.class_names,
        report_every=REPORT_EVERY,
        snapshot_every=SNAPSHOT_EVERY,
        resume=snapshot,
    ):
        curve.note(event)
        if isinstance(event, Snapshot):
            save_state(job.state_folder, identity, event, curve)
        if isinstance(event, Finished):
            counts = {
                "parameters": parameters,
                "trained_tokens": recipe.steps * recipe.batch_tokens,
                "corpus_tokens": sources.training.n_tokens,
            }
            content_hash = save_model(
                job.target,
                decoder,
                sources.tokenizer,
                sources.partition,
                sources.lexicon,
                event.reads,
                provenance(job.name, identity, counts, curve.entries),
            )
            shutil.rmtree(job.state_folder, ignore_errors=True)
            yield event
            yield Written(job.target, content_hash)
            return
        yield event


def refuse_early(job: Job, resume: bool) -> None:
    """CheckpointError where the name is taken or a cut run would be lost; before anything runs."""
    shipped = (SHIPPED_MODELS / job.name).exists()
    if job.target.exists() and not job.overwrite:
        raise CheckpointError(
            "Model name", job.name, "is taken", "Give another name, or allow to overwrite"
        )
    if shipped and not job.shipped:
        raise CheckpointError(
            "Model name", job.name, "belongs to a model that ships", "Give another name"
        )
    if not resume and (job.state_folder / SNAPSHOT).exists() and not job.overwrite:
        raise CheckpointError(
            "Training run",
            job.name,
            "was cut short and can go on",
            "Resume it, give another name, or allow to overwrite",
        )
    if resume and not (job.state_folder / SNAPSHOT).exists():
        raise ModelNotFoundError(
            "Training run", job.name, "has no snapshot", "Start it without resuming"
        )

"""Training as a generator of events; it knows no progress bar and no page."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from model.locality.dial import Dial
from model.locality.discovery import AttentionStatistics
from model.locality.reads import Reads
from model.locality.relevance import Relevance
from model.training.adamw import adamw, optimizer_tensors, restore_optimizer, stepped
from model.training.batches import Batch, BatchStream, Documents
from model.training.evaluate import Evaluation, evaluate
from model.training.objective import cross_entropy
from model.training.precision import products
from model.training.presets import Preset
from model.transformer.decoder import Decoder

_DISCOVERY_BATCHES = 40


@dataclass(frozen=True)
class Progress:
    """A step done. loss: mean of the steps since the last event, nats per token."""

    step: int
    steps: int
    tokens: int
    loss: float
    tokens_per_second: float


@dataclass(frozen=True)
class Discovered:
    """The reads were learned at this step; from here on the dial is sampled."""

    step: int
    reads: Reads


@dataclass(frozen=True)
class Evaluated:
    """Validation at this step, one entry a dial value."""

    step: int
    evaluations: tuple[Evaluation, ...]


@dataclass(frozen=True)
class Finished:
    """The end: the decoder is trained, the reads are its own."""

    step: int
    reads: Reads


@dataclass(frozen=True)
class Snapshot:
    """All that the rest of a run depends on, beside recipe and data, after `step` steps.

    tensors: copies, on the CPU; "decoder.<name>", "optimizer.<index>.<name>" and "dials", the state
    of the generator that draws dial values.
    """

    step: int
    tensors: dict[str, Tensor]
    reads: Reads | None


class Learner(Protocol):
    """What a way of learning decides: which reads are in force, and what a step changes."""

    def reads(self, step: int) -> Reads | None:
        """The reads of this step, or None while the dial stays at 0; called once a step."""
        ...

    def update(self, step: int, rate: float) -> None:
        """One step of the weights from the gradients at hand, clipped already."""
        ...

    def final_reads(self) -> Reads:
        """Those of the trained model."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Copies of all that the rest of a run depends on, beside the weights."""
        ...

    def restore(self, snapshot: Snapshot) -> None:
        """The inverse of `tensors`; the weights are restored already."""
        ...


Event = Progress | Discovered | Evaluated | Snapshot | Finished


def train(
    decoder: Decoder,
    training: Documents,
    validation: Documents,
    recipe: Preset,
    class_names: tuple[str, ...],
    report_every: int = 50,
    evaluate_every: int = 1000,
    snapshot_every: int = 0,
    resume: Snapshot | None = None,
    learner: Learner | None = None,
) -> Iterator[Event]:
    """Train `decoder` in place; two CPU runs with the same threads agree bit for bit.

    So does a run that goes on from a `Snapshot` of another with the same recipe and data.
    """
    learner = Discovering(decoder, training, recipe, class_names) if learner is None else learner
    stream = iter(
        BatchStream(training, recipe.length, recipe.batch_tokens, recipe.long_every, recipe.seed)
    )
    dials = torch.Generator().manual_seed(recipe.seed + 7919)
    reads: Reads | None = None
    losses: list[Tensor] = []
    first = 1
    if resume is not None:
        _restore(resume, decoder, dials)
        learner.restore(resume)
        reads, first = resume.reads, resume.step + 1
        for _ in range(resume.step):
            next(stream)
    clock = time.monotonic()
    for step in range(first, recipe.steps + 1):
        before, reads = reads, learner.reads(step)
        if before is None and reads is not None:
            yield Discovered(step, reads)
        batch = next(stream)
        dial = None if reads is None else sample_dials(recipe, len(batch.ids), dials)
        loss = batch_loss(decoder, batch, dial, reads, recipe)
        decoder.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        learner.update(step, learning_rate(recipe, step))
        losses.append(loss.detach())
        if step % report_every == 0 or step == recipe.steps:
            speed = len(losses) * recipe.batch_tokens / (time.monotonic() - clock)
            mean = float(torch.stack(losses).mean())
            yield Progress(step, recipe.steps, step * recipe.batch_tokens, mean, speed)
            losses, clock = [], time.monotonic()
        if step % evaluate_every == 0 and step < recipe.steps:
            yield Evaluated(step, tuple(_evaluations(decoder, validation, recipe, reads)))
            clock = time.monotonic()
        if snapshot_every and (step % snapshot_every == 0 or step == recipe.steps):
            tensors = {**_tensors(decoder, dials), **learner.tensors()}
            yield Snapshot(step, tensors, reads)
            clock = time.monotonic()
    reads = learner.final_reads()
    yield Evaluated(recipe.steps, tuple(_evaluations(decoder, validation, recipe, reads)))
    yield Finished(recipe.steps, reads)


class Discovering:
    """The plain way: AdamW on everything; reads discovered once, after `discovery_tokens`."""

    def __init__(
        self,
        decoder: Decoder,
        training: Documents,
        recipe: Preset,
        class_names: tuple[str, ...],
    ) -> None:
        self._optimizer = adamw(decoder, recipe)
        self._discover = lambda: discover(decoder, training, recipe, class_names)
        self._recipe, self._reads = recipe, None

    def reads(self, step: int) -> Reads | None:
        due = self._recipe.sample_dial and step > self._recipe.discovery_steps
        if due and self._reads is None:
            self._reads = self._discover()
        return self._reads

    def update(self, step: int, rate: float) -> None:
        stepped(self._optimizer, rate)

    def final_reads(self) -> Reads:
        return self._discover() if self._reads is None else self._reads

    def tensors(self) -> dict[str, Tensor]:
        return optimizer_tensors(self._optimizer)

    def restore(self, snapshot: Snapshot) -> None:
        self._reads = snapshot.reads
        restore_optimizer(self._optimizer, snapshot)


def batch_loss(
    decoder: Decoder, batch: Batch, dial: Dial | None, reads: Reads | None, recipe: Preset
) -> Tensor:
    """Mean cross-entropy of one batch, nats per token, ready for `backward`."""
    device = decoder.embed.weight.device
    ids = batch.ids.to(device, non_blocking=True)
    relevance = None
    if reads is not None:
        relevance = Relevance.compile(batch.classes[:, :-1].to(device), reads)
    with products(recipe.precision, device):
        hidden = decoder.ln_final(decoder.residual(ids[:, :-1], dial, relevance))
    dtype = torch.bfloat16 if recipe.precision == "bf16" else torch.float32
    return cross_entropy(
        hidden.flatten(0, 1).float(), decoder.unembed.weight, ids[:, 1:].flatten(), dtype
    )


def discover(
    decoder: Decoder, documents: Documents, recipe: Preset, class_names: tuple[str, ...]
) -> Reads:
    """Reads from the decoder's own attention at dial 0 on training text (or the `self` floor)."""
    config, n = decoder.config, len(class_names)
    if recipe.reads == "self":
        blocks = torch.zeros(config.n_layers, config.n_heads, n, n, dtype=torch.bool)
        allowances = torch.zeros(config.n_layers, config.n_heads, n, 3, dtype=torch.bool)
        allowances[..., 0] = True
        return Reads(blocks, allowances, class_names)
    statistics = AttentionStatistics.empty(config.n_layers, config.n_heads, n)
    stream = BatchStream(documents, recipe.length, recipe.batch_tokens, 0, recipe.seed + 104729)
    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(config.n_layers)]
    nothing = Reads(
        torch.zeros(config.n_layers, config.n_heads, n, n, dtype=torch.bool),
        torch.zeros(config.n_layers, config.n_heads, n, 3, dtype=torch.bool),
        class_names,
    )
    with torch.no_grad():
        for _, batch in zip(range(_DISCOVERY_BATCHES), stream, strict=False):
            ids = batch.ids[:, :-1].to(decoder.embed.weight.device)
            classes = batch.classes[:, :-1].to(ids.device)
            _, cache = decoder.run_with_cache(ids, names_filter=names)
            relation = Relevance.compile(classes, nothing).relation
            statistics.add([cache[name] for name in names], classes, relation)
    return statistics.choose(
        recipe.relevant_share,
        class_names,
        recipe.allowances,
        recipe.rest,
        recipe.sink_worth,
    )


def sample_dials(recipe: Preset, count: int, generator: torch.Generator) -> Dial:
    """One dial value a sequence, from the recipe's mixture of 0, 1 and the uniform between."""
    kind, value = torch.rand(2, count, generator=generator, dtype=torch.float64)
    value = torch.where(kind < recipe.share_zero, torch.zeros_like(value), value)
    value = torch.where(kind >= 1 - recipe.share_one, torch.ones_like(value), value)
    return Dial(tuple(value.tolist()), gain=recipe.gain)


def learning_rate(recipe: Preset, step: int) -> float:
    """Linear warm-up, flat, and a linear fall over the last 40 % to `final_rate` of the peak."""
    fall = int(0.4 * recipe.steps)
    warm = min(1.0, step / max(1, recipe.warmup_steps))
    left = min(1.0, (recipe.steps - step) / max(1, fall))
    return recipe.learning_rate * warm * (recipe.final_rate + (1 - recipe.final_rate) * left)


def _tensors(decoder: Decoder, dials: torch.Generator) -> dict[str, Tensor]:
    """What a `Snapshot` holds beside the learner's."""
    found: dict[str, Tensor] = {
        f"decoder.{name}": value for name, value in decoder.named_parameters()
    }
    found["dials"] = dials.get_state()
    return {name: value.detach().to("cpu", copy=True) for name, value in found.items()}


def _restore(snapshot: Snapshot, decoder: Decoder, dials: torch.Generator) -> None:
    """The inverse of `_tensors`."""
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            parameter.copy_(snapshot.tensors[f"decoder.{name}"])
    dials.set_state(snapshot.tensors["dials"])


def _evaluations(
    decoder: Decoder, validation: Documents, recipe: Preset, reads: Reads | None
) -> Iterator[Evaluation]:
    for value in (0.0, 0.5, 1.0) if reads is not None else (0.0,):
        yield evaluate(decoder, validation, Dial(value, gain=recipe.gain), reads, recipe.length)

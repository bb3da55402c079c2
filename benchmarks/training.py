"""(c) Training with the dial against a plain module of the same size: tokens a second.

Both run forward, loss, backward, clipping and the fused AdamW step on the same batches, from the
same weights; ours compiles the relevance of each batch and draws a dial for each sequence as well.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks.plain_llama import plain_copy
from benchmarks.report import Goal, Row, ratio_row
from benchmarks.subject import Subject
from benchmarks.timing import in_turn, milliseconds
from model.training.batches import Batch
from model.training.loop import batch_loss, sample_dials
from model.training.precision import has_fast_bfloat16
from model.training.presets import Preset

ROWS, LENGTH, BATCHES = 32, 64, 4
AT_LEAST = Goal(0.85, at_most=False)
_RATE = 1e-4


def stepper(
    model: nn.Module, batches: list[Batch], loss: Callable[[Batch], Tensor]
) -> Callable[[], float]:
    """A call that does one training step on the next batch and returns its loss, nats per token."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=_RATE, betas=(0.9, 0.98), weight_decay=0.1, fused=True
    )
    turn = 0

    def step() -> float:
        nonlocal turn
        found = loss(batches[turn % len(batches)])
        turn += 1
        optimizer.zero_grad(set_to_none=True)
        found.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return float(found.detach())

    return step


def dialled(
    subject: Subject, recipe: Preset, batches: list[Batch], dial: bool = True
) -> Callable[[], float]:
    """Our step; `dial` False: the same decoder and loss without one."""
    decoder = copy.deepcopy(subject.model.decoder).train().requires_grad_(True)
    generator = torch.Generator().manual_seed(recipe.seed)

    def loss(batch: Batch) -> Tensor:
        if not dial:
            return batch_loss(decoder, batch, None, None, recipe)
        dials = sample_dials(recipe, len(batch.ids), generator)
        return batch_loss(decoder, batch, dials, subject.model.reads, recipe)

    return stepper(decoder, batches, loss)


def plain(subject: Subject, batches: list[Batch]) -> Callable[[], float]:
    """The peer's step."""
    model = plain_copy(subject.model.decoder).train()
    return stepper(model, batches, lambda batch: model(batch.ids))


def rows(subject: Subject, runs: int) -> Iterator[Row]:
    """The peer runs in float32: on a CPU, autocast to bfloat16 makes it slower."""
    batches = subject.batches(ROWS, LENGTH + 1, BATCHES)
    recipe = subject.recipe
    fp32 = recipe.with_changes({"precision": "fp32"})
    calls = {
        "plain": plain(subject, batches),
        "dial": dialled(subject, fp32, batches),
        "no dial": dialled(subject, fp32, batches, dial=False),
    }
    fast = has_fast_bfloat16(torch.device("cpu"))
    if fast:
        calls["recipe"] = dialled(subject, recipe, batches)
    taken = in_turn(calls, runs)
    tokens, shape = ROWS * LENGTH, f"{ROWS} x {LENGTH}"
    speeds = {name: 1e3 * tokens / milliseconds(samples) for name, samples in taken.items()}
    told = (
        ("tokens/s with the dial / plain module, both fp32", "dial", AT_LEAST),
        ("tokens/s as in the recipe (bf16 products) / plain module, fp32", "recipe", AT_LEAST),
        ("tokens/s without the dial / plain module, both fp32", "no dial", None),
    )
    for measure, name, goal in told:
        if name not in taken:
            yield Row("c", measure, shape, "x", note="this CPU has no fast bfloat16")
            continue
        yield ratio_row(
            "c",
            measure,
            shape,
            taken["plain"],
            taken[name],
            goal,
            f"{speeds[name]:,.0f} / {speeds['plain']:,.0f} tokens/s",
            {"tokens_per_s": speeds[name], "plain_tokens_per_s": speeds["plain"]},
        )

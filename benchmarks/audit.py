"""(f) The audit of a prompt of 128 tokens with every removal of a block, and the batch audit.

Every block of the prompt is removed twice, from relevance and from attention. The hooked calls find
the same numbers one removal at a time; the plain batched forward computes logits of as many rows.
The batch audit is held to plain scoring of the same prompts, encoding included on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.report import Goal, Row, ratio_row
from benchmarks.subject import Subject
from benchmarks.timing import in_turn
from model.blocks.membership import MembershipTable
from model.locality.bias import dial_biases
from model.locality.dial import Dial
from model.locality.reads import Reads
from model.locality.relevance import Relevance
from model.locality.removal import (
    INTERVENTIONS,
    Effects,
    Removal,
    relevance_without,
    removal_effects,
)
from model.training.corpus import load_glosses
from model.transformer.checkpoint import LoadedModel
from model.transformer.decoder import Decoder
from workbench.audit_batch import batch_rows
from workbench.audit_batch_input import Asked
from workbench.audit_effects import block_effects
from workbench.inference import forget_passes, prepare
from workbench.inference import run as run_prompt

LENGTH = 128
TOLERANCE = 1e-3  # bits and nats of both ways, float32
DIAL = Dial(0.9)
PROMPTS, BATCH_EVERY, BATCH_TOKENS = 256, 400, 4096


def hooked(
    decoder: Decoder,
    tokens: Tensor,
    classes: Tensor,
    reads: Reads,
    removals: Sequence[Removal],
    dial: Dial,
) -> Effects:
    """The same as `removal_effects` by one hooked call a removal."""
    plain = decoder(tokens, dial, Relevance.compile(classes, reads))[0].log_softmax(dim=-1)
    p, following = plain.exp(), tokens[0, 1:, None]
    lambdas = dial.lambdas(decoder.config.n_layers, decoder.config.n_heads)
    settings = decoder.settings(tokens.shape, dial, Relevance.compile(classes, reads))
    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(len(lambdas))]
    kl, grown, top, last = [], [], [plain.argmax(dim=-1)], [plain[-1]]
    for removal in removals:
        rows = relevance_without(classes, reads, [removal])
        biases = dial_biases(rows, [force for force, _ in settings])
        added = [bias.rows()[1:] for bias in biases if bias is not None]

        def replace(scores: Tensor, hook: object, added: list[Tensor] = added) -> Tensor:
            layer = int(getattr(hook, "name", "").split(".")[1])
            return scores + added[layer]

        edits: list[Any] = [(name.replace("pattern", "attn_scores"), replace) for name in names]
        with decoder.hooks(fwd_hooks=edits):
            without = decoder(tokens)[0].log_softmax(dim=-1)
        kl.append((p * (plain - without)).sum(dim=-1))
        grown.append((plain - without)[:-1].gather(1, following)[:, 0])
        top.append(without.argmax(dim=-1))
        last.append(without[-1])
    bits = math.log(2.0)
    return Effects(
        torch.stack(kl) / bits, torch.stack(grown) / bits, torch.stack(top), torch.stack(last)
    )


def largest_difference(one: Effects, other: Effects) -> float:
    """Over bits and nats; tokens that tie may differ."""
    found = [
        (one.kl_bits - other.kl_bits).abs().max(),
        (one.actual_bits - other.actual_bits).abs().max(),
        (one.last_log_p - other.last_log_p).abs().max(),
    ]
    return float(torch.stack(found).max())


@torch.inference_mode()
def rows(subject: Subject, runs: int) -> Iterator[Row]:
    """The prompt audit against both ways to do without it."""
    model, (tokens, classes) = subject.model, subject.prompt(LENGTH)
    decoder, reads = model.decoder, model.reads
    prompt = prepare(model, subject.text(LENGTH))
    present = [block for block in classes.unique().tolist() if block < model.partition.n_blocks]
    removals = [Removal(kind, block) for kind in INTERVENTIONS for block in present]
    repeated = tokens.repeat(len(removals), 1)

    def batched() -> Effects:
        return removal_effects(decoder, tokens, relevance_without(classes, reads, removals), DIAL)

    def audited() -> object:
        forget_passes()
        return block_effects(model, prompt, DIAL, run_prompt(model, prompt, DIAL).pattern)

    difference = largest_difference(
        batched(), hooked(decoder, tokens, classes, reads, removals, DIAL)
    )
    if difference > TOLERANCE:
        raise ValueError(f"Both ways must measure the same, and differ by {difference:.2g}")
    taken = in_turn(
        {
            "batched": batched,
            "audit": audited,
            "hooked": lambda: hooked(decoder, tokens, classes, reads, removals, DIAL),
            "plain": lambda: decoder(repeated),
        },
        runs,
    )
    shape = f"{len(removals)} x {LENGTH}"
    details = {"largest_difference": difference}
    yield ratio_row(
        "f",
        "removals, their masses and words / plain forward of as many rows",
        shape,
        taken["audit"],
        taken["plain"],
        Goal(2.0),
        details=details,
    )
    yield ratio_row(
        "f",
        "removals alone / plain forward of as many rows",
        shape,
        taken["batched"],
        taken["plain"],
        details=details,
    )
    yield ratio_row(
        "f",
        "hooked calls, one a removal / removals batched",
        shape,
        taken["hooked"],
        taken["batched"],
        Goal(1.5, at_most=False),
        details=details,
    )
    yield from batch_rows_of(subject, runs)


def plain_scoring(model: LoadedModel, texts: Sequence[str], dial: Dial) -> list[float]:
    """Nats of each text, batched by length, and nothing else."""
    encoded = [[model.tokenizer.bos_id, *ids] for ids in model.tokenizer.encode_batch(texts)]
    order = sorted(range(len(texts)), key=lambda index: len(encoded[index]))
    table = MembershipTable(model.tokenizer.token_bytes, model.partition, model.lexicon)
    found = [0.0] * len(texts)
    while order:
        batch: list[int] = []
        while order and (len(batch) + 1) * len(encoded[order[0]]) <= BATCH_TOKENS:
            batch.append(order.pop(0))
        ids = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(encoded[index]) for index in batch], batch_first=True, padding_value=-100
        )
        tokens = ids.clamp(min=0)
        relevance = None
        if not dial.is_zero:
            classes = torch.from_numpy(table.classes_for_ids(tokens.numpy()))
            relevance = Relevance.compile(classes, model.reads)
        logits = model.decoder(tokens, dial, relevance)[:, :-1]
        nats = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        sums = nats.view(len(batch), -1).sum(dim=1).tolist()
        for index, value in zip(batch, sums, strict=True):
            found[index] = value
    return found


@torch.inference_mode()
def batch_rows_of(subject: Subject, runs: int) -> Iterator[Row]:
    """The batch audit against plain scoring, at dial 0 and at dial 1."""
    model = subject.model
    texts = [gloss.text for gloss in load_glosses()[::BATCH_EVERY]][:PROMPTS]
    asked = [Asked(number, text) for number, text in enumerate(texts, start=1)]
    for value in (0.0, 1.0):
        dial = Dial(value)
        audited = [row for part in batch_rows(model, asked, [dial]) for row in part]
        plain = plain_scoring(model, texts, dial)
        difference = max(
            abs(row["bits"][0] * row["tokens"] * math.log(2.0) - nats) / row["tokens"]
            for row, nats in zip(audited, plain, strict=True)
        )
        if difference > TOLERANCE:
            raise ValueError(f"Both ways must score the same, and differ by {difference:.2g}")
        taken = in_turn(
            {
                "batch": lambda dial=dial: list(batch_rows(model, asked, [dial])),
                "plain": lambda dial=dial: plain_scoring(model, texts, dial),
            },
            runs,
        )
        tokens = sum(row["tokens"] for row in audited)
        yield ratio_row(
            "f",
            f"plain batched scoring / batch audit, at dial {value:g}",
            f"{len(texts)} texts",
            taken["plain"],
            taken["batch"],
            Goal(0.8, at_most=False),
            details={"largest_difference": difference, "tokens": tokens},
        )

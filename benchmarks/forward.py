"""(b) The forward pass with the dial on, fast path, against the same model without it."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.report import Goal, Row, ratio_row
from benchmarks.subject import Subject
from benchmarks.timing import in_turn
from model.locality.dial import Dial
from model.locality.relevance import Relevance

SHAPES = ((32, 64), (1, 256))
DIAL = Dial(0.5)


@torch.inference_mode()
def rows(subject: Subject, runs: int) -> Iterator[Row]:
    """Per shape: with the relevance at hand, with its compilation inside, and that alone."""
    decoder, reads = subject.model.decoder, subject.model.reads
    for count, length in SHAPES:
        if count == 1:
            tokens, classes = subject.prompt(length)
        else:
            batch = subject.batches(count, length, 1)[0]
            tokens, classes = batch.ids, batch.classes
        relevance = Relevance.compile(classes, reads)
        each = Dial(tuple(row / count for row in range(1, count + 1)))
        calls = {
            "plain": lambda t=tokens: decoder(t),
            "dial": lambda t=tokens, r=relevance: decoder(t, DIAL, r),
            "zero": lambda t=tokens, r=relevance: decoder(t, Dial(0.0), r),
            "compiling": lambda t=tokens, c=classes: decoder(t, DIAL, Relevance.compile(c, reads)),
            "compile": lambda c=classes: Relevance.compile(c, reads),
        }
        if count > 1:
            calls["each"] = lambda t=tokens, r=relevance, d=each: decoder(t, d, r)
        taken = in_turn(calls, 3 * runs)
        rows = (
            ("dial on / plain", "dial", Goal(1.10)),
            ("dial on, relevance compiled inside / plain", "compiling", Goal(1.10)),
            ("relevance compiled, alone / plain", "compile", None),
            ("dial on, one value a sequence / plain", "each", None),
            ("dial at 0 / plain", "zero", None),
        )
        for measure, name, goal in rows:
            if name in taken:
                shape = f"{count} x {length}"
                yield ratio_row("b", measure, shape, taken[name], taken["plain"], goal)

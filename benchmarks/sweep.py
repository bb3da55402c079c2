"""(a) A sweep of 41 dial values with all measures, against two ways to do without it.

The hooked calls compute the same nats and measures one dial at a time, their masks once for all;
the plain batched forward computes logits of as many rows, and no measure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from benchmarks.report import Goal, Row, ratio_row
from benchmarks.subject import Subject
from benchmarks.timing import in_turn
from model.locality.dial import Dial
from model.locality.measures import MEASURES, Masks, row_measures
from model.locality.relevance import Relevance
from model.locality.sweep import DialSweep, sweep_dials
from model.transformer.decoder import Decoder

DIALS, LENGTH = 41, 64
TOLERANCE = 1e-4  # nats, bits and shares of both ways, float32


def hooked(
    decoder: Decoder, tokens: Tensor, relevance: Relevance, dials: Sequence[Dial]
) -> DialSweep:
    """The same as `sweep_dials` by one hooked call a dial."""
    layers = range(decoder.config.n_layers)
    names = [f"blocks.{layer}.attn.hook_pattern" for layer in layers]
    masks = [Masks.of(relevance, layer) for layer in layers]
    nats, last, measures = [], [], []
    for dial in dials:
        logits, cache = decoder.run_with_cache(tokens, dial, relevance, names_filter=names)
        scores = logits[:, :-1].log_softmax(dim=-1)
        nats.append(-scores.gather(2, tokens[:, 1:, None])[..., 0])
        last.append(logits[:, -1])
        found = [row_measures(cache[names[layer]], masks[layer]) for layer in layers]
        measures.append({key: torch.stack([each[key] for each in found]) for key in MEASURES})
    stacked = {key: torch.stack([each[key] for each in measures], dim=1) for key in MEASURES}
    return DialSweep(torch.stack(nats), stacked, torch.stack(last))


def largest_difference(one: DialSweep, other: DialSweep) -> float:
    """Over nats and all measures."""
    found = [(one.nats - other.nats).abs().max()]
    found += [(one.measures[key] - other.measures[key]).abs().max() for key in MEASURES]
    return float(torch.stack(found).max())


@torch.inference_mode()
def rows(subject: Subject, runs: int) -> Iterator[Row]:
    """Both comparisons, on the same prompt in the same turns."""
    decoder, (tokens, classes) = subject.model.decoder, subject.prompt(LENGTH)
    relevance = Relevance.compile(classes, subject.model.reads)
    dials = [Dial(step / (DIALS - 1)) for step in range(DIALS)]
    difference = largest_difference(
        sweep_dials(decoder, tokens, relevance, dials), hooked(decoder, tokens, relevance, dials)
    )
    if difference > TOLERANCE:
        raise ValueError(f"Both ways must measure the same, and differ by {difference:.2g}")
    repeated = tokens.repeat(DIALS, 1)
    taken = in_turn(
        {
            "sweep": lambda: sweep_dials(
                decoder, tokens, Relevance.compile(classes, subject.model.reads), dials
            ),
            "hooked": lambda: hooked(decoder, tokens, relevance, dials),
            "plain": lambda: decoder(repeated),
        },
        runs,
    )
    shape = f"{DIALS} x {LENGTH}"
    details = {"largest_difference": difference}
    yield ratio_row(
        "a",
        "hooked calls, one a dial / sweep with all measures",
        shape,
        taken["hooked"],
        taken["sweep"],
        Goal(1.5, at_most=False),
        details=details,
    )
    yield ratio_row(
        "a",
        "sweep with all measures / plain forward of as many rows",
        shape,
        taken["sweep"],
        taken["plain"],
        Goal(2.0),
        details=details,
    )

"""Curves over the whole dial for one text: 41 values in one batched sweep, kept in a bounded memo.

Means over the rows that see at least two keys; one text, hence no confidence interval and no claim
about other texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.errors import TextError
from workbench.choices import Choices
from workbench.inference import one_at_a_time
from workbench.memo import Memo

if TYPE_CHECKING:
    from model.transformer.checkpoint import LoadedModel

POINTS = 41
DIALS = tuple(index / (POINTS - 1) for index in range(POINTS))
MEASURED = (
    "entropy_normalised",
    "entropy_bits",
    "fidelity",
    "semantic_share",
    "self_share",
    "previous_share",
    "sink_share",
    "other_share",
    "relevant_share",
    "fallback_share",
)
_LARGEST_BATCH = 4_000_000  # pattern elements of one layer over the dials of a batch
MEMO_BYTES = 16 * 2**20


@dataclass(frozen=True)
class DialCurves:
    """dials: [41]; nats: [41] per predicted token; measures: name -> [41, layer, head], float64.

    measures: entropy_bits in bits, all others fractions. tokens: how many are predicted.
    """

    dials: np.ndarray
    nats: np.ndarray
    measures: dict[str, np.ndarray]
    tokens: int

    @property
    def nbytes(self) -> int:
        return self.nats.nbytes + sum(each.nbytes for each in self.measures.values())

    def mean(self, name: str) -> np.ndarray:
        """One measure over the dial, mean over all heads: [41]."""
        return self.measures[name].mean(axis=(1, 2))

    def head(self, name: str, layer: int, head: int) -> np.ndarray:
        """One measure over the dial, of one head: [41]."""
        return self.measures[name][:, layer, head]


_memo: Memo[DialCurves] = Memo(MEMO_BYTES, lambda each: each.nbytes)


def dial_curves(
    model: LoadedModel, ids: Sequence[int], classes: Sequence[int], choices: Choices
) -> DialCurves:
    """Token ids and classes, BOS first, at every dial of `DIALS`; the same question is asked once.

    TextError when nothing is predicted or the text is longer than the model reads.
    """
    ids, classes = tuple(int(i) for i in ids), tuple(int(c) for c in classes)
    if len(ids) < 2:
        raise TextError("Text", "", "holds no token to predict", "Write at least one character")
    device = str(model.decoder.embed.weight.device)
    key = (model.content_hash, device, ids, classes, choices)
    found = _memo.get(key)
    return found or _memo.put(key, _measure(model, ids, classes, choices))


def _measure(
    model: LoadedModel, ids: tuple[int, ...], classes: tuple[int, ...], choices: Choices
) -> DialCurves:
    import torch

    from model.locality.dial import Dial
    from model.locality.relevance import Relevance
    from model.locality.sweep import sweep_dials

    device = model.decoder.embed.weight.device
    tokens = torch.tensor([ids], device=device)
    relevance = Relevance.compile(torch.tensor([classes], device=device), model.reads)
    schedule = choices.schedule()
    dials = [Dial(value, choices.gain, choices.temperature, schedule) for value in DIALS]
    size = max(1, _LARGEST_BATCH // (model.config.n_heads * len(ids) ** 2))
    nats, measures = [], {name: [] for name in MEASURED}
    for start in range(0, len(dials), size):
        with one_at_a_time:  # another's hooked pass would catch what runs here
            swept = sweep_dials(model.decoder, tokens, relevance, dials[start : start + size])
        nats.append(swept.nats[:, 0].double().mean(dim=-1).cpu().numpy())
        for name in MEASURED:  # [layer, dial, sequence, head, query]
            rows = swept.measures[name][:, :, 0, :, 1:].double().mean(dim=-1)
            measures[name].append(rows.transpose(0, 1).cpu().numpy())
    return DialCurves(
        np.array(DIALS),
        np.concatenate(nats),
        {name: np.concatenate(parts) for name, parts in measures.items()},
        len(ids) - 1,
    )

"""Plain passes over a set of texts, with what the measures and lesions of units begin from.

Kept in a bounded memo: whoever measures a layer goes on to lesion a unit of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from workbench.choices import GAIN, check
from workbench.coding_texts import TextSet, classes_in
from workbench.inference import device_of, one_at_a_time
from workbench.memo import Memo

if TYPE_CHECKING:
    from model.locality.lesions import Kind, Reading, Site
    from model.locality.relevance import Relevance
    from model.transformer.checkpoint import LoadedModel

KINDS = ("mlp", "residual")
_BATCH = 4_096  # positions of a batch of texts
_MEMO_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Asked:
    """Which units, at what dial: DialError on a dial outside [0, 1]; the dial is uniform."""

    layer: int
    kind: str = "mlp"
    dial: float = 0.0

    def __post_init__(self) -> None:
        check("Dial", self.dial, 0.0, 1.0)


class Pass(NamedTuple):
    """One batch: the numbers of its texts, a row each; its reading, and its relevance."""

    numbers: list[int]
    reading: Reading
    relevance: Relevance


_kept: Memo[list[Pass]] = Memo(_MEMO_BYTES, lambda each: sum(map(_bytes_of, each)))


def site_of(asked: Asked) -> Site:
    """The site of the science; UnitError where there is no such kind."""
    from model.locality.lesions import Site

    return Site(asked.layer, cast("Kind", asked.kind))


def passes(model: LoadedModel, texts: TextSet, asked: Asked, n_texts: int) -> list[Pass]:
    """Plain passes over the first texts, those alike in length together.

    Shorter texts are filled up at the end, where no earlier token looks.
    """
    key = (model.content_hash, device_of(model), texts.key, asked, n_texts)
    return _kept.get(key) or _kept.put(key, _run(model, texts, asked, n_texts))


def texts_within(texts: TextSet, most_tokens: int | None) -> int:
    """How many texts, from the first on, hold at most so many tokens; at least one."""
    if most_tokens is None:
        return len(texts.ids)
    held = np.cumsum([len(ids) - 1 for ids in texts.ids])
    return max(1, int(np.searchsorted(held, most_tokens, side="right")))


def starts_of(texts: TextSet) -> list[int]:
    """Where each text's tokens begin among those of `texts.place`."""
    return np.cumsum([0, *(len(ids) - 1 for ids in texts.ids[:-1])]).tolist()


def forget_passes() -> None:
    """Empty the memo."""
    _kept.clear()


def _run(model: LoadedModel, texts: TextSet, asked: Asked, n_texts: int) -> list[Pass]:
    import torch

    from model.locality.dial import Dial
    from model.locality.lesions import read_site
    from model.locality.relevance import Relevance

    classes = classes_in(model, texts)
    place, dial, found = model.decoder.embed.weight.device, Dial(asked.dial, GAIN), []
    for numbers in _batches(texts, n_texts):
        longest = max(len(texts.ids[number]) for number in numbers)
        ids = torch.full((len(numbers), longest), model.tokenizer.bos_id)
        known = torch.full((len(numbers), longest), model.partition.none_id)
        for row, number in enumerate(numbers):
            count = len(texts.ids[number])
            ids[row, :count] = torch.tensor(texts.ids[number])
            known[row, :count] = torch.tensor(classes[number])
        relevance = Relevance.compile(known.to(place), model.reads)
        with one_at_a_time:
            reading = read_site(model.decoder, ids.to(place), dial, relevance, site_of(asked))
        found.append(Pass(numbers, reading, relevance))
    return found


def _batches(texts: TextSet, n_texts: int) -> list[list[int]]:
    """Numbers of texts, shortest first, cut so that a batch has at most `_BATCH` positions."""
    batches: list[list[int]] = [[]]
    for number in sorted(range(n_texts), key=lambda each: len(texts.ids[each])):
        if batches[-1] and (len(batches[-1]) + 1) * len(texts.ids[number]) > _BATCH:
            batches.append([])
        batches[-1].append(number)
    return batches


def _bytes_of(each: Pass) -> int:
    """What is held of a batch: activations, stream, and the pairs of its relevance."""
    reading = each.reading
    held = (reading.activations, reading.stream, reading.nats, each.relevance.pair)
    return sum(value.numel() * value.element_size() for value in held)

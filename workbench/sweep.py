"""A sweep: texts scored at several dial values, with every measure, overall and per head.

Each text begins with its own BOS and is cut into windows of `window` tokens, BOS included; each
window gets a BOS of its own, so that every token of the text is predicted exactly once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.blocks.membership import MembershipTable
from model.errors import TextError
from model.locality.dial import DEFAULT_GAIN, UNIFORM, Dial, Schedule
from model.locality.measures import MEASURES
from model.locality.relevance import Relevance
from model.locality.sweep import sweep_dials
from model.transformer.checkpoint import LoadedModel

REPORTED = tuple(name for name in MEASURES if name != "other_share")
_LARGEST_BATCH = 4_000_000  # pattern elements of one layer over all dials
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Window:
    """ids and classes, int64 [position], the first one BOS."""

    ids: np.ndarray
    classes: np.ndarray


@dataclass
class _Sums:
    """nats: [dial]; measures: [measure, layer, dial, head]; float64.

    `rows` counts predicted tokens, and as many rows that see at least two keys.
    """

    nats: Tensor
    measures: Tensor
    rows: int = 0


def sweep(
    model: LoadedModel,
    texts: Sequence[str],
    dials: Sequence[float],
    window: int = 64,
    gain: float = DEFAULT_GAIN,
    temperature: float = 1.0,
    schedule: Schedule = UNIFORM,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Means per dial value: nats per token, perplexity, and `REPORTED` over rows of >= 2 keys.

    Entropy in bits; shares, fidelity and normalised entropy as fractions. `tokens` counts the
    predicted ones. `progress(done, total)` counts windows. TextError when there is nothing to
    score or the window does not fit the model, DialError on a bad dial.
    """
    settings = [Dial(v, gain, temperature, schedule) for v in dials]
    return sweep_windows(model, cut(model, texts, window), settings, progress)


def sweep_windows(
    model: LoadedModel,
    windows: Sequence[Window],
    settings: Sequence[Dial],
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The same for windows that are cut already."""
    if not settings:
        raise TextError("Dials", list(settings), "at least one is needed", "Give some in [0, 1]")
    windows = sorted(windows, key=lambda each: len(each.ids))
    config = model.config
    shape = (len(MEASURES), config.n_layers, len(settings), config.n_heads)
    sums = _Sums(
        torch.zeros(len(settings), dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
    )
    done = 0
    for batch in _batches(windows, len(settings) * config.n_heads):
        _add(model, batch, settings, sums)
        done += len(batch)
        if progress is not None:
            progress(done, len(windows))
    return {"dials": [_entry(sums, index, dial) for index, dial in enumerate(settings)]}


def cut(model: LoadedModel, texts: Sequence[str], window: int) -> list[Window]:
    """Windows of at most `window` tokens in the order of the texts; TextError if there are none."""
    if not 2 <= window <= model.config.n_ctx:
        raise TextError(
            "Window",
            window,
            f"must lie in [2, {model.config.n_ctx}] tokens",
            "Choose such a window",
        )
    table = MembershipTable(model.tokenizer.token_bytes, model.partition, model.lexicon)
    bos, bos_class = model.tokenizer.bos_id, model.partition.bos_id
    windows = []
    for ids in model.tokenizer.encode_batch(list(texts)):
        whole = np.array([bos, *ids], dtype=np.int64)
        classes = table.classes_for_ids(whole)
        for start in range(1, len(whole), window - 1):
            part = slice(start, start + window - 1)
            windows.append(
                Window(
                    np.concatenate(([bos], whole[part])),
                    np.concatenate(([bos_class], classes[part])),
                )
            )
    if not windows:
        raise TextError("Text", "", "holds no token to predict", "Give at least one line of text")
    return windows


def _batches(windows: Sequence[Window], planes: int) -> Iterator[list[Window]]:
    """Neighbours in length together, within `_LARGEST_BATCH` pattern elements of a layer."""
    batch: list[Window] = []
    for each in windows:
        if batch and planes * (len(batch) + 1) * len(each.ids) ** 2 > _LARGEST_BATCH:
            yield batch
            batch = []
        batch.append(each)
    if batch:
        yield batch


def _add(model: LoadedModel, batch: Sequence[Window], dials: Sequence[Dial], sums: _Sums) -> None:
    """Score one batch. Shorter windows are filled up at the end, where no row looks at it."""
    device = model.decoder.embed.weight.device
    longest = max(len(each.ids) for each in batch)
    ids = torch.full((len(batch), longest), model.tokenizer.bos_id)
    classes = torch.full((len(batch), longest), model.partition.none_id)
    for row, each in enumerate(batch):
        ids[row, : len(each.ids)] = torch.from_numpy(each.ids)
        classes[row, : len(each.ids)] = torch.from_numpy(each.classes)
    lengths = torch.tensor([len(each.ids) for each in batch])
    relevance = Relevance.compile(classes.to(device), model.reads)
    found = sweep_dials(model.decoder, ids.to(device), relevance, dials)
    real = (torch.arange(longest) < lengths[:, None])[:, 1:].to(device)
    sums.nats += (found.nats * real).double().sum(dim=(1, 2)).cpu()
    for index, name in enumerate(MEASURES):
        rows = (found.measures[name][..., 1:] * real[:, None, :]).double()
        sums.measures[index] += rows.sum(dim=(2, 4)).cpu()
    sums.rows += int(real.sum())


def _entry(sums: _Sums, index: int, dial: Dial) -> dict[str, Any]:
    nats = float(sums.nats[index]) / sums.rows
    means = sums.measures[:, :, index] / sums.rows  # [measure, layer, head]
    heads = [
        {"layer": layer, "head": head, **_named(means[:, layer, head])}
        for layer in range(means.shape[1])
        for head in range(means.shape[2])
    ]
    return {
        "dial": dial.value,
        "nats_per_token": nats,
        "perplexity": math.exp(min(nats, 700.0)),
        **_named(means.mean(dim=(1, 2))),
        "tokens": sums.rows,
        "heads": heads,
    }


def _named(values: Tensor) -> dict[str, float]:
    found = dict(zip(MEASURES, values.tolist(), strict=True))
    return {name: found[name] for name in REPORTED}

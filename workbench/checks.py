"""Checks of a model on texts: each bound, layer, head and dial holds, fails, or is not applicable.

A check takes in all rows of all windows. It fails if one row passes its bound by more than rounding
can; it is not applicable if the bound's assumptions hold in no row. `bound`, `measured` and `slack`
are those of the worst row, the one of least slack; rows whose keys are all relevant, where fidelity
is 1 by definition, are counted, and are the worst only where there are no others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor

from model.errors import TextError
from model.locality import score_range
from model.locality.bias import dial_biases
from model.locality.dial import DEFAULT_GAIN, UNIFORM, Dial, Schedule, strength, temperature_at
from model.locality.relevance import Relevance
from model.transformer.checkpoint import LoadedModel
from model.transformer.decoder import Decoder
from model.transformer.layers import Layer
from workbench.check_rows import UNITS, Attention, row_checks
from workbench.check_tally import Tally
from workbench.inference import one_at_a_time
from workbench.sweep import Window, cut

HOLDS, FAILS, NOT_APPLICABLE = "holds", "fails", "not applicable"
_LARGEST_BATCH = 1_000_000  # scores of one layer at one dial
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Check:
    """One bound of one head at one dial.

    rows: where its assumptions hold, rows_trivial of them by definition; rows_not_applicable: the
    others. bound, measured, slack, tolerance: of the worst row, in `unit`. tightness: mean bound
    over mean measurement, 1 where they meet. None where there is nothing to say.
    """

    name: str
    dial: float
    layer: int
    head: int
    status: str
    rows: int
    rows_not_applicable: int
    rows_trivial: int
    bound: float | None
    measured: float | None
    slack: float | None
    tolerance: float | None
    tightness: float | None
    unit: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def check_texts(
    model: LoadedModel,
    texts: Sequence[str],
    dials: Sequence[float],
    window: int = 64,
    gain: float = DEFAULT_GAIN,
    temperature: float = 1.0,
    schedule: Schedule = UNIFORM,
    progress: Progress | None = None,
) -> list[Check]:
    """Checks of texts cut into windows as a sweep cuts them; TextError and DialError as there."""
    settings = [Dial(value, gain, temperature, schedule) for value in dials]
    return check_windows(model, cut(model, texts, window), settings, progress)


def check_windows(
    model: LoadedModel,
    windows: Sequence[Window],
    settings: Sequence[Dial],
    progress: Progress | None = None,
) -> list[Check]:
    """The same for windows that are cut already, each setting of one dial value.

    In the order name, dial, layer, head. Time grows with windows times settings, one hooked pass
    each; the ranges of scores cost a moment once.
    """
    if not windows or not settings:
        raise TextError(
            "Check", f"{len(windows)} windows, {len(settings)} dials", "needs both", "Give some"
        )
    longest = max(len(each.ids) for each in windows)
    limits = score_limits(model.decoder, longest)
    tally = Tally(tuple(UNITS), len(settings), model.config.n_layers, model.config.n_heads)
    done = 0
    for batch in _batches(windows, model.config.n_heads):
        for index, dial in enumerate(settings):
            for found, real in attention(model, batch, dial, limits):
                for rows in row_checks(found):
                    tally.add(rows, index, found.layer, real)
        done += len(batch)
        if progress is not None:
            progress(done, len(windows))
    return list(_checks(tally, settings))


def score_limits(decoder: Decoder, n_offsets: int) -> tuple[Tensor, Tensor]:
    """Provable score range of every head over that many offsets, and its slop: [layer, head], nats.

    Slop: what float32 can add, by the roundings of two products over d_model and one over d_head,
    whose sizes are bounded by Frobenius norms, at most sqrt(d_head) times the spectral ones.
    """
    config = decoder.config
    norm = math.sqrt(config.d_model)
    weights = [_head_weights(cast(Layer, layer)) for layer in decoder.blocks]
    w_q, w_k = (torch.stack(side) for side in zip(*weights, strict=True))
    turns = score_range.rotations(
        torch.arange(n_offsets, device=w_q.device), config.d_head, config.rope_theta
    )
    limits = score_range.score_range(w_q, w_k, turns, norm)
    roundings = 2 * config.d_model * math.sqrt(config.d_head) + config.d_head + 64
    unit = torch.finfo(decoder.embed.weight.dtype).eps / 2
    return limits, score_range.loose_score_range(w_q, w_k, norm) * unit * roundings


def _head_weights(layer: Layer) -> tuple[Tensor, Tensor]:
    """W'_Q and W'_K of every query head, [head, d_model, d_head], keys repeated for their group."""
    config, gain = layer.attn.config, layer.ln1.weight
    w_q, w_k = (
        score_range.folded(side.weight.view(-1, config.d_head, config.d_model).mT, gain)
        for side in (layer.attn.q, layer.attn.k)
    )
    return w_q, w_k.repeat_interleave(config.n_heads // config.n_kv_heads, dim=0)


def attention(
    model: LoadedModel, batch: Sequence[Window], dial: Dial, limits: tuple[Tensor, Tensor]
) -> Iterator[tuple[Attention, Tensor]]:
    """Every layer of one hooked pass, and which rows are real: bool [batch, query]."""
    config, place = model.config, model.decoder.embed.weight.device
    longest = max(len(each.ids) for each in batch)
    ids = torch.full((len(batch), longest), model.tokenizer.bos_id)
    classes = torch.full((len(batch), longest), model.partition.none_id)
    for row, each in enumerate(batch):  # filled up at the end, where no row looks at it
        ids[row, : len(each.ids)] = torch.from_numpy(each.ids)
        classes[row, : len(each.ids)] = torch.from_numpy(each.classes)
    lengths = torch.tensor([len(each.ids) for each in batch])
    real = (torch.arange(longest) < lengths[:, None]).to(place)
    relevance = Relevance.compile(classes.to(place), model.reads)
    hooks = [
        [f"blocks.{layer}.attn.{hook}" for hook in ("hook_attn_scores", "hook_pattern")]
        for layer in range(config.n_layers)
    ]
    with one_at_a_time, torch.inference_mode():
        _, cache = model.decoder.run_with_cache(
            ids.to(place), dial, relevance, names_filter=[name for pair in hooks for name in pair]
        )
    exact = Relevance.compile(classes.to(place), model.reads, torch.float64)
    lambdas = dial.lambdas(config.n_layers, config.n_heads).to(place)
    strengths, taus = strength(lambdas, dial.gain), temperature_at(lambdas, dial.temperature)
    biases = dial_biases(exact, [None if dial.is_zero else s for s in strengths], torch.float64)
    for layer, (scores, pattern) in enumerate(hooks):
        with torch.inference_mode():
            yield (
                Attention(
                    layer,
                    cache[scores],
                    cache[pattern],
                    exact,
                    biases[layer],
                    strengths[layer],
                    taus[layer],
                    limits[0][layer],
                    limits[1][layer],
                ),
                real,
            )


def _batches(windows: Sequence[Window], n_heads: int) -> Iterator[list[Window]]:
    """Neighbours in length together, within `_LARGEST_BATCH` scores of a layer."""
    batch: list[Window] = []
    for each in sorted(windows, key=lambda window: len(window.ids)):
        if batch and n_heads * (len(batch) + 1) * len(each.ids) ** 2 > _LARGEST_BATCH:
            yield batch
            batch = []
        batch.append(each)
    yield batch


def _checks(tally: Tally, settings: Sequence[Dial]) -> Iterator[Check]:
    for name, unit in UNITS.items():
        for index, dial in enumerate(settings):
            assert isinstance(dial.value, float)
            for layer in range(tally.n_layers):
                for head in range(tally.n_heads):
                    found = tally.entry(name, index, layer, head)
                    status = FAILS if found.pop("failed") else HOLDS
                    if not found["rows"]:
                        status = NOT_APPLICABLE
                    yield Check(name, dial.value, layer, head, status, unit=unit, **found)

"""The theory beside the truth, for one head on one prompt: guarantees over the dial, measured too.

Bounds come from `model.locality.bounds`, measurements from the model; they are joined row by row in
`workbench.check_rows` and only averaged here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from model.errors import BoundError
from workbench.choices import Choices, check
from workbench.inference import (
    Prompt,
    device_of,
    dial_of,
    one_at_a_time,
    relevance_of,
    run,
    subject_of,
)
from workbench.memo import Memo
from workbench.tables import Column, Table

if TYPE_CHECKING:
    from model.transformer.checkpoint import LoadedModel

DIALS = tuple(round(float(value), 3) for value in np.linspace(0.0, 1.0, 21))
_COLUMNS = (  # key, title, unit
    ("dial", "dial", ""),
    ("fidelity_bound", "fidelity, guaranteed", "fraction"),
    ("fidelity", "fidelity, measured", "fraction"),
    ("fidelity_bound_worst", "least of a row, guaranteed", "fraction"),
    ("fidelity_worst", "least of a row, measured", "fraction"),
    ("entropy_bound", "entropy, guaranteed", "bits"),
    ("entropy", "entropy, measured", "bits"),
    ("rows_applicable", "rows with an entropy bound", "fraction"),
    ("violations", "rows that pass a bound", "rows"),
)


@dataclass(frozen=True)
class _Measured:
    """Every head at every dial: values [column, dial, layer, head], rows [layer, head]."""

    values: np.ndarray
    rows: np.ndarray


_memo: Memo[_Measured] = Memo(16 * 2**20, lambda each: each.values.nbytes)


def guarantee_table(
    model: LoadedModel, prompt: Prompt, choices: Choices, layer: int, head: int
) -> Table:
    """What is guaranteed and what happened at each of `DIALS`: means over the head's rows.

    Rows that see two keys or more, and a relevant one; `about` says how many. Scores are those that
    the model has at that dial. Where a row has no entropy bound, log2 n stands for it.
    BoundError where the prompt has no such row. All heads are measured at once, and kept.
    """
    key = (subject_of(model, prompt), device_of(model), choices)
    found = _memo.get(key)
    if found is None:
        found = _memo.put(key, _measure(model, prompt, choices))
    rows = int(found.rows[layer, head])
    if not rows:
        raise no_row(layer, head)
    about = {
        "model_hash": model.content_hash,
        "layer": layer,
        "head": head,
        "rows": rows,
        "rows_not_applicable": prompt.n_tokens - 1 - rows,
        "choices": choices.describe(),
    }
    cells = [DIALS, *found.values[:, :, layer, head].tolist()]
    columns = (Column(*names, each) for names, each in zip(_COLUMNS, cells, strict=True))
    title = f"Layer {layer}, head {head}: guaranteed and measured"
    return Table("guarantees", title, tuple(columns), about)


def _measure(model: LoadedModel, prompt: Prompt, choices: Choices) -> _Measured:
    from workbench.check_rows import row_checks
    from workbench.checks import attention, score_limits
    from workbench.sweep import Window

    config = model.config
    window = Window(np.array(prompt.ids), prompt.classes.copy())
    limits = score_limits(model.decoder, prompt.n_tokens)
    shape = len(_COLUMNS) - 1, len(DIALS), config.n_layers, config.n_heads
    values, rows = np.full(shape, np.nan), np.zeros(shape[2:], dtype=np.int64)
    for index, value in enumerate(DIALS):
        for found, _ in attention(model, [window], dial_of(value, choices), limits):
            fidelity, entropy = islice(row_checks(found), 2)
            for head in range(config.n_heads):
                kept = fidelity.applies[0, head].clone()
                kept[0] = False
                rows[found.layer, head] = int(kept.sum())
                if not bool(kept.any()):
                    continue
                low, mass = fidelity.bound[0, head][kept], fidelity.measured[0, head][kept]
                high, bits = entropy.bound[0, head][kept], entropy.measured[0, head][kept]
                passed = sum(
                    int((each.slack < -each.tolerance)[0, head][kept].sum())
                    for each in (fidelity, entropy)
                )
                values[:, index, found.layer, head] = (
                    *(float(low.mean()), float(mass.mean()), float(low.min()), float(mass.min())),
                    *(float(high.mean()), float(bits.mean())),
                    *(float(entropy.applies[0, head][kept].double().mean()), passed),
                )
    return _Measured(values, rows)


def no_row(layer: int, head: int) -> BoundError:
    return BoundError(
        f"Layer {layer}, head {head}",
        "no row",
        "needs a row of two keys or more that sees a relevant one",
        "Choose another head, or a longer text",
    )


@dataclass(frozen=True)
class NeededDial:
    """The dial that guarantees a fidelity on every row, and on half of them; in [0, 1].

    exact: whether it holds for the model, and not only for scores as they stand at dial 0.
    worst_row: the query that needs most, which sees n keys, m of them relevant; margin: its joint
    margin at dial 0, needed_margin: the one it needs, turn: its -ln(1 - lambda), all in nats.
    classes: of its keys that are not relevant, each (how many, raw margin in nats, gap R - r).
    weight: the share of the dial that the head takes.
    fidelity_there: measured at `every`, the least of a row.
    """

    fidelity: float
    every: float
    half: float
    turn: float
    exact: bool
    worst_row: int
    n: int
    m: int
    margin: float
    needed_margin: float
    classes: tuple[tuple[int, float, float], ...]
    weight: float
    fidelity_there: float


def needed_dial(
    model: LoadedModel, prompt: Prompt, choices: Choices, layer: int, head: int, fidelity: float
) -> NeededDial:
    """Solve the bound for the dial, from the scores at dial 0 of rows that see a relevant key.

    BoundError for a temperature other than 1 (tau then moves with the dial), for a head that takes
    none of the dial, and where no row sees two keys and a relevant one.
    """
    import torch

    from model.locality import bounds
    from model.locality.margins import row_margins

    check("Fidelity", fidelity, 0.0, 1.0)
    if choices.temperature != 1.0:
        raise BoundError(
            "Temperature", choices.temperature, "must be 1: another moves tau with the dial",
            "Set it to 1",
        )  # fmt: skip
    config = model.config
    weight = float(choices.schedule().weights_for(config.n_layers, config.n_heads)[layer, head])
    if weight == 0.0:
        raise BoundError(
            f"Layer {layer}, head {head}", 0.0, "takes none of the dial in this schedule",
            "Choose the uniform schedule",
        )  # fmt: skip
    relevance, name = relevance_of(model, prompt), f"blocks.{layer}.attn.hook_attn_scores"
    ids = torch.tensor(prompt.ids, device=relevance.classes.device)[None]
    with one_at_a_time, torch.inference_mode():
        _, cache = model.decoder.run_with_cache(ids, names_filter=[name])
    rows = row_margins(cache[name][:, head : head + 1], relevance.raw(layer)[:, head : head + 1])
    n, m, margins, counts, gaps = (
        each[0, 0] for each in (rows.n, rows.m, rows.margins, rows.counts, rows.gaps)
    )
    kept = (m > 0) & (n > 1)
    if not bool(kept.any()):
        raise no_row(layer, head)
    need = bounds.needed_margin(n[kept], m[kept], 1.0 - fidelity).value
    force = bounds.needed_strength_jointly(need, margins[kept], counts[kept], 1.0, gaps[kept])
    turn = bounds.needed_turn(force, choices.gain)
    dials = bounds.dial_of(turn) / weight
    worst = int(turn.argmax())
    if float(dials[worst]) > 1.0:
        raise BoundError(
            f"Layer {layer}, head {head}", float(dials[worst]),
            f"would have to be the dial, since the head takes {weight:g} of it",
            "Choose the uniform schedule, a larger gain, or a lower fidelity",
        )  # fmt: skip
    every = float(dials[worst])
    there = _least_fidelity(model, prompt, choices, layer, head, every)
    return NeededDial(
        fidelity,
        every,
        float(dials.median()),
        float(turn[worst]),
        layer == 0,
        int(kept.nonzero()[worst]),
        int(n[kept][worst]),
        int(m[kept][worst]),
        float(bounds.joint_margin(margins[kept], counts[kept])[worst]),
        float(need[worst]),
        tuple(
            (int(count), float(margin), float(gap))
            for count, margin, gap in zip(
                counts[kept][worst], margins[kept][worst], gaps[kept][worst], strict=True
            )
            if count
        ),
        weight,
        there,
    )


def _least_fidelity(
    model: LoadedModel, prompt: Prompt, choices: Choices, layer: int, head: int, dial: float
) -> float:
    """Measured: the least of the head's rows that see two keys and a relevant one."""
    found = run(model, prompt, dial_of(dial, choices)).measures
    kept = found["fallback_share"][layer, head] == 0
    kept[0] = False
    return float(found["fidelity"][layer, head][kept].min()) if kept.any() else math.nan

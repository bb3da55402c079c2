"""Guarantees beside measurements over the dial for held-out texts: every row of every head.

As `workbench.theory` does for one prompt; here a band says how rows, or heads, differ. A quantile
of what was measured cannot pass the same quantile of the bounds unless a row passes its own, so the
edges of the band may be held against each other as they are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from model.errors import BoundError
from workbench.choices import Choices
from workbench.coding_texts import held_out_texts
from workbench.inference import device_of, dial_of
from workbench.memo import Memo
from workbench.tables import Column, Table

if TYPE_CHECKING:
    import torch

    from model.locality.dial import Dial
    from model.transformer.checkpoint import LoadedModel
    from workbench.sweep import Window

DIALS = tuple(round(float(value), 3) for value in np.linspace(0.0, 1.0, 11))
EDGE = 0.05  # the band over rows leaves out this share of them below, and as many above
WINDOW = 64  # tokens, as the bounds command takes them
_BATCH = 32  # windows
Progress = Callable[[float], object]

_QUANTITIES = (  # key, title, unit
    ("fidelity_bound", "fidelity, guaranteed", "fraction"),
    ("fidelity", "fidelity, measured", "fraction"),
    ("entropy_bound", "entropy, guaranteed", "bits"),
    ("entropy", "entropy, measured", "bits"),
)
_STATISTICS = ("mean", "low", "high")


@dataclass(frozen=True, eq=False)
class SetGuarantees:
    """Held-out texts at each of `DIALS`.

    values: [quantity, statistic, dial, layer, head], float64: mean, `EDGE` and 1 - `EDGE` quantile
    over rows; NaN for a head that has none. violations, applies: [dial, layer, head], rows that
    pass a bound, and the share that has an entropy bound. rows: [layer, head], with two keys or
    more and a relevant one; all_rows: with two keys or more, whatever they see.
    """

    model_hash: str
    choices: Choices
    texts: int
    values: np.ndarray
    violations: np.ndarray
    applies: np.ndarray
    rows: np.ndarray
    all_rows: int


_memo: Memo[SetGuarantees] = Memo(16 * 2**20, lambda each: each.values.nbytes)


def known(model: LoadedModel, choices: Choices) -> SetGuarantees | None:
    """What `set_guarantees` has measured already, else None: costs nothing."""
    return _memo.get(_key(model, choices))


def set_guarantees(
    model: LoadedModel, choices: Choices, progress: Progress | None = None
) -> SetGuarantees:
    """Every head on the held-out glosses at every dial, from the memo where it is known.

    progress: told the share that is done, in [0, 1]. Some tens of seconds on one core.
    """
    key = _key(model, choices)
    found = _memo.get(key)
    if found is None:
        found = _memo.put(key, measure(model, held_out_texts(), choices, DIALS, progress))
    return found


def forget_sets() -> None:
    """Empty the memo."""
    _memo.clear()


def measure(
    model: LoadedModel,
    texts: Sequence[str],
    choices: Choices,
    dials: Sequence[float],
    progress: Progress | None = None,
) -> SetGuarantees:
    """The same for any texts and dials, and without the memo. TextError where there is none."""
    import torch

    from workbench.sweep import cut

    config = model.config
    windows = sorted(cut(model, texts, min(WINDOW, config.n_ctx)), key=lambda each: len(each.ids))
    groups = [windows[start : start + _BATCH] for start in range(0, len(windows), _BATCH)]
    place = config.n_layers, config.n_heads
    values = np.full((len(_QUANTITIES), len(_STATISTICS), len(dials), *place), np.nan)
    violations = np.zeros((len(dials), *place), dtype=np.int64)
    applies = np.zeros((len(dials), *place))
    rows, all_rows = np.zeros(place, dtype=np.int64), 0
    edges = torch.tensor([EDGE, 1.0 - EDGE], dtype=torch.float64)
    for index, value in enumerate(dials):
        heads: dict[tuple[int, int], list[torch.Tensor]] = {}
        for number, batch in enumerate(groups):
            _collect(model, batch, dial_of(value, choices), heads)
            if progress is not None:
                progress((index + (number + 1) / len(groups)) / len(dials))
        for (layer, head), parts in heads.items():
            found = torch.cat(parts, dim=1)  # [quantity, then passed, applies, kept; row]
            all_rows = found.shape[1]
            kept = found[:, found[-1] > 0]
            rows[layer, head] = kept.shape[1]
            if not kept.shape[1]:
                continue
            four = kept[: len(_QUANTITIES)]
            low, high = torch.quantile(four, edges, dim=1)
            values[:, :, index, layer, head] = torch.stack((four.mean(dim=1), low, high), dim=1)
            violations[index, layer, head] = int(kept[-3].sum())
            applies[index, layer, head] = float(kept[-2].mean())
    return SetGuarantees(
        model.content_hash, choices, len(texts), values, violations, applies, rows, all_rows
    )


def _collect(
    model: LoadedModel,
    batch: Sequence[Window],
    dial: Dial,
    heads: dict[tuple[int, int], list[torch.Tensor]],
) -> None:
    """Rows of two keys or more of one batch, added to each head's: float64 [field, row]."""
    import torch

    from workbench.check_rows import row_checks
    from workbench.checks import attention

    none = torch.zeros(model.config.n_layers, model.config.n_heads)  # of bounds not looked at
    for found, there in attention(model, batch, dial, (none, none)):
        fidelity, entropy = islice(row_checks(found), 2)
        real = there.clone()
        real[:, 0] = False  # begin-of-text sees one key
        passed = torch.zeros_like(fidelity.slack)
        for each in (fidelity, entropy):
            passed += ~(each.slack >= -each.tolerance)  # also where the slack is NaN
        fields = torch.stack(
            (
                fidelity.bound, fidelity.measured, entropy.bound, entropy.measured, passed,
                entropy.applies.double(), fidelity.applies.double(),
            )
        )  # fmt: skip
        for head in range(model.config.n_heads):
            heads.setdefault((found.layer, head), []).append(fields[:, :, head][:, real].cpu())


def head_table(found: SetGuarantees, layer: int, head: int) -> Table:
    """One head: mean over its rows, and the band that leaves out 5 % at each end.

    BoundError where no row sees a relevant key.
    """
    if not found.rows[layer, head]:
        raise BoundError(
            f"Layer {layer}, head {head}", "no row",
            "needs a row of two keys or more that sees a relevant one", "Choose another head",
        )  # fmt: skip
    cells = found.values[:, :, :, layer, head]
    about = {"layer": layer, "head": head, "rows": int(found.rows[layer, head])}
    title = f"Held-out texts, layer {layer}, head {head}"
    names = ("mean", f"lowest {EDGE:.0%} of rows below", f"highest {EDGE:.0%} of rows above")
    return _table(
        found, cells, found.violations[:, layer, head], found.applies[:, layer, head], names, title,
        about | {"band": "rows"},
    )  # fmt: skip


def heads_table(found: SetGuarantees) -> Table:
    """All heads that have rows: the mean of their means, and the lowest and highest of them."""
    some = found.rows > 0
    if not some.any():
        raise BoundError(
            "Held-out texts", "no row", "no head sees a relevant key", "Choose another model"
        )
    means = found.values[:, 0][:, :, some]  # [quantity, dial, head]
    cells = np.stack((means.mean(axis=-1), means.min(axis=-1), means.max(axis=-1)), axis=1)
    passed, applies = found.violations.sum(axis=(1, 2)), found.applies[:, some].mean(axis=-1)
    about = {"heads": int(some.sum()), "rows": int(found.rows.sum()), "band": "heads"}
    names = ("mean of all heads", "lowest head", "highest head")
    return _table(found, cells, passed, applies, names, "Held-out texts, all heads", about)


def _table(
    found: SetGuarantees,
    cells: np.ndarray,
    violations: np.ndarray,
    applies: np.ndarray,
    names: tuple[str, str, str],
    title: str,
    about: dict[str, Any],
) -> Table:
    columns = [Column("dial", "dial", "", list(DIALS[: cells.shape[2]]))]
    for (key, what, unit), three in zip(_QUANTITIES, cells.tolist(), strict=True):
        for statistic, name, each in zip(_STATISTICS, names, three, strict=True):
            suffix = "" if statistic == "mean" else f"_{statistic}"
            columns.append(Column(f"{key}{suffix}", f"{what}, {name}", unit, each))
    columns += [
        Column("rows_applicable", "rows with an entropy bound", "fraction", applies.tolist()),
        Column("violations", "rows that pass a bound", "rows", violations.tolist()),
    ]
    asked = {
        "model_hash": found.model_hash,
        "texts": found.texts,
        "window": WINDOW,
        "choices": found.choices.describe(),
    }
    return Table("guarantees-held-out", title, tuple(columns), asked | about)


def _key(model: LoadedModel, choices: Choices) -> tuple[str, str, Choices]:
    return model.content_hash, device_of(model), choices

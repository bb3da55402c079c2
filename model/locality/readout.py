"""What many units say together: a linear readout of each category, beside the best single unit.

A category may be told from a pattern over all units though no single one tells it: that is what
"distributed" claims. Both are fitted on one part of the tokens and scored on another, so that
neither gains by having been chosen: a best of 384 units flatters itself on the tokens it was picked
on.

    readout = argmin ||X B − Y||² / n + ridge ||B||²          X standardised, Y centred membership
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.errors import UnitError
from model.locality.units import auc

RIDGE = 0.01  # of a standardised unit's variance, which is 1


@dataclass(frozen=True)
class Readout:
    """Scores on the tokens that were not fitted; NaN where a category lacks tokens in a part.

    unit: int64 [category], the single unit with the largest AUC on the fitted tokens. single, all:
    float64 [category], AUC of that unit and of the readout of all units.
    """

    unit: Tensor
    single: Tensor
    all: Tensor


def readout(
    activations: Tensor, classes: Tensor, n_categories: int, fitted: Tensor, ridge: float = RIDGE
) -> Readout:
    """Fit on the tokens marked `fitted` (bool [token]), score on the others.

    activations [token, unit]; classes int64 [token], as in `measure_units`. UnitError where a part
    is empty or the ridge is not above 0.
    """
    if fitted.shape != classes.shape or fitted.all() or not fitted.any():
        raise UnitError(
            "Fitted tokens",
            f"{int(fitted.sum())} of {len(classes)}",
            "must be some of the tokens, and not all",
            "Mark about half of them",
        )
    if not ridge > 0:
        raise UnitError("Ridge", ridge, "must be above 0", "Use 0.01")
    x, held = activations[fitted].double(), activations[~fitted].double()
    # A unit that is constant on the fitted tokens, but for rounding, has nothing to say.
    mean, scale = x.mean(dim=0), x.std(dim=0, correction=0)
    silent = scale <= 1e-12 * x.abs().amax(dim=0).clamp(min=1e-300)
    scale = scale.masked_fill(silent, float("inf"))
    x, held = (x - mean) / scale, (held - mean) / scale
    y = (classes[fitted][:, None] == torch.arange(n_categories, device=classes.device)).double()
    gram = x.T @ x / len(x)
    gram.diagonal().add_(ridge)
    weights = torch.linalg.solve(gram, x.T @ (y - y.mean(dim=0)) / len(x))
    chosen = auc(activations[fitted], classes[fitted], n_categories)
    absent = chosen.isnan().all(dim=0)
    unit = chosen.nan_to_num(nan=-1.0).argmax(dim=0)
    later = classes[~fitted]
    single = auc(held[:, unit], later, n_categories).diagonal().clone()
    together = auc(held @ weights, later, n_categories).diagonal().clone()
    single[absent] = together[absent] = float("nan")
    return Readout(unit, single, together)

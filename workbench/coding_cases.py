"""Units and categories that teach something: where a measure says "selective" and the unit is not.

Cases are found among all units and categories of a model, whatever the model; none is written down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.coding import MEASURES, Coding, Lesion
from workbench.coding_tables import WORDS, cells, measure_columns
from workbench.tables import Column, Table

_LARGE = 0.8  # value of CCMAS or precision from which on a unit looks selective


@dataclass(frozen=True)
class Case:
    """A unit and a category that teach something; why: in words, for people."""

    unit: int
    category: int
    why: str


def cases_table(
    coding: Coding, cases: Sequence[Case], lesions: Sequence[Lesion], name: str = "what-misleads"
) -> Table:
    """A row a case: what each measure says of its unit and category, and the lesion."""
    units, categories = [each.unit for each in cases], [each.category for each in cases]
    columns = [
        Column("unit", "unit", "", tuple(units)),
        Column("category", "category", "", tuple(map(coding.texts.title_of, categories))),
        *measure_columns(coding, units, categories, lesions),
    ]
    if name != "unit":
        columns.append(Column("why", "why it is here", "", tuple(each.why for each in cases)))
    title = f"Unit {units[0]} of {coding.name}" if name == "unit" else f"Cases in {coding.name}"
    return Table(name, title, tuple(columns), coding.about)


def misleading_cases(coding: Coding) -> list[Case]:
    """Where a measure says "selective" and the unit is not, found among all units and categories.

    For precision, and for CCMAS of another unit: of all values from 0.8 on (of the ten largest
    where there are none), the one with the smallest AUC. Beside them the largest AUC among units
    whose precision is below a half, and the largest AUC of all.
    """
    found = {key: np.nan_to_num(coding.measures[key], nan=-2.0) for key in MEASURES}
    auc = found["auc"]

    def least(of: str, but: int = -1) -> tuple[int, int]:
        values = np.where(auc >= 0, found[of], -2.0)
        if but >= 0:
            values[but] = -2.0
        high = min(_LARGE, float(np.sort(values, axis=None)[-min(10, values.size)]))
        return _place(np.where(values >= high, -auc, -np.inf))

    low = np.where((found["precision"] < 0.5) & (found["precision"] >= 0), auc, -np.inf)
    flattered = least("precision")
    picked = (
        (flattered, "precision large, AUC smallest"),
        (least("ccmas", flattered[0]), "CCMAS large, AUC smallest"),
        (_place(low), "precision below a half, AUC largest"),
        (_place(auc), "the largest AUC of all"),
    )
    return [Case(unit, category, why) for (unit, category), why in picked]


def unit_table(coding: Coding, lesion: Lesion) -> Table:
    """One row: a unit and one category, with the effect of its lesion."""
    return cases_table(coding, [Case(lesion.unit, lesion.category, "")], [lesion], "unit")


def scatter_table(coding: Coding) -> Table:
    """A row a unit: the categories of its largest CCMAS and precision, and the AUC there."""
    columns = [Column("unit", "unit", "", tuple(range(coding.n_units)))]
    units, auc = np.arange(coding.n_units), coding.measures["auc"]
    for key in ("ccmas", "precision"):
        values = np.nan_to_num(coding.measures[key], nan=-2.0)
        top = values.argmax(axis=1)
        columns += [
            Column(f"{key}_category", f"category of largest {key}", "",
                   tuple(coding.texts.title_of(int(c)) for c in top)),
            Column(key, *WORDS[key], cells(coding.measures[key][units, top])),
            Column(f"{key}_auc", "AUC there", "fraction", cells(auc[units, top])),
        ]  # fmt: skip
    return Table("measures-compared", f"Units of {coding.name}", tuple(columns), coding.about)


def _place(scores: np.ndarray) -> tuple[int, int]:
    """Unit and category of the largest score, the first of equals."""
    unit, category = np.unravel_index(int(scores.argmax()), scores.shape)
    return int(unit), int(category)

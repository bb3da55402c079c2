"""Units and categories that teach something: where a measure says "selective" and the unit is not.

Cases are found among all units and categories of a model, whatever the model; none is written down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.coding import MEASURES, Coding, Lesion
from workbench.coding_tables import WORDS, cells, lesion_columns
from workbench.tables import Column, Table

_LARGE = 100  # values of a measure among which the smallest AUC is looked for


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
        *(
            Column(key, *WORDS[key], cells(coding.measures[key][units, categories]))
            for key in MEASURES
        ),
        *lesion_columns(lesions),
    ]
    if name != "unit":
        columns.append(Column("why", "why it is here", "", tuple(each.why for each in cases)))
    title = f"Unit {units[0]} of {coding.name}" if name == "unit" else f"Cases in {coding.name}"
    return Table(name, title, tuple(columns), coding.about)


def misleading_cases(coding: Coding) -> list[Case]:
    """Where a measure says "selective" and the unit is not, found among all units and categories.

    For CCMAS and for precision: of the hundred largest values (and what ties with them) the one
    with the smallest AUC. Beside them the largest AUC, and the largest AUC among units whose
    precision is below a half.
    """
    found = {key: np.nan_to_num(coding.measures[key], nan=-2.0) for key in MEASURES}
    auc = found["auc"]

    def least(of: str) -> tuple[int, int]:
        high = np.sort(found[of], axis=None)[-min(_LARGE, auc.size)]
        return _place(np.where((found[of] >= high) & (auc >= 0), -auc, -np.inf))

    low = np.where((found["precision"] < 0.5) & (found["precision"] >= 0), auc, -np.inf)
    picked = (
        (least("precision"), "among the hundred largest precisions, the smallest AUC"),
        (least("ccmas"), "among the hundred largest CCMAS, the smallest AUC"),
        (_place(low), "the largest AUC with a precision below a half"),
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

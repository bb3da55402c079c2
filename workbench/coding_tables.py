"""What the Coding page shows, as tables: units by categories, counts, one unit, the whole dial.

Every table is drawn and saved from the same cells. A measure without a meaning (a category without
a token) is an empty cell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from workbench.coding import MEASURES, STRONGEST, Coding, Lesion
from workbench.tables import Column, Table

# Measure -> title and unit.
WORDS: dict[str, tuple[str, str]] = {
    "auc": ("AUC", "fraction"),
    "d_prime": ("d′", "SD"),
    "hit_rate": ("hit rate", "fraction"),
    "false_alarm_rate": ("false-alarm rate", "fraction"),
    "ccmas": ("CCMAS", "−1 to 1"),
    "precision": ("precision", "fraction"),
}
STRONG, FAIR = 0.9, 0.8  # AUCs that units are counted by
BINS = 40


def matrix_table(codings: Sequence[Coding], measure: str) -> Table:
    """A row a unit of each model, ordered by its best category and AUC; a column a category."""
    orders = [np.lexsort((-each.best_auc, each.best)) for each in codings]
    texts = codings[0].texts
    title, unit = WORDS[measure]
    columns = [
        Column("model", "model", "", _join([each.name] * each.n_units for each in codings)),
        Column("unit", "unit", "", _join(order.tolist() for order in orders)),
        Column(
            "best",
            "best category",
            "",
            _join(
                [texts.title_of(int(c)) for c in each.best[order]]
                for each, order in zip(codings, orders, strict=True)
            ),
        ),
    ]
    for category, name in enumerate(texts.names):
        if texts.sizes[category]:
            values = _join(
                cells(each.measures[measure][order, category])
                for each, order in zip(codings, orders, strict=True)
            )
            columns.append(Column(f"{measure}_{name}", texts.titles[category], unit, values))
    name = f"units-by-category-{measure.replace('_', '-')}"
    return Table(name, f"{title} of every unit and category", tuple(columns), _about(codings))


def summary_table(codings: Sequence[Coding]) -> Table:
    """A row a model: how many units tell a category, beside what shuffled categories give."""

    def column(key: str, title: str, unit: str, cells: Iterable[float | int]) -> Column:
        return Column(key, title, unit, tuple(cells))

    auc, chance = [each.best_auc for each in codings], [each.chance for each in codings]
    single, together = [each.single for each in codings], [each.together for each in codings]
    return Table(
        "units-summary",
        "How localist each model is",
        (
            Column("model", "model", "", tuple(each.name for each in codings)),
            column("dial", "dial", "", (each.asked.dial for each in codings)),
            column("units", "units", "", (each.n_units for each in codings)),
            column("strong", f"AUC above {STRONG:g}", "units", _above(auc, STRONG)),
            column("fair", f"AUC above {FAIR:g}", "units", _above(auc, FAIR)),
            column("median", "median of units' best AUC", "fraction", map(_median, auc)),
            column("chance", "the same by chance", "fraction", map(_median, chance)),
            column("most_by_chance", "largest by chance", "fraction", map(_largest, chance)),
            column("single", "best single unit", "mean AUC", map(_mean, single)),
            column("together", "all units read together", "mean AUC", map(_mean, together)),
        ),
        _about(codings),
    )  # fmt: skip


def categories_table(codings: Sequence[Coding]) -> Table:
    """A row a category: its best single unit, and the readout of all units, in each model."""
    texts = codings[0].texts
    present = np.flatnonzero(texts.sizes)
    columns = [
        Column("category", "category", "", tuple(texts.titles[c] for c in present)),
        Column("tokens", "tokens", "", tuple(texts.sizes[present].tolist())),
    ]
    for index, each in enumerate(codings):
        for key, title, unit, values in (
            ("unit", "best unit", "", each.single_unit),
            ("single", "that unit", "AUC", each.single),
            ("together", "all units together", "AUC", each.together),
        ):
            heading = f"{each.name}: {title}"
            columns.append(Column(f"{key}_{index}", heading, unit, cells(values[present])))
    return Table("categories", "One unit, or all of them", tuple(columns), _about(codings))


def units_table(coding: Coding, lesions: Sequence[Lesion] | None = None) -> Table:
    """A row a unit with its best category, largest AUC first; lesions where they were measured."""
    order = np.argsort(-coding.best_auc, kind="stable")
    best = coding.best[order]
    known = {each.unit: each for each in lesions or ()}
    found = None if lesions is None else [known[int(unit)] for unit in order]
    columns = [
        Column("unit", "unit", "", tuple(order.tolist())),
        Column("category", "best category", "", tuple(map(coding.texts.title_of, best.tolist()))),
        *measure_columns(coding, order, best, found),
    ]
    return Table("units", f"Units of {coding.name}", tuple(columns), coding.about)


def histogram_table(coding: Coding, unit: int, category: int) -> Table:
    """How activations of a unit spread on and off a category: shares of tokens a bin."""
    values, on = coding.activations[:, unit].astype(float), coding.texts.category == category
    low, high = float(values.min()), float(values.max())
    edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    counts = [np.histogram(values[part], edges)[0] / max(1, part.sum()) for part in (on, ~on)]
    title = coding.texts.title_of(category)
    return Table(
        "unit-histogram",
        f"Unit {unit} of {coding.name}: {title} and all others",
        (
            Column("from", "from", "activation", tuple(edges[:-1].tolist())),
            Column("to", "to", "activation", tuple(edges[1:].tolist())),
            Column("on", title, "share of its tokens", tuple(counts[0].tolist())),
            Column("off", "all others", "share of their tokens", tuple(counts[1].tolist())),
        ),
        {**coding.about, "unit": unit, "category": coding.texts.names[category],
         "threshold": float(coding.measures["threshold"][unit, category])},
    )  # fmt: skip


def strongest_table(
    coding: Coding, unit: int, most: int = STRONGEST, name: str = "strongest"
) -> Table:
    """The tokens on which a unit is most active, in their text; ties in the order of the texts."""
    order = np.argsort(-coding.activations[:, unit], kind="stable")[:most]
    return _tokens_table(coding, unit, order, name, "strongest tokens")


def own_text_table(coding: Coding, unit: int) -> Table | None:
    """A unit on every token of the person's own text, or None where there is none."""
    texts = coding.texts
    if texts.own is None:
        return None
    return _tokens_table(
        coding, unit, np.flatnonzero(texts.place[:, 0] == texts.own), "own-text", "your text"
    )


def dial_table(codings: Sequence[Coding]) -> Table:
    """The summary, a row a model and dial value."""
    table = summary_table(codings)
    asked = {key: value for key, value in table.about.items() if not key.startswith("dial")}
    return Table("units-over-dial", "Units over the dial", table.columns, asked)


def unit_over_dial_table(codings: Sequence[Coding], unit: int, category: int) -> Table:
    """One unit and category of one model, a row a dial value."""
    columns = [
        Column("dial", "dial", "", tuple(each.asked.dial for each in codings)),
        *(
            Column(key, *WORDS[key], cells([e.measures[key][unit, category] for e in codings]))
            for key in MEASURES
        ),
    ]
    first = codings[0]
    title = f"Unit {unit} of {first.name} and {first.texts.title_of(category)}, over the dial"
    asked = {key: value for key, value in first.about.items() if key != "dial"}
    about = {**asked, "unit": unit, "category": first.texts.names[category]}
    return Table("unit-over-dial", title, tuple(columns), about)


def _tokens_table(coding: Coding, unit: int, order: np.ndarray, name: str, what: str) -> Table:
    texts = coding.texts
    contexts = [texts.context(token) for token in order.tolist()]
    classes = texts.category[order].tolist()
    before, token, after = zip(*contexts, strict=True) if contexts else ((), (), ())
    return Table(
        name,
        f"Unit {unit} of {coding.name}: {what}",
        (
            Column("rank", "rank", "", tuple(range(1, len(order) + 1))),
            Column("activation", "activation", "", tuple(coding.activations[order, unit].tolist())),
            Column("before", "before", "", before),
            Column("token", "token", "", token),
            Column("after", "after", "", after),
            Column("category", "category", "", tuple(map(texts.title_of, classes))),
        ),
        {**coding.about, "unit": unit},
    )  # fmt: skip


def measure_columns(
    coding: Coding,
    units: Sequence[int] | np.ndarray,
    categories: Sequence[int] | np.ndarray,
    lesions: Sequence[Lesion] | None,
) -> list[Column]:
    """Of units and categories, a row each: what tells, the lesion, and then what misleads."""
    columns = {
        key: Column(key, *WORDS[key], cells(coding.measures[key][units, categories]))
        for key in MEASURES
    }
    misleading = [columns.pop(key) for key in ("ccmas", "precision")]
    if lesions is None:
        return [*columns.values(), *misleading]
    return [
        *columns.values(),
        Column("lesion_own", "lesion, own tokens", "bits/token", cells(e.own for e in lesions)),
        Column("lesion_others", "lesion, others", "bits/token", cells(e.others for e in lesions)),
        *misleading,
        Column("lesion_own_tokens", "own tokens", "tokens", tuple(e.n_own for e in lesions)),
    ]


def _about(codings: Sequence[Coding]) -> dict[str, object]:
    about = dict(codings[0].about)
    for each in codings:
        if each.name != about["model"]:
            about.update(other_model=each.name, other_model_hash=each.model_hash)
    return about


def _join(parts: Iterable[Sequence[object]]) -> tuple[object, ...]:
    return tuple(cell for part in parts for cell in part)


def cells(values: Iterable[float]) -> tuple[float | int | None, ...]:
    """Python's own numbers, None for what is not applicable."""
    plain = np.asarray(list(values)).tolist()
    return tuple(None if math.isnan(value) else value for value in plain)


def _above(values: Sequence[np.ndarray], limit: float) -> tuple[int, ...]:
    return tuple(int((each > limit).sum()) for each in values)


def _largest(values: np.ndarray) -> float:
    return float(values.max())


def _median(values: np.ndarray) -> float:
    return float(np.median(values))


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0

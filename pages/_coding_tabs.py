"""Tabs of the Coding page: units by categories, measures that mislead, the dial, all units."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from pages import _coding_parts as parts
from pages import _say
from pages._shown import shown
from workbench import coding_cases, coding_figures, coding_tables
from workbench.coding import (
    DIALS,
    LAYER_TOKENS,
    Coding,
    Lesion,
    lesion_seconds,
    lesions_of,
    measured,
)
from workbench.coding_cases import Case
from workbench.coding_tables import FAIR, STRONG, WORDS

_LESIONED = "coding_lesioned"


def categories(here: parts.Here) -> None:
    """Every unit and category of the models, and one unit against all of them."""
    table = coding_tables.summary_table(here.codings)
    for row in table.rows():
        st.markdown(
            f"**{row['model']}**: {row['strong']} of {row['units']} units tell a category with an "
            f"AUC above {STRONG:g}, {row['fair']} above {FAIR:g}. The middle unit reaches "
            f"{row['median']:.2f} for the category it tells best, and {row['chance']:.2f} once the "
            f"categories are shuffled (the luckiest of all: {row['most_by_chance']:.2f})."
        )
    measure = st.segmented_control(
        "Measure", list(WORDS), default="auc", required=True, key="coding_measure",
        format_func=lambda each: WORDS[each][0], persist_state="session",
    )  # fmt: skip
    matrix = coding_tables.matrix_table(here.codings, measure)
    shown(
        matrix,
        coding_figures.matrix_figure(matrix, measure),
        f"{matrix.title} in {' and '.join(here.names)}: categories are rows, units columns. The "
        "table below holds the numbers.",
    )
    st.caption(
        "A localist layer would show one bright staircase and nothing beside it. Units are ordered "
        "by the category of their largest AUC, so that some staircase is there in any case: how "
        "bright it is, and what is beside it, is the finding."
    )
    st.subheader("One unit, or all of them?", anchor=False)
    means = [
        f"**{row['model']}** {row['single']:.2f} by the best unit, {row['together']:.2f} by all"
        for row in table.rows()
    ]
    st.markdown(
        f"Mean AUC of the categories: {'; '.join(means)}. Where all units together tell a category "
        "much better than any one does, its code is distributed."
    )
    both = coding_tables.categories_table(here.codings)
    shown(
        both,
        coding_figures.categories_figure(both, here.names),
        "For each category, the AUC of its best single unit and of a linear readout of all units.",
    )
    st.caption(
        "Both are chosen or fitted on every other text, and scored on the rest: neither gains by "
        "having been picked. The readout is a ridge regression on all units of the layer."
    )


def misleading(here: parts.Here) -> None:
    """CCMAS and precision beside AUC and lesions, on cases found in the model."""
    model, coding = parts.model_of(here, "coding_cases_model")
    cases = coding_cases.misleading_cases(coding)
    with st.spinner("Lesioning these units …"):
        lesions = lesions_of(
            model, coding, [each.unit for each in cases], [each.category for each in cases]
        )
    told = (_flattered_by_precision, _flattered_by_ccmas, _hidden_from_precision)
    for case, lesion, tell in zip(cases, lesions, told, strict=False):
        st.markdown(f"{tell(coding, case)} {_loss(lesion)}")
    table = coding_cases.cases_table(coding, cases, lesions)
    scatter = coding_cases.scatter_table(coding)
    shown(
        scatter,
        coding_figures.scatter_figure(scatter, table),
        f"Each unit of {coding.name}: its largest CCMAS, and its largest precision, beside the AUC "
        "for the same category. The cases above are ringed.",
    )
    st.caption(
        "A dot a unit, with the category where the measure is largest; diamonds are the units "
        "named here. If the measures agreed, the dots would rise from left to right."
    )
    parts.numbers(table)
    st.caption(
        "No measure of selectivity says whether the model uses a unit: only its loss does. A "
        "lesion is of the unit alone: what it says may be said by others as well, so that a small "
        "effect does not mean a small role."
    )


def over_dial(here: parts.Here) -> None:
    """How the counts change over the dial, and the picked unit with them."""
    with st.spinner(f"Measuring {len(DIALS)} dial values …"):
        rows = [
            coding
            for dial in DIALS
            for _, coding in measured(
                here.names, here.device, replace(here.asked, dial=dial), here.own
            )
        ]
    table = coding_tables.dial_table(rows)
    shown(
        table,
        coding_figures.dial_figure(table, here.names, here.asked.dial),
        "How many units tell a category, and how well one unit and all units do, at five dial "
        "values in each model.",
    )
    st.caption(
        "The dial acts on attention. In the first layer it changes what attention brings to a "
        "token; what the MLP makes of the token itself stays."
    )
    name = st.session_state.get(parts.MODEL)
    coding = next((each for each in here.codings if each.name == name), here.codings[0])
    picked = st.session_state.get(parts.UNIT, coding.best_auc.argmax())
    unit = min(int(picked), coding.n_units - 1)
    one = coding_tables.unit_over_dial_table(
        [each for each in rows if each.name == coding.name], unit, int(coding.best[unit])
    )
    st.markdown(f"**{_say.plain(one.title)}**")
    parts.numbers(one)
    st.caption(
        "The unit picked under “Guess a unit” (at first the one with the largest AUC), and its "
        "best category at the present dial."
    )


def units(here: parts.Here) -> None:
    """Every unit of one model; lesions of all of them when asked for."""
    model, coding = parts.model_of(here, "coding_units_model")
    asked = (coding.model_hash, coding.texts.key, coding.asked)
    done = st.session_state.setdefault(_LESIONED, set())
    lesions = None
    if asked not in done:
        tokens = min(LAYER_TOKENS, coding.texts.n_tokens)
        seconds = lesion_seconds(model, coding.asked.layer, coding.n_units, tokens)
        st.button(
            f"Lesion each of the {coding.n_units} units (about {max(1, round(seconds))} s)",
            on_click=done.add,
            args=(asked,),
            key="coding_lesion_all",
            help=f"One by one, on the first {tokens:,} tokens; the time is for one core.",
        )
    else:
        with st.spinner(f"Lesioning {coding.n_units} units one by one …"):
            lesions = lesions_of(
                model, coding, range(coding.n_units), coding.best.tolist(), LAYER_TOKENS
            )
    parts.numbers(coding_tables.units_table(coding, lesions))
    st.caption(
        "Largest AUC first. A best category is the best of many for the same tokens, and flatters: "
        f"shuffled categories give {float(coding.chance.max()):.2f} to the luckiest unit. "
        + (
            f"Lesions are measured on the first {LAYER_TOKENS:,} tokens only."
            if lesions is not None
            else ""
        )
    )


def _flattered_by_precision(coding: Coding, case: Case) -> str:
    value = _values(coding, case)
    return (
        f"**Precision flatters unit {case.unit} ({_title(coding, case)}).** "
        f"{value['precision']:.0%} of its 20 strongest tokens are of the category. Yet it fires at "
        f"{value['hit_rate']:.1%} of the category's tokens and at {value['false_alarm_rate']:.1%} "
        f"of all others: AUC {value['auc']:.2f}, d′ {value['d_prime']:.2f}. A list of strongest "
        "tokens does not show those that the unit misses: it may stand for a part of the category."
    )


def _flattered_by_ccmas(coding: Coding, case: Case) -> str:
    value = _values(coding, case)
    times = (1 + value["ccmas"]) / max(1e-9, 1 - value["ccmas"])
    return (
        f"**CCMAS flatters unit {case.unit} ({_title(coding, case)}).** Its mean activity there is "
        f"{times:.0f} times that elsewhere (CCMAS {value['ccmas']:.2f}). Yet it fires at "
        f"{value['hit_rate']:.1%} of the category's tokens and at {value['false_alarm_rate']:.1%} "
        f"of all others: AUC {value['auc']:.2f}, d′ {value['d_prime']:.2f}. A mean can rest on few "
        "members of the category: look under “Guess a unit” which ones."
    )


def _hidden_from_precision(coding: Coding, case: Case) -> str:
    value = _values(coding, case)
    share = f"Only {value['precision']:.0%}" if value["precision"] else "None"
    return (
        f"**Precision hides unit {case.unit} ({_title(coding, case)}).** {share} "
        "of its strongest tokens are of the category, yet it tells the "
        f"category with an AUC of {value['auc']:.2f}: it fires at others too, and still ranks "
        "these above most."
    )


def _loss(lesion: Lesion) -> str:
    """What its lesion costs, in a sentence."""
    if not (lesion.n_own and lesion.n_others):
        return ""
    return (
        f"Its loss costs {lesion.own:+.3f} bits a token after the category and "
        f"{lesion.others:+.3f} after others."
    )


def _values(coding: Coding, case: Case) -> dict[str, float]:
    return {key: float(coding.measures[key][case.unit, case.category]) for key in WORDS}


def _title(coding: Coding, case: Case) -> str:
    return _say.plain(coding.texts.title_of(case.category))

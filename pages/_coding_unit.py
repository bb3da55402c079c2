"""A unit to guess: its strongest tokens first, then what it codes, and what its loss costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages import _coding_parts as parts
from pages import _say
from pages._shown import shown
from workbench import coding_cases, coding_figures, coding_tables
from workbench.coding import Coding, Lesion, lesions_of
from workbench.coding_tables import FAIR

if TYPE_CHECKING:
    from workbench.coding import LoadedModel

_GUESS, _GUESSED = "coding_guess", "coding_guessed"
_EVIDENCE = 6  # tokens shown before the guess
_NO_ONE = -1  # the guess that the unit codes no single category
_STRIDE = 101  # from one unit to the next: a walk that meets every unit where it divides no count
_STRONGEST_UNITS = 30


def guess(here: parts.Here) -> None:
    """Pick a unit, see some tokens, predict, and see."""
    model, coding = parts.model_of(here, parts.MODEL)
    unit = _pick(coding)
    st.markdown(f"**The {_EVIDENCE} tokens on which unit {unit} is most active**")
    parts.contexts(coding_tables.strongest_table(coding, unit, _EVIDENCE), answers=False)
    categories = [*range(len(coding.texts.names)), _NO_ONE]
    row = {"horizontal": True, "vertical_alignment": "bottom"}
    with st.form("coding_guess_form", border=False), st.container(**row):
        st.selectbox(
            "What does it code?",
            [each for each in categories if each == _NO_ONE or coding.texts.sizes[each]],
            index=None,
            format_func=lambda each: _title(coding, each),
            key=_GUESS,
            placeholder="Predict a category",
            width=340,
        )
        st.form_submit_button(
            "See", type="primary", on_click=_take_guess, args=(_identity(coding, unit),)
        )
    said = st.session_state.get(_GUESSED)
    if said is None or said[0] != _identity(coding, unit):
        st.caption("Predict first: the answer comes after it.")
        return
    _answer(model, coding, unit, said[1])


def _pick(coding: Coding) -> int:
    """The unit's number, from its box or from the buttons."""
    last = coding.n_units - 1
    start = int((coding.best_auc).argmax())
    st.session_state[parts.UNIT] = min(int(st.session_state.get(parts.UNIT, start)), last)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        unit = st.number_input(
            f"Unit, 0 to {last}", 0, last, key=parts.UNIT, persist_state="session", width=170
        )
        st.button(
            "Another unit", key="coding_another", on_click=_go,
            args=((int(unit) + _STRIDE) % (last + 1),),
            help="Any unit: most of them code no single category.",
        )  # fmt: skip
        st.button(
            "A selective unit", key="coding_selective", on_click=_go,
            args=(_next_selective(coding, int(unit)),),
            help=f"The next of the {_STRONGEST_UNITS} units with the largest AUCs.",
        )  # fmt: skip
    return int(unit)


def _answer(model: LoadedModel, coding: Coding, unit: int, guessed: int) -> None:
    best, auc = int(coding.best[unit]), float(coding.best_auc[unit])
    codes_one = auc >= FAIR
    right = guessed == best if codes_one else guessed == _NO_ONE
    told = (
        f"Unit {unit} tells **{_plain(coding, best)}** best, with an AUC of {auc:.2f}."
        if codes_one
        else f"Unit {unit} tells no single category well: the best is **{_plain(coding, best)}**, "
        f"with an AUC of {auc:.2f} (below {FAIR:g}; "
        f"shuffled categories give {float(coding.chance[unit]):.2f})."
    )
    if not right and guessed not in (_NO_ONE, best):
        theirs = float(coding.measures["auc"][unit, guessed])
        told += f" For {_plain(coding, guessed)}, your prediction, it is {theirs:.2f}."
    if right:
        st.success(f"As you predicted. {told}", icon=":material/check_circle:")
    else:
        st.info(told, icon=":material/lightbulb:")
    shown_for = best
    if guessed not in (_NO_ONE, best):
        shown_for = st.segmented_control(
            "Numbers for", [best, guessed], default=best, required=True, key="coding_shown_for",
            format_func=lambda each: _plain(coding, each),
        )  # fmt: skip
    with st.spinner("Lesioning the unit …"):
        lesion = lesions_of(model, coding, [unit], [int(shown_for)])[0]
    _numbers(coding, lesion)
    threshold = float(coding.measures["threshold"][unit, lesion.category])
    table = coding_tables.histogram_table(coding, unit, lesion.category)
    shown(
        table,
        coding_figures.histogram_figure(table, threshold),
        f"{table.title}: how the unit's activations spread on its category and elsewhere, with the "
        "threshold above which it fires.",
    )
    st.caption("Shares on a logarithmic scale: most tokens leave most units near 0.")
    own = coding_tables.own_text_table(coding, unit)
    if own is not None:
        st.markdown("**The unit on your text**")
        shown(
            own,
            coding_figures.tokens_figure(own, threshold),
            f"{own.title}: activation at each token, in reading order.",
        )
    st.markdown("**Its strongest tokens, with their categories**")
    parts.contexts(coding_tables.strongest_table(coding, unit), answers=True)


def _numbers(coding: Coding, lesion: Lesion) -> None:
    """Hit, false alarms, d′ and AUC beside the lesion's effect."""
    row = coding_cases.unit_table(coding, lesion).rows()[0]
    title = _plain(coding, lesion.category)
    with st.container(horizontal=True):
        for label, key, form, about in (
            ("Hit rate", "hit_rate", ".1%", f"Share of {title} tokens above the threshold."),
            ("False alarms", "false_alarm_rate", ".1%", "Share of all other tokens above it."),
            ("d′", "d_prime", ".2f", "Distance of the two rates, in standard deviations."),
            ("AUC", "auc", ".3f", "Chance that a token of the category drives the unit more."),
            ("Lesion, own (bits/token)", "lesion_own", "+.4f",
             f"Change in cost after the {lesion.n_own:,} tokens of the category."),
            ("Lesion, others (bits/token)", "lesion_others", "+.4f",
             f"Change in cost after the {lesion.n_others:,} other tokens."),
        ):  # fmt: skip
            value = row[key]
            st.metric(label, "n/a" if value is None else format(value, form), help=about)
    ratio = _ratio(lesion)
    if ratio:
        st.caption(ratio)


def _ratio(lesion: Lesion) -> str:
    """What the lesion says, in words."""
    if not (lesion.n_own and lesion.n_others):
        return ""
    if lesion.own <= 0:
        return (
            "Without the unit the model predicts no worse after its category's tokens: what it "
            "tells is not needed there, or others tell it too."
        )
    if lesion.others > 0 and lesion.own < 3 * lesion.others:
        return "Its loss costs other tokens about as much: the unit does more than its category."
    return "Its loss is felt after its own category far more than elsewhere."


def _identity(coding: Coding, unit: int) -> tuple[str, int, str, int]:
    """A guess is about a unit of a model, whatever the dial."""
    return coding.model_hash, coding.asked.layer, coding.asked.kind, unit


def _take_guess(identity: tuple[str, int, str, int]) -> None:
    if st.session_state[_GUESS] is not None:
        st.session_state[_GUESSED] = (identity, int(st.session_state[_GUESS]))


def _go(unit: int) -> None:
    st.session_state[parts.UNIT] = unit
    st.session_state[_GUESS] = None


def _next_selective(coding: Coding, unit: int) -> int:
    strongest = (-coding.best_auc).argsort(kind="stable")[:_STRONGEST_UNITS].tolist()
    return strongest[(strongest.index(unit) + 1) % len(strongest)] if unit in strongest else (
        strongest[0]
    )  # fmt: skip


def _title(coding: Coding, category: int) -> str:
    return "no single category" if category == _NO_ONE else coding.texts.title_of(category)


def _plain(coding: Coding, category: int) -> str:
    """The same where Markdown is read: a title comes with a model's files."""
    return _say.plain(_title(coding, category))

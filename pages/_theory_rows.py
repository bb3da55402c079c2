"""Below the Theory page's curve: one row with its numbers filled in, and the held-out texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages import _say
from pages import _theory_formulas as formulas
from pages._shown import shown
from workbench import theory, theory_figures, theory_texts
from workbench.choices import Choices
from workbench.coding_texts import held_out_texts
from workbench.errors import LocalistError
from workbench.inference import Prompt, subject_of
from workbench.theory_row import WorkedRow, worked_rows

if TYPE_CHECKING:
    from workbench.coding import LoadedModel

_DIAL, _ROW, _BAND = "theory_row_dial", "theory_row", "theory_band"
_WORST = -1
_BANDS = {"rows": "Rows of this head", "heads": "All heads"}


def one_row(model: LoadedModel, prompt: Prompt, choices: Choices, layer: int, head: int) -> None:
    """The formulas of a row at a dial of the curve; at first the row with the least guarantee."""
    st.subheader("One row, filled in", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        dial = st.select_slider(
            "Dial", theory.DIALS, 0.5, key=_DIAL, format_func=lambda each: f"{each:g}",
            persist_state="session", width=320,
        )  # fmt: skip
        rows = worked_rows(model, prompt, choices, layer, head, dial)
        worst = min(rows, key=lambda each: (each.fidelity_bound, each.row))
        known = {each.row: each for each in rows}
        place = st.selectbox(
            "Row (query)",
            [_WORST, *known],
            format_func=lambda each: _row_name(prompt, worst, each),
            key=f"{_ROW}_{subject_of(model, prompt)}_{layer}_{head}",
            width=360,
        )
    row = worst if place == _WORST else known[place]
    st.caption(
        f"n = {row.n} keys are visible, m = {row.m} of them relevant to this head; ε̄ is 1 minus "
        f"the guaranteed fidelity. At dial {dial:g} the least of all rows is guaranteed "
        f"{worst.fidelity_bound:.4f}."
    )
    for line in formulas.worked(row):
        st.markdown(line)


def _row_name(prompt: Prompt, worst: WorkedRow, place: int) -> str:
    at = worst.row if place == _WORST else place
    name = f"{at}: {prompt.tokens[at]}"
    return f"the least guaranteed ({name})" if place == _WORST else name


def held_out(model: LoadedModel, choices: Choices, layer: int, head: int) -> None:
    """The curve for held-out texts, once they are measured: when asked for, not before."""
    st.subheader("The same for held-out texts", anchor=False)
    found = theory_texts.known(model, choices)
    if found is None:
        texts, dials = len(held_out_texts()), len(theory_texts.DIALS)
        st.caption(
            f"{texts} held-out dictionary glosses: every row of every head at {dials} dial values. "
            "It takes some tens of seconds, and is kept while the app runs."
        )
        if not st.button("Measure the held-out texts", icon=":material/play_arrow:"):
            return
        bar = st.progress(0.0, "Measuring …")
        theory_texts.set_guarantees(
            model, choices, lambda done: bar.progress(min(done, 1.0), f"Measuring … {done:.0%}")
        )
        st.rerun()  # without the button
    band = st.segmented_control(
        "Band over", list(_BANDS), default="rows", required=True, key=_BAND,
        format_func=lambda each: _BANDS[each], persist_state="session",
    )  # fmt: skip
    try:
        table = (
            theory_texts.head_table(found, layer, head)
            if band == "rows"
            else theory_texts.heads_table(found)
        )
    except LocalistError as error:
        _say.warning([f"Not applicable: {error}"])
        return
    shown(
        table,
        theory_figures.set_figure(table),
        f"{table.title}: fidelity and entropy over the dial, guaranteed and measured, as a mean "
        "and as a band. The table below holds the numbers.",
    )
    passed = sum(table.column("violations").cells)
    edges = (
        f"The band leaves out {theory_texts.EDGE:.0%} of the rows at each end."
        if band == "rows"
        else "The band reaches from the lowest head's mean to the highest head's."
    )
    st.caption(
        f"{table.about['texts']} texts, {table.about['rows']:,} rows. {edges} Each row is held "
        "against its own bound; the dotted line is the same edge of all the bounds, so that the "
        f"band must not cross it. Rows that passed a bound, over all dials: **{passed:,}**."
    )

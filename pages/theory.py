"""The Theory page: what the dial guarantees, beside what the model does."""

from __future__ import annotations

import streamlit as st

from pages import _prompt, _say, _sidebar
from pages import _state as state
from pages import _theory_formulas as formulas
from pages._shown import shown
from pages._theory_path import path_tab
from pages._theory_rows import held_out, one_row
from workbench import lessons, theory, theory_figures
from workbench.choices import Choices
from workbench.errors import LocalistError
from workbench.inference import prepare
from workbench.lessons import Sandbox
from workbench.models import ModelCard, list_models, open_model

_TABS = (
    ":material/verified: Guarantee and measurement",
    ":material/tune: Regularisation path",
    ":material/science: One row to play with",
    ":material/school: Three traps",
)
_OWN = (
    "All formulas here are our own derivation, and none is the paper's. They are exact for one row "
    "with given scores; the scores of deeper layers move with the dial, and each dial is measured."
)
_DIALS = theory.DIALS


def show() -> None:
    """Draw the page."""
    state.turn_to("theory")
    cards = list_models()
    state.adopt_link(cards)
    with st.sidebar:
        card = _sidebar.model_choice(cards)
        device = _sidebar.device_choice(True)
        if card is not None and not card.error:
            _sidebar.dial_settings(card)
    st.header("What the dial guarantees", anchor=False)
    st.caption(
        "A bound says what must hold, from a few numbers of a row; a measurement says what the "
        f"model did. They share no code. {_OWN}"
    )
    opened = st.tabs(_TABS, key="theory_tab", on_change="rerun")
    for tab, draw in zip(opened, (_guarantee, path_tab, _sandbox, _traps), strict=True):
        if tab.open:
            with tab:
                try:
                    draw(card, device)
                except LocalistError as error:
                    _say.error(error)


def _guarantee(card: ModelCard | None, device: str) -> None:
    text = _prompt.prompt()
    if card is None or card.error:
        if card is not None:
            _say.error(f"The model {card.name!r} cannot be opened. {card.error}")
        else:
            st.info("Choose a model on the left. `python -m workbench train trial` trains one.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        layer = st.selectbox(
            "Layer", range(card.n_layers), key="theory_layer", persist_state="session"
        )
        head = st.selectbox("Head", range(card.n_heads), key="theory_head", persist_state="session")
        fidelity = st.slider(
            "Fidelity to guarantee", 0.5, 0.999, 0.99, 0.001, format="%.3f",
            key="theory_fidelity", persist_state="session",
            help="The mass that a row must keep on the keys that its head is meant to read.",
        )  # fmt: skip
    choices = state.choices_now(card.n_layers, card.n_heads)
    with st.spinner("Measuring every head at 21 dial values …"):
        model = open_model(card.name, device)
        prompt = prepare(model, text)
        table = theory.guarantee_table(model, prompt, choices, layer, head)
    reads = _say.plain(model.reads.describe(layer, head))
    st.caption(f"Layer {layer}, head {head} reads {reads}")
    try:
        _needed(theory.needed_dial(model, prompt, choices, layer, head, fidelity), choices)
    except LocalistError as error:
        _say.warning([f"Not applicable: {error}"])
    shown(
        table,
        theory_figures.guarantee_figure(table),
        f"{table.title}: fidelity and entropy over the dial, each with its bound. The table below "
        "holds the numbers.",
    )
    passed = sum(table.column("violations").cells)
    rows = table.about["rows"]
    st.caption(
        f"{rows} rows see two keys or more and a relevant one; for "
        f"{table.about['rows_not_applicable']} others no bound applies. Rows that passed a bound, "
        f"over all dials: **{passed:g}**. Where a row's margin is below 0 its entropy has no bound "
        "but log₂ n, which is then drawn."
    )
    one_row(model, prompt, choices, layer, head)
    held_out(model, choices, layer, head)


def _needed(found: theory.NeededDial, choices: Choices) -> None:
    st.markdown(
        f"Fidelity {found.fidelity:g} on **every** row needs dial **{found.every:.4f}**; on half "
        f"of the rows, {found.half:.4f}. Measured at {found.every:.4f}, the least of a row: "
        f"{found.fidelity_there:.4f}."
    )
    holds = (
        "Exact for this layer: its scores do not depend on the dial."
        if found.exact
        else "Holds for the scores as they stand at dial 0; in this layer they move with the dial."
    )
    st.caption(
        f"{holds} Row {found.worst_row} needs most: it sees n = {found.n} keys, m = {found.m} of "
        f"them relevant; ε = 1 − {found.fidelity:g}."
    )
    for line in formulas.needed(found, choices.gain):
        st.caption(line)


def _sandbox(_card: ModelCard | None, _device: str) -> None:
    st.caption(
        "Set the scores of one row. At spread 0 they are two-valued, and truth meets the bound; "
        "spread them, and the bound stays true and grows loose."
    )
    with st.container(horizontal=True):
        n = st.number_input("Keys n", 1, lessons.MOST_KEYS, 12, key="sandbox_n")
        m = st.number_input("Relevant keys m", 1, lessons.MOST_KEYS, 3, key="sandbox_m")
        gain = st.number_input("Gain", 0.1, 20.0, 4.0, 0.5, key="sandbox_gain")
    largest = lessons.LARGEST_SCORE
    margin = st.slider(
        "Margin (nats): least relevant score above the largest other", -largest, largest, 0.0, 0.1,
        key="sandbox_margin",
    )  # fmt: skip
    spread = st.slider("Spread of the scores (nats)", 0.0, largest, 0.0, 0.1, key="sandbox_spread")
    dial = st.slider("Dial", 0.0, 1.0, 0.5, 0.01, key="sandbox_dial")
    row = Sandbox(int(n), int(m), margin, spread, gain)
    [now], _ = lessons.outcomes(row, (dial,))
    for line in formulas.sandbox(row, now):
        st.markdown(line)
    bars = lessons.row_table(row, dial)
    shown(bars, theory_figures.row_figure(bars), "Weights of the row's keys at dial 0 and now")
    table = lessons.sandbox_table(row, _DIALS)
    shown(table, theory_figures.sandbox_figure(table, dial), table.title)


def _traps(_card: ModelCard | None, _device: str) -> None:
    st.caption("Each number below was computed as this page was drawn.")
    for lesson in lessons.lessons():
        with st.container(border=True):
            st.subheader(lesson.title, anchor=False)
            st.markdown(f"**One would think:** {lesson.thought}")
            st.markdown(f"**In fact:** {lesson.truth}")
            st.dataframe(
                lesson.table.frame(), hide_index=True, height="content" if len(lesson.table) < 12
                else 240, key=f"lesson_{lesson.table.name}", alt=lesson.table.title,
            )  # fmt: skip

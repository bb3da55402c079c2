"""The Coding page: what single units code, in two models side by side."""

from __future__ import annotations

import sys
import time

import streamlit as st

from pages import _coding_parts as parts
from pages import _coding_tabs, _coding_unit, _say, _sidebar
from pages import _state as state
from workbench.coding import DIALS, Asked, measured
from workbench.errors import LocalistError
from workbench.models import ModelCard, list_models
from workbench.text import MOST_CHARACTERS

_HEAD_START = 0.5  # seconds that the first paint is ahead of torch, as on the Dial page
_TABS = (
    (":material/grid_on: Units and categories", _coding_tabs.categories),
    (":material/quiz: Guess a unit", _coding_unit.guess),
    (":material/report: Measures that mislead", _coding_tabs.misleading),
    (":material/show_chart: Over the dial", _coding_tabs.over_dial),
    (":material/table: All units", _coding_tabs.units),
)


def show() -> None:
    """Draw the page."""
    state.turn_to("coding")
    cards = list_models()
    ready = "torch" in sys.modules
    with st.sidebar:
        chosen = parts.models_choice(cards)
        device = _sidebar.device_choice(ready)
        with st.expander("About the numbers", icon=":material/info:"):
            st.markdown(parts.ABOUT)
    st.header("Localist or distributed?", anchor=False)
    st.caption(
        "In a localist code a unit stands for one category: it fires at animals, and at nothing "
        "else. In a distributed code a category is a pattern over many units, and no single one "
        "tells it. Here every unit of a layer is measured on held-out dictionary glosses."
    )
    if not chosen:
        st.info("There is no model yet. `python -m workbench train trial` trains one in minutes.")
        return
    asked = _question(chosen)
    own = _own_text()
    waiting = st.empty()
    if not ready:
        waiting.info(
            "Loading PyTorch and the models, some seconds the first time …",
            icon=":material/hourglass_top:",
        )
        time.sleep(_HEAD_START)
    try:
        with st.spinner("Measuring every unit of the layer, some seconds the first time …"):
            found = measured([card.name for card in chosen], device, asked, own)
    except LocalistError as error:
        waiting.empty()
        _say.error(error)
        return
    waiting.empty()
    if not ready:
        st.rerun()  # the sidebar can now say where the models run
    _explore(parts.Here(found, asked, own, device))


@st.fragment
def _explore(here: parts.Here) -> None:
    """The tabs; only the open one is computed."""
    texts = here.codings[0].texts
    st.caption(
        f"{len(texts.ids):,} texts, {texts.n_tokens:,} tokens · the rarest category has "
        f"{int(texts.sizes[texts.sizes > 0].min())} of them"
    )
    opened = st.tabs([title for title, _ in _TABS], key="coding_tab", on_change="rerun")
    for tab, (_, draw) in zip(opened, _TABS, strict=True):
        if tab.open:
            with tab:
                try:
                    draw(here)
                except LocalistError as error:
                    _say.error(error)


def _question(chosen: list[ModelCard]) -> Asked:
    """Dial, layer and kind of unit."""
    layers = min(card.n_layers for card in chosen)
    if st.session_state.get(parts.LAYER, 0) not in range(layers):
        st.session_state[parts.LAYER] = 0
    with st.container(horizontal=True, vertical_alignment="bottom"):
        dial = st.select_slider(
            "Dial", DIALS, 0.5, key=parts.DIAL, format_func=lambda each: f"{each:g}",
            persist_state="session", width=280,
            help="At 0 attention is free; at 1 it keeps to the blocks that each head reads.",
        )  # fmt: skip
        layer = st.selectbox(
            "Layer", range(layers), key=parts.LAYER, persist_state="session", width=120
        )
        kind = st.selectbox(
            "Units", list(parts.KINDS), key=parts.KIND, persist_state="session", width=300,
            format_func=lambda each: parts.KINDS[each],
        )  # fmt: skip
    return Asked(int(layer), str(kind), float(dial))


def _own_text() -> str:
    """A text of the person's own, read beside the glosses."""
    with (
        st.expander("Add a text of your own", icon=":material/edit_note:"),
        st.form("coding_own_form", border=False),
    ):
        st.text_area(
            "Your text",
            key="coding_own_typed",
            height=84,
            placeholder="Read beside the glosses; “Guess a unit” shows each unit on it",
            help=f"At most {MOST_CHARACTERS:,} characters, and as many tokens as the model "
            "reads. Ctrl+Enter applies it.",
            persist_state="session",
        )
        st.form_submit_button("Apply", on_click=_take_own)
    return st.session_state.get(parts.OWN, "")


def _take_own() -> None:
    st.session_state[parts.OWN] = st.session_state["coding_own_typed"].strip()

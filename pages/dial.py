"""The Dial page: a text, the dial, and where each head looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import streamlit as st

from pages import _prompt, _results, _say, _sidebar
from pages import _state as state
from pages.components import dial_canvas
from workbench.choices import Choices
from workbench.errors import LocalistError
from workbench.examples import StoredExample, stored_example
from workbench.models import ModelCard, list_models, open_model
from workbench.results import answer, stored_answer

# Set once torch and a model have been loaded in this process: later visitors need not wait.
_loaded = threading.Event()
# Seconds that a first paint is ahead of the scripts of the figures (5 MB), and of torch, whose
# import keeps the server from sending. Without it an example came 2 to 3 s later, torch no sooner.
_HEAD_START = 0.5
_LOADING = "Loading PyTorch and the model, some seconds the first time …"


def show() -> None:
    """Draw the page."""
    state.turn_to("dial")
    cards = list_models()
    state.adopt_link(cards)
    ready = _loaded.is_set()
    with st.sidebar:
        card = _sidebar.model_choice(cards)
        device = _sidebar.device_choice(ready)
        if card is not None and not card.error:
            _sidebar.dial_settings(card)
        _sidebar.about()
    st.header("The locality dial", anchor=False)
    st.caption(
        "At 0 each head looks where it likes; towards 1 it keeps to the blocks of words that it is "
        "meant to read. Drag the dial, pick a head, choose a token."
    )
    _messages()
    text = _prompt.prompt()
    if card is None or card.error:
        _no_model(card, cards)
        return
    waiting = st.empty()  # stands in both cases, so that the canvas keeps its place
    if ready:
        _explore(card, device, text, cards, None)
        return
    # Torch and the model take seconds: a stored example, or an empty canvas, is shown meanwhile.
    waiting.info(_LOADING, icon=":material/hourglass_top:")
    _explore(card, device, text, cards, _stored(card, text))
    time.sleep(_HEAD_START)
    with suppress(LocalistError):  # said where the model is used, on every run
        open_model(card.name, device)
    _loaded.set()
    st.rerun()


def _stored(card: ModelCard, text: str) -> StoredExample | None:
    """The stored example of this text and model at the present choices, if there is one."""
    name, chosen = st.session_state.get(state.EXAMPLE), state.event()
    if not name:
        return None
    try:
        found = stored_example(name)
        choices = state.choices_now(card.n_layers, card.n_heads)
    except LocalistError as error:
        _say.warning([str(error)])
        return None
    if found is None or found.model_name != card.name or found.prompt.text != text:
        return None
    if found.model_hash != card.content_hash:
        st.session_state[state.PROBLEMS] = [
            *st.session_state[state.PROBLEMS],
            f"The stored examples were computed with another version of {card.name!r} and are not "
            "shown; this is computed anew. `python -m workbench examples` writes them again.",
        ]
        return None
    asked = (chosen.dial, chosen.layer, choices)
    return found if asked == (found.view.dial, found.view.layer, Choices()) else None


@st.fragment
def _explore(
    card: ModelCard,
    device: str,
    text: str,
    cards: Sequence[ModelCard],
    stored: StoredExample | None,
) -> None:
    """The canvas and all that depends on the dial: a release runs this alone again."""
    chosen = state.event()
    try:
        choices = state.choices_now(card.n_layers, card.n_heads)
        if stored is not None:
            found = stored_answer(stored)
        elif _loaded.is_set():
            model = open_model(card.name, device)
            found = answer(model, card.name, text, chosen.dial, chosen.layer, choices)
        else:
            dial_canvas(None, state.CANVAS)
            return
    except LocalistError as error:
        _say.error(error)
        dial_canvas(None, state.CANVAS)
        return
    if found.view.model_hash != card.content_hash:
        st.rerun()  # the model changed on disk: its card, and the link, must say so
    st.caption(_prompt.count(found.prompt.n_tokens, card.n_ctx, text))
    dial_canvas(found.view, state.CANVAS)
    if state.is_first_paint():
        time.sleep(_HEAD_START)
    state.write_link(card, chosen, choices)
    st.markdown(_results.cost_line(found))
    curves = None if stored is None else stored.curves
    _results.tabs(_results.Here(found, chosen, device, cards, curves))
    _link(card)


def _link(card: ModelCard) -> None:
    st.checkbox(
        "Put the text into the link",
        key=state.LINK_TEXT,
        persist_state="session",
        help="The address bar is a link to this view: model and its hash, layer, head, dial and "
        "schedule. The text stays out of it unless you tick this; an example goes in by name.",
    )


def _messages() -> None:
    problems = st.session_state.get(state.PROBLEMS)
    if problems:
        _say.warning(problems, icon=":material/link:")
        st.button("Dismiss", on_click=state.dismiss)


def _no_model(card: ModelCard | None, cards: Sequence[ModelCard]) -> None:
    if card is not None:
        _say.error(f"The model {card.name!r} cannot be opened. {card.error}")
    elif not cards:
        st.info("There is no model yet. `python -m workbench train trial` trains one in minutes.")
    dial_canvas(None, state.CANVAS)

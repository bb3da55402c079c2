"""The Dial page's sidebar: which model runs where, how the dial acts, and what the numbers mean."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages import _say
from pages import _state as state
from workbench.choices import LARGEST_BETA, LARGEST_FACTOR, SCHEDULES
from workbench.devices import CHOICES, device_choices, resolve_device
from workbench.errors import LocalistError
from workbench.models import ModelCard

_SCHEDULES = {
    "uniform": "uniform",
    "progressive": "progressive over the layers",
    "hand": "by hand",
}
_CELL = 54  # pixels; head and three layers fit the sidebar
_DEVICES = {"auto": "automatic", "cpu": "CPU", "cuda": "CUDA"}

# Without a code block or a formula in TeX: each brings scripts that delay the first paint by 0.2 s.
ABOUT = """
**Whose formulas.** The idea of a locality dial is J. Diederich's (arXiv 2510.17358). Only its
abstract was at hand: every formula here is our own derivation of what it claims, and none is the
paper's.

**The dial λ.** In each head, a key of relevance r to a query whose most relevant key has R gets

> s′ = s / τ(λ) + gain · ln(1 − λ) · (R − r)

At 0 the model is the plain one, bit for bit. At 1 the weight on other keys is exactly 0. In between
the odds of looking elsewhere shrink by (1 − λ)^gain: exact for fixed scores, hence for layer 0.
Deeper scores move with the dial, and attention need not follow it steadily.

**Fidelity** is the mass on the keys a head is meant to read; a row without one reads itself, is
flagged, and counts 0. **Entropy** is in bits, or as a fraction of log₂ n for n visible keys.
Means are over queries that see at least two keys. All depend on the length of the text.

**Cost** is of this one text, in bits a token: no claim about other texts.

**Attention mass is not causal effect.** A head may look where it makes no use of what it sees; only
an ablation tells.
"""


def model_choice(cards: Sequence[ModelCard]) -> ModelCard | None:
    """The chosen model's card, None where none is chosen or there is none."""
    known = {card.name: card for card in cards}
    if st.session_state.get(state.MODEL) not in known:
        st.session_state[state.MODEL] = None
    name = st.selectbox(
        "Model",
        list(known),
        format_func=lambda each: f"{each} (cannot be opened)" if known[each].error else each,
        key=state.MODEL,
        placeholder="Choose a model",
        persist_state="session",
        help="Models that ship and those you trained: `python -m workbench train`",
    )
    card = known.get(name) if name is not None else None
    if card is not None and not card.error:
        seen = f"{card.trained_tokens / 1e6:.1f} M tokens seen" if card.trained_tokens else ""
        size = f"{card.n_layers} layers × {card.n_heads} heads"
        facts = (size, f"{card.n_params / 1e6:.2f} M parameters", seen)
        st.caption(f"{' · '.join(filter(None, facts))} · `{card.short_hash}`")
        if card.description:
            st.caption(_say.plain(card.description))
    return card


def device_choice(ready: bool) -> str:
    """The chosen device; says which one is in use once torch is loaded."""
    chosen = st.selectbox(
        "Device",
        list(CHOICES),
        format_func=lambda each: _DEVICES[each],
        key=state.DEVICE,
        persist_state="session",
        help="Where the model runs. Automatic takes a GPU if PyTorch finds one.",
    )
    if not ready:
        st.caption("In use: known once PyTorch is loaded.")
        return chosen
    try:
        used = resolve_device(chosen)
    except LocalistError as error:
        _say.error(error)
        return chosen
    known = {each.name: each for each in device_choices()}
    missing = known["cuda"].reason
    st.caption(f"In use: {known[used].title}." + (f" No CUDA: {missing}." if missing else ""))
    return chosen


def dial_settings(card: ModelCard) -> None:
    """Schedule, gain and temperature; `state.choices_now` reads them."""
    schedule = st.selectbox(
        "Schedule",
        list(SCHEDULES),
        format_func=lambda each: _SCHEDULES[each],
        key=state.SCHEDULE,
        persist_state="session",
        help="What share of the dial each layer and head takes. Uniform: all of it everywhere. "
        "Progressive: (l / (L − 1))^β in layer l of L.",
    )
    if schedule == "progressive":
        st.number_input(
            "β", 0.0, LARGEST_BETA, step=0.5, key=state.BETA, persist_state="session",
            help="1 rises evenly from the first layer to the last; larger stays low for longer.",
        )  # fmt: skip
    if schedule == "hand":
        _hand_set(card)
    st.number_input(
        "Gain", 0.01, LARGEST_FACTOR, step=0.5, key=state.GAIN, persist_state="session",
        help="Multiplies the log-odds: the odds of looking elsewhere shrink by (1 − λ)^gain.",
    )  # fmt: skip
    st.number_input(
        "Temperature at dial 1", 0.01, LARGEST_FACTOR, step=0.1, key=state.TEMPERATURE,
        persist_state="session",
        help="Divides the raw scores, rising from 1 at dial 0 to this at dial 1. 1 leaves them.",
    )  # fmt: skip
    st.button("Reset the dial", on_click=state.reset, icon=":material/restart_alt:")


def _hand_set(card: ModelCard) -> None:
    key, table = state.weights_for(card.n_layers, card.n_heads)
    st.caption("Share of the dial, 0 to 1, for each head.")
    cells = {
        f"layer {index}": st.column_config.NumberColumn(
            f"L{index}", min_value=0.0, max_value=1.0, step=0.05, default=1.0, width=_CELL
        )
        for index in range(card.n_layers)
    }
    edited = st.data_editor(
        dict(table),
        key=key,
        hide_index=True,
        disabled=["head"],
        column_config={"head": st.column_config.NumberColumn(width=_CELL), **cells},
        alt="Share of the dial for each head and layer",
    )
    state.keep_weights(edited, card.n_layers)


def about() -> None:
    """What the numbers are, and are not."""
    with st.expander("About the numbers", icon=":material/info:"):
        st.markdown(ABOUT)

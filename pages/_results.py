"""What stands below the canvas: the whole dial, next tokens, heads and blocks, another model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from pages import _say
from pages._shown import shown
from workbench import figures, results
from workbench.canvas import DialEvent
from workbench.curves import DialCurves
from workbench.errors import LocalistError
from workbench.models import ModelCard, open_model
from workbench.results import Answer

_TABS = (
    ":material/show_chart: Over the whole dial",
    ":material/text_fields: Next token",
    ":material/grid_on: Heads and blocks",
    ":material/compare_arrows: Beside another model",
)
_MEAN, _LAYER = "Mean of all heads", "Selected layer"
_LATER = "Shown as soon as the model is loaded."


@dataclass(frozen=True)
class Here:
    """What the tabs show. stored: curves that are shown before torch is there, else None."""

    found: Answer
    chosen: DialEvent
    device: str
    cards: Sequence[ModelCard]
    stored: DialCurves | None = None


def cost_line(found: Answer) -> str:
    """What this dial costs on this text, in one line."""
    change = (found.nats - found.nats_zero) / results.LN2
    more = f"{abs(change):.3f} bits a token {'more' if change >= 0 else 'less'} than at dial 0"
    return (
        f"At dial {found.view.dial:g} this text costs **{found.nats / results.LN2:.3f} bits a "
        f"token** (perplexity {results.perplexity(found.nats):.1f}): {more}."
    )


def tabs(here: Here) -> None:
    """The tabs; only the open one is computed."""
    opened = st.tabs(_TABS, key="dial_tab", on_change="rerun")
    pages = (_whole_dial, _next_token, _heads, _beside)
    for tab, page in zip(opened, pages, strict=True):
        if tab.open:
            with tab:
                try:
                    page(here)
                except LocalistError as error:
                    _say.error(error)


def _whole_dial(here: Here) -> None:
    found, place = here.found, (here.found.view.layer, here.chosen.head)
    scope = st.segmented_control(
        "Heads",
        [_MEAN, "Selected head"],
        default=_MEAN,
        required=True,
        key="dial_scope",
        label_visibility="collapsed",
        persist_state="session",
    )
    curves = here.stored
    if curves is None:
        with st.spinner("Measuring 41 dial values …"):
            curves = results.curves_of(open_model(found.view.model_name, here.device), found)
    table = results.curves_table(curves, found, None if scope == _MEAN else place)
    shown(
        table,
        figures.dial_figure(table, found.view.dial),
        f"{table.title}: masses, entropy, fidelity and cost at 41 dial values. The table below "
        "holds the numbers.",
    )
    st.caption(
        "Every value is measured, none is read off between two others. Cost counts all heads' "
        "dials together, whichever head is shown."
    )


def _next_token(here: Here) -> None:
    found = here.found
    if found.zero is None:
        st.info(_LATER)
        return
    table = results.next_table(found)
    shown(
        table,
        figures.next_token_figure(table, found.view.dial),
        f"The likeliest next tokens at dial {found.view.dial:g}, beside their probability at "
        "dial 0.",
    )
    st.caption(
        "What the model expects after the last token of the text. ␣ is a space, <bos> the end: the "
        "begin of another text."
    )


def _heads(here: Here) -> None:
    found = here.found
    scope = st.segmented_control(
        "Layers",
        [_LAYER, "All layers"],
        default=_LAYER,
        required=True,
        key="dial_layers",
        label_visibility="collapsed",
        persist_state="session",
    )
    table = results.heads_table(found, found.view.layer if scope == _LAYER else None)
    shown(
        table,
        figures.heads_figure(table),
        f"{table.title}: mean mass on the keys of each block at dial {found.view.dial:g}.",
    )
    st.caption(
        "A column a head; it sums to 1 over the classes of keys, its own position and the sink "
        "(BOS) included. What each head reads stands with the numbers."
    )


def _beside(here: Here) -> None:
    found, device = here.found, here.device
    if here.stored is not None:
        st.info(_LATER)
        return
    others = [
        card.name for card in here.cards if not card.error and card.name != found.view.model_name
    ]
    if not others:
        st.info("There is no other model here. `python -m workbench train twin` trains one.")
        return
    name = st.selectbox(
        "Beside", others, index=others.index("twin") if "twin" in others else 0,
        key=f"dial_beside_{found.view.model_name}", persist_state="session",
    )  # fmt: skip
    table = results.beside_table(
        open_model(found.view.model_name, device), found, open_model(name, device), name
    )
    shown(
        table,
        figures.beside_figure(table, found.view.model_name, found.view.dial),
        f"Cost of this text over the dial in {found.view.model_name} and in {name}.",
    )
    st.caption(
        "Both with this schedule, gain and temperature, each with its own reads. One text: for a "
        "claim about the models, sweep held-out texts (`python -m workbench sweep`)."
    )

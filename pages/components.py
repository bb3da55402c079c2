"""Mounts the dial canvas on a page.

    event = dial_state("dial", DialEvent(dial=0.5))    # what the person chose so far
    view = ...                                         # one service call, made with that event
    dial_canvas(view, "dial")

`dial_state` comes before the view because the view depends on the choice. Choices live in the
session under a name of their own: the component's own value is lost when its page is left.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st
from streamlit.components.v2 import component

from workbench.canvas import DialEvent, DialView, assets, to_payload
from workbench.canvas.events import sequence_number

_canvas = component(
    "localist_dial_canvas", html=assets.html(), css=assets.css(), js=assets.javascript()
)


def dial_state(key: str, default: DialEvent | None = None) -> DialEvent:
    """The person's present choices on the canvas `key`: the last event, else `default`."""
    chosen, taken = st.session_state.get(_kept(key), (default or DialEvent(), 0))
    raw = (st.session_state.get(key) or {}).get("event")
    number = sequence_number(raw)
    if number > taken and isinstance(raw, dict):
        chosen, taken = chosen.merged(raw), number
    st.session_state[_kept(key)] = (chosen, taken)
    return chosen


def set_dial_state(key: str, **changes: Any) -> DialEvent:
    """Change choices from a page, e.g. for a preset or a link; call it before `dial_canvas`."""
    changed = replace(dial_state(key), **changes)
    st.session_state[_kept(key)] = (changed, st.session_state[_kept(key)][1])
    return changed


def dial_canvas(view: DialView | None, key: str) -> DialEvent:
    """Draw the canvas; None shows its empty state. Returns the person's present choices."""
    chosen = dial_state(key)
    taken = st.session_state[_kept(key)][1]
    _canvas(
        key=key,
        data=b"" if view is None else to_payload(view, chosen, ack=taken),
        default={"event": None},
        on_event_change=_nothing,
    )
    return chosen


def _kept(key: str) -> str:
    return f"{key}:chosen"


def _nothing() -> None:
    """Streamlit wants a callback for each state that has a default."""

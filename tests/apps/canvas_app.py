"""The dial canvas on a page of its own, with a made-up model behind it.

Query parameters: `length` tokens, `text`, `error` (spoils Python's answer), `temperature`, `view`
(`none` shows the empty state, `broken` sends bytes that are no view).
"""

from __future__ import annotations

import streamlit as st

from pages import components
from tests.canvas_views import TEXT, make_view
from workbench.canvas import DialEvent

st.set_page_config(layout="wide")
asked = st.query_params
st.session_state["runs"] = st.session_state.get("runs", 0) + 1

if st.button("Set dial to 0.25"):
    components.set_dial_state("canvas", dial=0.25)
chosen = components.dial_state("canvas", DialEvent(dial=float(asked.get("dial", 0.5))))
view = None
if asked.get("view") != "none":
    view = make_view(
        chosen.layer,
        chosen.dial,
        text=asked.get("text", TEXT),
        length=int(asked["length"]) if "length" in asked else None,
        temperature=float(asked.get("temperature", 1.0)),
        error=float(asked.get("error", 0.0)),
    )
event = components.dial_canvas(view, "canvas")
st.json({"runs": st.session_state["runs"], "event": event.__dict__})

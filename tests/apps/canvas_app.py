"""The dial canvas on a page of its own, with a made-up model behind it.

Query parameters: `length` tokens, `text`, `error` (spoils Python's answer), `temperature`, `slow`
(seconds that Python takes), `view` (`none` shows the empty state, `broken` adds bytes that are no
view).
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict

import streamlit as st

from pages import components
from tests.canvas_views import TEXT, make_view
from workbench.canvas import DialEvent

st.set_page_config(layout="wide")
asked = st.query_params
st.session_state["runs"] = st.session_state.get("runs", 0) + 1

if st.button("Set dial to 0.25"):
    components.set_dial_state("canvas", dial=0.25)
time.sleep(float(asked.get("slow", 0.0)))
chosen = components.dial_state("canvas", DialEvent(dial=float(asked.get("dial", 0.5))))
view = None
if "view" not in asked:
    view = make_view(
        chosen.layer,
        chosen.dial,
        text=asked.get("text", TEXT),
        length=int(asked["length"]) if "length" in asked else None,
        temperature=float(asked.get("temperature", 1.0)),
        error=float(asked.get("error", 0.0)),
    )
if asked.get("view") == "broken":
    components._canvas(key="broken", data=b"LWDV and no more")
event = components.dial_canvas(view, "canvas")
st.text(json.dumps({"runs": st.session_state["runs"], **asdict(event)}))

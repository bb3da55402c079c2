"""The text that is read: typed, or one of the examples."""

from __future__ import annotations

import streamlit as st

from pages import _state as state
from workbench.examples import EXAMPLES
from workbench.text import MOST_CHARACTERS

_HEIGHT = 84  # pixels; two or three lines


def prompt() -> str:
    """Draws the text's form and the examples; the applied text."""
    row = {"horizontal": True, "vertical_alignment": "bottom"}
    with st.form("dial_prompt_form", border=False), st.container(**row):
        st.text_area(
            "Text",
            key=state.PROMPT,
            height=_HEIGHT,
            placeholder="Type a text in English; any script is read, byte by byte where need be",
            help=f"At most {MOST_CHARACTERS:,} characters, and as many tokens as the model reads. "
            "Ctrl+Enter applies it.",
            persist_state="session",
        )
        st.form_submit_button("Apply", on_click=state.take_prompt, type="primary")
    titles = {each.name: each.title for each in EXAMPLES}
    st.pills(
        "Examples",
        list(titles),
        format_func=lambda each: titles[each],
        key=state.EXAMPLE,
        on_change=state.take_example,
        label_visibility="collapsed",
        persist_state="session",
    )
    return st.session_state[state.TEXT]


def count(n_tokens: int, n_ctx: int, text: str) -> str:
    """How long the text is, and how long it may be."""
    return (
        f"{n_tokens:,} of {n_ctx:,} tokens, begin-of-text included · "
        f"{len(text):,} of {MOST_CHARACTERS:,} characters"
    )

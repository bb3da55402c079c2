"""The workbench in a browser: `make app`, or `streamlit run app.py`. Lists the pages."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages import coding, dial, theory

# A file of our own: the browser asks another machine for the pictures of emoji and symbol names.
ICON = Path(__file__).parent / "pages" / "icon.svg"

st.set_page_config(page_title="Localist Workbench", page_icon=str(ICON), layout="wide")

# No url_path is the name of a file in pages/: on its first request a server takes such a path for
# the file itself, runs it as a script, and shows nothing.
PAGES = [
    st.Page(dial.show, title="Dial", url_path="locality-dial", default=True),
    st.Page(theory.show, title="Theory", url_path="guarantees"),
    st.Page(coding.show, title="Coding", url_path="units"),
]

st.navigation(PAGES).run()

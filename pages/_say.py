"""Messages: what an error, a link or a file says is shown as it stands, never as markup.

Streamlit reads messages as Markdown, and an image in one would be fetched from wherever it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import streamlit as st

from workbench.errors import LocalistError

_MARKS = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&@=^])")


def plain(text: str) -> str:
    """Markdown that shows `text` character by character, on one line."""
    return _MARKS.sub(r"\\\1", " ".join(text.split()))


def error(wrong: LocalistError | str) -> None:
    """What went wrong and what to do."""
    st.error(plain(str(wrong)))


def warning(messages: Iterable[str], icon: str | None = None) -> None:
    """One paragraph a message."""
    st.warning("\n\n".join(map(plain, messages)), icon=icon)

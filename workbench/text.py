"""Prompts: what may be typed, and how pieces of text are shown."""

from __future__ import annotations

import unicodedata

from model.errors import TextError

MOST_CHARACTERS = 20_000
_SPACE = "␣"
_DOTTED_CIRCLE = "◌"
_NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r", " ": _SPACE}
# Control, format (among them the marks that turn the direction of writing), surrogate, private,
# unassigned, line and paragraph separators: nothing that a reader could see.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def check_prompt(text: object) -> str:
    """The text itself if it may be encoded, else TextError; white space alone is a text."""
    if not isinstance(text, str):
        raise TextError("Prompt", text, "must be text", "Type some text")
    if not text:
        raise TextError("Prompt", text, "has nothing to read", "Type some text or take an example")
    if len(text) > MOST_CHARACTERS:
        raise TextError(
            "Prompt",
            f"{len(text):,} characters",
            f"may have at most {MOST_CHARACTERS:,}",
            "Shorten it; `python -m workbench sweep` reads whole files",
        )
    return text


def check_length(n_tokens: int, n_ctx: int) -> None:
    """TextError when a prompt of `n_tokens`, begin-of-text included, is beyond the model."""
    over = n_tokens - n_ctx
    if over > 0:
        raise TextError(
            "Prompt",
            f"{n_tokens:,} tokens",
            f"this model reads at most {n_ctx:,}, begin-of-text included",
            f"Shorten it by at least {over:,} token{'s' if over > 1 else ''}",
        )


def display_token(piece: str) -> str:
    r"""A piece as a label: "␣" for a space, escapes such as "\n" or "\u{202e}" for what is unseen.

    A label never breaks a line and never turns the direction of its surroundings by a mark of its
    own; letters of every script stay letters.
    """
    shown = "".join(_shown(character) for character in piece)
    if shown and unicodedata.category(shown[0]).startswith("M"):
        return _DOTTED_CIRCLE + shown
    return shown


def _shown(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    category = unicodedata.category(character)
    if category in _UNSEEN or category == "Zs":
        code = ord(character)
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{{{code:x}}}"
    return character

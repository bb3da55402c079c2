"""Prompts and labels: limits that say what to do, and nothing unseen on the screen."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import TextError
from workbench.text import MOST_CHARACTERS, check_length, check_prompt, display_token


@pytest.mark.parametrize(
    "text",
    ["a", " ", "\n\t", "\x00", "\u202eשלום", "🙂👩\u200d🔬", "e\u0301", "x" * MOST_CHARACTERS],
)
def test_any_text_within_the_limit_may_be_typed(text: str) -> None:
    assert check_prompt(text) is text


def test_an_empty_prompt_says_what_to_do() -> None:
    with pytest.raises(TextError, match="Type some text or take an example"):
        check_prompt("")


@pytest.mark.parametrize("value", [None, 3, b"bytes", ["a"]])
def test_a_prompt_is_text(value: object) -> None:
    with pytest.raises(TextError, match="must be text"):
        check_prompt(value)


def test_the_limits_are_stated() -> None:
    with pytest.raises(TextError, match=r"'100,000 characters': may have at most 20,000.*sweep"):
        check_prompt("x" * 100_000)
    check_length(256, 256)
    with pytest.raises(TextError, match=r"'300 tokens'.*at most 256.*at least 44 tokens"):
        check_length(300, 256)


@pytest.mark.parametrize(
    ("piece", "label"),
    [
        ("", ""),
        (" the", "␣the"),
        ("a\n\tb\r", "a\\n\\tb\\r"),
        ("\x00", "\\x00"),
        ("\x7f", "\\x7f"),
        ("\xa0", "\\xa0"),
        ("\u202eabc", "\\u{202e}abc"),
        ("\u2028", "\\u{2028}"),
        ("שלום", "שלום"),
        ("🙂", "🙂"),
        ("\u0301", "◌\u0301"),
        ("\\xf0", "\\xf0"),
        ("<bos>", "<bos>"),
    ],
)
def test_labels_by_hand(piece: str, label: str) -> None:
    assert display_token(piece) == label


@given(st.text())
def test_a_label_shows_all_and_turns_nothing(piece: str) -> None:
    label = display_token(piece)
    assert bool(label) == bool(piece)
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}
    assert not {unicodedata.category(character) for character in label} & hidden
    assert display_token(label) == label

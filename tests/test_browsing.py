"""The harness of the browser tests is itself held: it must notice what it exists to notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import browsing, serving

HELLO = """
import streamlit as st
st.title("Hello")
st.plotly_chart({"data": [{"y": [1, 2]}], "layout": {}}, key="chart")
st.dataframe({"a": [1]})
if st.button("Again"):
    st.write("Pressed")
"""


@pytest.fixture(scope="module")
def hello(tmp_path_factory):
    place = tmp_path_factory.mktemp("hello")
    script = place / "hello.py"
    script.write_text(HELLO)
    with serving.serve(script, place / "server.log") as url:
        yield url


@pytest.mark.parametrize(
    ("url", "elsewhere"),
    [
        ("http://127.0.0.1:8501/x", False),
        ("ws://localhost:8501/_stcore/stream", False),
        ("data:text/html,x", False),
        ("blob:http://127.0.0.1:8501/1", False),
        ("https://fonts.example.org/a.css", True),
        ("wss://example.org/", True),
        ("http://127.0.0.1.example.org/", True),
    ],
)
def test_a_url_beyond_this_machine_is_told_from_one_on_it(url, elsewhere):
    assert browsing.is_elsewhere(url) is elsewhere


def test_a_server_that_does_not_come_up_says_why(tmp_path):
    missing = Path("no-such-script.py")
    with (
        pytest.raises(AssertionError, match=r"no-such-script\.py"),
        serving.serve(missing, tmp_path / "log"),
    ):
        pass


def test_a_server_leaves_no_process_behind(tmp_path):
    script = tmp_path / "hello.py"
    script.write_text(HELLO)
    with serving.serve(script, tmp_path / "log") as url:
        port = int(url.rsplit(":", 1)[1])
        assert serving.is_healthy(port)
    assert not serving.is_healthy(port)


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ("<script>throw new Error('broken')</script>", "uncaught: broken"),
        ("<script>console.error('sour')</script>", "log: sour"),
        ("<img src='http://example.org/a.png'>", "beyond this machine: http://example.org/a.png"),
        ("<script>new WebSocket('ws://example.org/')</script>", "machine: ws://example.org/"),
    ],
)
def test_the_guard_notices(browser, html, fault):
    with browser.new_context() as context:
        guard = browsing.Guard(context)
        opened = context.new_page()
        opened.set_content(html)
        opened.wait_for_timeout(200)
    assert any(fault in found for found in guard.faults), guard.faults


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_opens_in_the_chosen_colours_and_the_server_answers(page, hello, scheme):
    opened = page(width=900, height=700, color_scheme=scheme)
    opened.goto(hello)
    browsing.settle(opened)
    opened.get_by_role("button", name="Again").click()
    opened.get_by_text("Pressed").wait_for()
    colour = opened.evaluate(
        "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
    )
    assert colour == {"light": "rgb(255, 255, 255)", "dark": "rgb(16, 20, 24)"}[scheme]

"""The Theory page without a browser: guarantees of a head, the row to play with, the traps."""

from __future__ import annotations

import re

import pytest
from streamlit.testing.v1 import AppTest

from tests import page_models
from tests.serving import ROOT

TIMEOUT = 120


@pytest.fixture(scope="module")
def small(own_store):
    yield page_models.add_model("small")
    page_models.remove("small")


def opened(tab: int | None = None) -> AppTest:
    app = AppTest.from_function(_page, default_timeout=TIMEOUT)
    app.query_params = {"model": "small", "prompt": "a furry animal that eats seeds"}
    if tab is not None:
        app.session_state["theory_tab"] = tab
    return app.run()


def _page() -> None:
    from pages import theory

    theory.show()


def text(app: AppTest) -> str:
    assert not app.exception
    parts = [*app.markdown, *app.caption, *app.error, *app.warning, *app.info]
    return re.sub(r"\\(.)", r"\1", "\n".join(each.value for each in parts))


def test_the_page_is_in_the_menu():
    assert 'theory.show, title="Theory"' in (ROOT / "app.py").read_text("utf-8")


def test_a_head_is_held_against_its_bounds_and_a_needed_dial_is_solved(small):
    app = opened()
    told = text(app)
    assert re.search(r"Fidelity 0\.99 on \*\*every\*\* row needs dial \*\*0\.\d+\*\*", told)
    assert "Exact for this layer" in told
    assert "over all dials: **0**" in told
    app.selectbox(key="theory_layer").set_value(1).run()
    assert "Holds for the scores as they stand at dial 0" in text(app)
    before = re.search(r"needs dial \*\*([\d.]+)", text(app))
    app.slider(key="theory_fidelity").set_value(0.6).run()
    after = re.search(r"needs dial \*\*([\d.]+)", text(app))
    assert before is not None
    assert after is not None
    assert float(after[1]) < float(before[1])


def test_a_temperature_makes_the_needed_dial_not_applicable_and_keeps_the_curve(small):
    app = opened()
    app.number_input(key="dial_temperature").set_value(0.5).run()
    told = text(app)
    assert "Not applicable: Temperature is 0.5" in told
    assert "over all dials: **0**" in told


def test_a_page_without_a_model_says_what_to_do(own_store):
    app = AppTest.from_function(_page, default_timeout=TIMEOUT)
    app.query_params = {"model": "gone"}
    assert "Choose a model on the left" in text(app.run())

"""The Theory page without a browser: guarantees of a head, the row to play with, the traps."""

from __future__ import annotations

import re

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from tests import page_models
from tests.regularisation_paths import STRENGTHS, add_path
from tests.serving import ROOT
from workbench import theory_texts
from workbench.models import forget_models
from workbench.paths import own_models

TIMEOUT = 120


@pytest.fixture(scope="module")
def small(own_store):
    yield page_models.add_model("small")
    page_models.remove("small")


def opened(tab: str | None = None, model: str = "small") -> AppTest:
    app = AppTest.from_function(_page, default_timeout=TIMEOUT)
    app.query_params = {"model": model, "prompt": "a furry animal that eats seeds"}
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


PATH_TAB = ":material/tune: Regularisation path"


@pytest.fixture(scope="module")
def sparse(own_store):
    page_models.add_model("sparse-page")
    data = add_path(own_models() / "sparse-page", np.random.default_rng(5))
    forget_models()
    yield data
    page_models.remove("sparse-page")


def _strength(app: AppTest):
    """The slider as it is drawn now: an older one would speak of widgets that are gone."""
    return next(each for each in app.select_slider if each.key and "path_point" in each.key)


def test_the_strength_is_moved_and_everything_follows(sparse):
    app = opened(PATH_TAB, "sparse-page")
    for at, point in enumerate(sparse["points"]):
        _strength(app).set_value(at).run()
        told = text(app)
        alive, total = point["groups_alive"], 2 * 6 * 3
        assert f"At strength **{STRENGTHS[at]:.3g}**, **{alive}** of {total} groups" in told
        assert f"= **{point['alpha']:.4g}**" in told
        assert ("**Stationary** on" in told) == point["stationary"]
        assert ("Not called stationary" in told) == (not point["stationary"])
        assert "0.02" in told or point["stationary"]
    app.segmented_control(key="path_view").set_value("graph").run()
    assert "Layer 0 head 0" in text(app)
    app.segmented_control(key="path_side").set_value("query").run()
    assert "on the query side" in text(app)
    _strength(app).set_value(0).run()  # nothing is alive at alpha_max
    assert "Nothing is alive on this side" in text(app)
    assert "At zero it is stationary as long as" in text(app)


def test_a_model_without_a_path_says_what_to_do_and_a_damaged_one_says_what_is_wrong(small, sparse):
    assert "trained without the group penalty" in text(opened(PATH_TAB))
    file = own_models() / "sparse-page" / "path.json"
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    try:
        told = text(opened(PATH_TAB, "sparse-page"))
        assert "path.json" in told
        assert "Restore" in told
    finally:
        file.write_bytes(whole)


def test_held_out_texts_are_measured_when_asked_for_and_then_stay(small, monkeypatch):
    monkeypatch.setattr(theory_texts, "held_out_texts", lambda: ("a furry animal that eats",) * 3)
    theory_texts.forget_sets()
    app = opened()
    assert "3 texts" not in text(app)
    button = next(each for each in app.button if each.label == "Measure the held-out texts")
    button.click().run()
    told = text(app)
    assert "3 texts" in told
    assert told.count("over all dials: **0**") == 2
    app.segmented_control(key="theory_band").set_value("heads").run()
    assert "highest head's" in text(app)
    assert "3 texts" in text(opened())  # known by now: no button
    theory_texts.forget_sets()


def test_one_row_is_filled_in_with_the_numbers_of_the_curve(small):
    app = opened()
    told = text(app)
    least = re.search(r"least of all rows is guaranteed (0\.\d+)", told)
    assert least is not None
    assert re.search(rf"Fidelity ≥ .* = \*\*{least[1]}\*\*; measured", told)
    assert "Needed margin: Δ′ ≥ ln((n − m)(1 − ε) / (m ε)) = ln(" in told
    app.select_slider(key="theory_row_dial").set_value(1.0).run()
    assert "= **1.0000**; measured **1.0000**" in text(app)


def test_the_row_to_play_with_is_filled_in(small):
    app = opened(":material/science: One row to play with")
    app.slider(key="sandbox_dial").set_value(1.0).run()
    assert "9 · 0 / (3 + 9 · 0) = **0.0000**; it is **0.0000**" in text(app)

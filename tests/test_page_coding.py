"""The Coding page without a browser: guesses, choices, and what is said where nothing is shown."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from streamlit.testing.v1 import AppTest

from tests import page_models
from tests.serving import ROOT
from workbench.coding import Asked, forget_codings, measured
from workbench.coding_texts import held_out_texts

TIMEOUT = 120
FEW = 30


def page() -> None:
    """The page as a script of its own."""
    from pages import coding

    coding.show()


@pytest.fixture(scope="module", autouse=True)
def two(own_store):
    with pytest.MonkeyPatch.context() as patch:
        forget_codings()
        patch.setattr("workbench.coding_texts.held_out_texts", lambda: held_out_texts()[:FEW])
        patch.setattr("workbench.paths.SHIPPED_MODELS", own_store / "none")
        for seed, name in enumerate(("bundled", "twin")):
            page_models.add_model(name, seed)
        yield
        for name in ("bundled", "twin"):
            page_models.remove(name)
        forget_codings()


@pytest.fixture(autouse=True)
def no_head_start(monkeypatch):
    monkeypatch.setattr("pages.coding._HEAD_START", 0.0)


def opened(tab: str = "") -> AppTest:
    app = AppTest.from_function(page, default_timeout=TIMEOUT)
    if tab:
        app.session_state["coding_tab"] = next(title for title in titles() if title.endswith(tab))
    return app.run()


def titles() -> list[str]:
    from pages.coding import _TABS

    return [title for title, _ in _TABS]


def said(app: AppTest) -> str:
    assert not app.exception
    kinds = [*app.error, *app.warning, *app.info, *app.success, *app.markdown, *app.caption]
    return re.sub(r"\\(.)", r"\1", "\n".join(each.value for each in kinds))


def press(app: AppTest, label: str) -> AppTest:
    return next(each for each in app.button if each.label == label).click().run()


def coding(name: str = "bundled", dial: float = 0.5):
    return dict(
        zip(
            ("bundled", "twin"),
            (each for _, each in measured(["bundled", "twin"], "cpu", Asked(0, "mlp", dial))),
            strict=True,
        )
    )[name]


def test_both_models_are_counted_side_by_side():
    app = opened()
    found = coding()
    assert f"{int((found.best_auc > 0.9).sum())} of 32 units tell a category" in said(app)
    assert "**twin**:" in said(app)
    assert f"{found.texts.n_tokens:,} tokens" in said(app)
    assert app.selectbox(key="coding_right").value == "twin"


def test_another_dial_layer_or_kind_of_unit_is_measured_anew():
    app = opened()
    before = said(app)
    app.select_slider(key="coding_dial").set_value(1.0).run()
    assert f"{float(sorted(coding(dial=1.0).best_auc)[16]):.2f}"[:3] in said(app)
    app.selectbox(key="coding_kind").set_value("residual").run()
    assert "of 24 units" in said(app)
    app.selectbox(key="coding_layer").set_value(1).run()
    assert said(app) != before


def test_a_guess_comes_before_the_answer_and_the_answer_is_computed():
    app = opened("Guess a unit")
    found = coding()
    unit = int(found.best_auc.argmax())
    assert app.number_input(key="coding_unit").value == unit
    assert "Predict first" in said(app)
    assert not app.metric
    assert not any("category" in each.value.columns for each in app.table)
    best = int(found.best[unit])
    app.selectbox(key="coding_guess").set_value(best)
    press(app, "See")
    values = {each.label: each.value for each in app.metric}
    assert values["AUC"] == f"{found.measures['auc'][unit, best]:.3f}"
    assert values["Hit rate"] == f"{found.measures['hit_rate'][unit, best]:.1%}"
    assert "Lesion, own (bits/token)" in values
    right = found.best_auc[unit] >= 0.8
    assert ("As you predicted" in said(app)) is bool(right)
    assert f"with an AUC of {found.best_auc[unit]:.2f}" in said(app)
    assert len(app.table[1].value) == 20
    press(app, "Another unit")
    assert app.number_input(key="coding_unit").value == (unit + 101) % 32
    assert "Predict first" in said(app)


def test_a_wrong_guess_is_shown_beside_the_answer():
    app = opened("Guess a unit")
    found = coding()
    unit = app.number_input(key="coding_unit").value
    wrong = next(c for c in range(len(found.texts.names)) if c != found.best[unit])
    app.selectbox(key="coding_guess").set_value(wrong)
    press(app, "See")
    title = found.texts.titles[wrong]
    assert f"For {title}, your prediction, it is {found.measures['auc'][unit, wrong]:.2f}" in said(
        app
    )
    press(app, "A selective unit")
    assert "Predict first" in said(app)


def test_a_text_of_ones_own_is_read_and_a_text_too_long_says_what_to_do():
    app = opened("Guess a unit")
    app.text_area(key="coding_own_typed").set_value("an *apple* [a](b)")
    press(app, "Apply")
    assert f"{FEW + 1} texts" in said(app)
    app.selectbox(key="coding_guess").set_value(0)
    press(app, "See")
    assert "The unit on your text" in said(app)
    app.text_area(key="coding_own_typed").set_value("apple " * 200)
    press(app, "Apply")
    assert "this model reads at most 64" in said(app)
    app.text_area(key="coding_own_typed").set_value("")
    press(app, "Apply")
    assert f"{FEW} texts" in said(app)


def test_what_misleads_is_told_with_computed_numbers():
    from workbench.coding_cases import misleading_cases

    app = opened("Measures that mislead")
    first = misleading_cases(coding())[0]
    title = coding().texts.title_of(first.category)
    assert f"**Precision flatters unit {first.unit} ({title}).**" in said(app)
    assert "**CCMAS flatters unit" in said(app)


def test_the_dial_and_all_units():
    app = opened("Over the dial")
    assert "over the dial" in said(app)
    app = opened("All units")
    assert len(app.dataframe[0].value) == 32
    assert "lesion, own tokens (bits/token)" not in app.dataframe[0].value.columns
    press(app, "Lesion each of the 32 units (about 1 s)")
    assert "lesion, own tokens (bits/token)" in app.dataframe[0].value.columns
    assert "first 1,000 tokens only" in said(app)


def test_one_model_alone_is_enough():
    app = opened()
    app.selectbox(key="coding_right").set_value("none").run()
    assert "**twin**" not in said(app)
    assert "**bundled**" in said(app)


def test_no_model_at_all_says_how_to_get_one(monkeypatch, tmp_path):
    monkeypatch.setenv("LOCALIST_STORE", str(tmp_path))
    assert "python -m workbench train trial" in said(opened())


def test_the_page_is_imported_without_torch():
    code = "import sys, pages.coding; sys.exit('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, check=False)
    assert ran.returncode == 0

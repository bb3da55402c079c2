"""The Dial page without a browser: what a person types, chooses and follows, and what is said back.

The canvas is only seen in a browser: test_page_dial_browser.py.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests import page_models
from tests.serving import ROOT
from workbench.examples import EXAMPLES, compute
from workbench.models import open_model
from workbench.paths import own_models
from workbench.results import stored_answer
from workbench.text import MOST_CHARACTERS

TIMEOUT = 120


@pytest.fixture(scope="module")
def small(own_store):
    yield page_models.add_model("small")
    page_models.remove("small")


@pytest.fixture(autouse=True)
def no_head_start(monkeypatch):
    """Nothing is painted here, so that nothing needs to be ahead."""
    monkeypatch.setattr("pages.dial._HEAD_START", 0.0)


def opened(**parameters: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=TIMEOUT)
    app.query_params = dict(parameters)
    return app.run()


def said(app: AppTest) -> str:
    """All messages on the page, as they are read."""
    assert not app.exception
    told = "\n".join(each.value for each in [*app.error, *app.warning, *app.info])
    return re.sub(r"\\(.)", r"\1", told)


def captions(app: AppTest) -> str:
    return "\n".join(each.value for each in app.caption)


def cost(app: AppTest) -> str:
    return next((m.value for m in app.markdown if m.value.startswith("At dial")), "")


def press(app: AppTest, label: str) -> AppTest:
    return next(each for each in app.button if each.label == label).click().run()


def type_text(app: AppTest, text: str) -> AppTest:
    app.text_area(key="dial_prompt").set_value(text)
    return press(app, "Apply")


def test_the_page_opens_on_an_example_and_says_where_it_runs(small):
    app = opened(model="small")
    assert said(app) == ""
    assert app.text_area(key="dial_prompt").value == EXAMPLES[0].text
    assert "In use: CPU" in captions(app)
    assert f"`{small[:12]}`" in captions(app)
    assert "At dial 0.5 this text costs" in cost(app)
    assert app.query_params["hash"] == small[:12]
    assert "attention mass is not causal effect" in " ".join(m.value for m in app.markdown).lower()


def test_the_address_carries_no_text_until_that_is_asked_for(small):
    app = type_text(opened(model="small"), "my secret recipe")
    assert "secret" not in str(app.query_params)
    app.checkbox(key="dial_link_text").check().run()
    assert app.query_params["prompt"] == "my secret recipe"
    again = opened(**{key: str(value) for key, value in app.query_params.items()})
    assert again.text_area(key="dial_prompt").value == "my secret recipe"
    again.checkbox(key="dial_link_text").uncheck().run()
    assert "secret" not in str(again.query_params)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a", "2 of 64 tokens"),
        (" ", "2 of 64 tokens"),
        ("\0\x01", "3 of 64 tokens"),
        ("שלום \u202eabc", "of 64 tokens"),
        ("🍓👩‍👩‍👧‍👦", "of 64 tokens"),
        ("<bos>", "of 64 tokens"),
        ("=1+1 **x** $y$ <b>", "of 64 tokens"),
    ],
)
def test_any_text_is_read(small, text, tokens):
    app = type_text(opened(model="small"), text)
    assert said(app) == ""
    assert tokens in captions(app)
    assert "At dial 0.5" in cost(app)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Type some text or take an example"),
        ("x" * 100_000, f"may have at most {MOST_CHARACTERS:,}"),
        ("apple " * 200, "this model reads at most 64"),
    ],
)
def test_a_text_that_cannot_be_read_says_what_to_do_and_the_page_goes_on(small, text, message):
    app = type_text(opened(model="small"), text)
    assert message in said(app)
    assert app.text_area(key="dial_prompt").value == text
    app = type_text(app, "an apple")
    assert said(app) == ""
    assert "At dial 0.5" in cost(app)


def test_an_example_replaces_the_text_and_goes_into_the_address(small):
    app = opened(model="small", example="ship")
    assert app.text_area(key="dial_prompt").value == EXAMPLES[2].text
    app = type_text(app, "something else")
    assert "example" not in app.query_params
    app = type_text(app, EXAMPLES[1].text)
    assert app.query_params["example"] == "doctor"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"dial": "2"}, "dial is '2': it must be a number in [0, 1]. 0.5 is used."),
        ({"dial": "nan"}, "dial is 'nan'"),
        ({"layer": "7"}, "layer is 7: this model has 2 of them"),
        ({"head": "x"}, "head is 'x'"),
        ({"schedule": "hand:1,1"}, "does not fit 2 layers of 3 heads"),
        ({"example": "nothing"}, "example 'nothing' is unknown here"),
        ({"hash": "0123456789ab"}, "another version of the model 'small'"),
        ({"v": "9"}, "version '9'"),
        ({"prompt": "x" * 2000}, "this model reads at most"),
    ],
)
def test_a_link_is_checked_value_by_value_and_says_so(small, parameters, message):
    app = opened(model="small", **parameters)
    assert message in said(app)


def test_a_message_about_a_link_stays_until_it_is_dismissed(small):
    app = opened(model="small", dial="2")
    app = type_text(app, "an apple")
    assert "dial is '2'" in said(app)
    press(app, "Dismiss")
    assert said(app) == ""


def test_a_link_to_a_model_that_is_gone_shows_no_other_numbers(small):
    app = opened(model="gone", hash="0123456789ab")
    assert "there is none of that name here" in said(app)
    assert cost(app) == ""
    assert app.selectbox(key="dial_model").value is None
    assert app.query_params["model"] == "gone"
    app.selectbox(key="dial_model").set_value("small").run()
    assert "At dial" in cost(app)
    assert app.query_params["model"] == "small"


def test_a_model_that_changes_under_the_page_is_taken_anew(small):
    old = page_models.add_model("moving", seed=1)
    app = opened(model="moving")
    before = cost(app)
    new = page_models.add_model("moving", seed=2)
    app.run()
    assert old != new
    assert app.query_params["hash"] == new[:12]
    assert cost(app) != before
    page_models.remove("moving")
    assert "moving" not in app.run().selectbox(key="dial_model").options
    assert cost(app) == ""


def test_a_broken_model_is_listed_with_its_reason(small):
    page_models.add_broken("broken")
    app = opened(model="broken")
    assert "The model 'broken' cannot be opened" in said(app)
    assert "broken (cannot be opened)" in app.selectbox(key="dial_model").options
    assert cost(app) == ""
    app.selectbox(key="dial_model").set_value("small").run()
    assert said(app) == ""
    assert "At dial" in cost(app)
    page_models.remove("broken")


def test_a_model_altered_in_place_is_refused(small):
    page_models.add_model("altered")
    weights = own_models() / "altered" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    app = opened(model="altered")
    assert "its hash differs from the manifest's" in said(app)
    page_models.remove("altered")


def test_schedules_reach_the_numbers_and_the_address(small):
    app = opened(model="small", dial="1")
    uniform = cost(app)
    app.selectbox(key="dial_schedule").set_value("progressive").run()
    assert app.query_params["schedule"] == "progressive:1"
    app.number_input(key="dial_beta").set_value(3.0).run()
    assert app.query_params["schedule"] == "progressive:3"
    assert cost(app) != uniform
    by_hand = opened(model="small", dial="1", schedule="hand:0,0,0;0,0,0")
    assert "0.000 bits a token more than at dial 0" in cost(by_hand)
    by_hand.selectbox(key="dial_schedule").set_value("uniform").run()
    assert cost(by_hand) == uniform


def test_reset_gives_the_dial_back_and_keeps_text_and_model(small):
    app = opened(model="small", dial="0.9", gain="2", temperature="3", schedule="progressive:2")
    type_text(app, "an apple")
    press(app, "Reset the dial")
    shown = {key: app.query_params[key] for key in ("dial", "gain", "temperature", "schedule")}
    assert shown == {"dial": "0.5", "gain": "4", "temperature": "1", "schedule": "uniform"}
    assert app.text_area(key="dial_prompt").value == "an apple"
    assert app.query_params["model"] == "small"


def test_a_device_that_is_not_there_is_said_and_another_can_be_chosen(small):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    app = opened(model="small")
    app.selectbox(key="dial_device").set_value("cuda").run()
    assert "Choose cpu or auto" in said(app)
    app.selectbox(key="dial_device").set_value("cpu").run()
    assert said(app) == ""


@pytest.mark.parametrize("fresh", [True, False])
def test_a_stored_example_of_another_model_version_is_refused_and_that_is_said(
    small, monkeypatch, fresh
):
    stored = compute(open_model("small", "cpu"), "small", EXAMPLES[0])
    stored = stored if fresh else replace(stored, model_hash="0" * 64)
    monkeypatch.setattr("pages.dial.stored_example", lambda name: stored)
    monkeypatch.setattr("pages.dial._loaded", threading.Event())
    painted = []
    monkeypatch.setattr(
        "pages.dial.stored_answer", lambda each: painted.append(each) or stored_answer(each)
    )
    app = opened(model="small")
    assert painted == ([stored] if fresh else [])
    assert ("computed with another version of 'small'" in said(app)) is not fresh
    assert "At dial 0.5" in cost(app)


def test_no_model_at_all_says_how_to_get_one(monkeypatch, tmp_path):
    monkeypatch.setenv("LOCALIST_STORE", str(tmp_path))
    monkeypatch.setattr("workbench.paths.SHIPPED_MODELS", tmp_path / "none")
    assert "python -m workbench train trial" in said(opened())


def test_the_first_paint_needs_no_torch():
    code = "import sys, app; sys.exit(bool({'torch', 'transformer_lens'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, check=False)
    assert ran.returncode == 0


def test_no_page_has_the_address_of_a_file():
    source = (ROOT / "app.py").read_text()
    stems = {path.stem for path in (ROOT / "pages").glob("*.py")}
    assert "url_path=" in source
    assert not [stem for stem in stems if f'url_path="{stem}"' in source]
    assert Path(ROOT / "pages" / "icon.svg").is_file()

"""The Coding page in a browser: reached by its link, worked by keyboard, drawn as its files say."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, expect

from tests import page_models
from tests.browsing import settle

PATIENCE = 120_000  # ms; two cores may be shared with a training run


@pytest.fixture(scope="module")
def site(app_server):
    page_models.add_model("small", 0)
    page_models.add_model("small-twin", 1)
    yield app_server
    page_models.remove("small")
    page_models.remove("small-twin")


def choose(shown: Page, box: str, option: str) -> None:
    field = shown.get_by_role("combobox", name=box)
    field.click()
    field.fill(option)
    shown.get_by_role("option", name=option, exact=True).click()
    settle(shown)


def drawn(shown: Page) -> list[dict]:
    return shown.locator(".js-plotly-plot:visible").first.evaluate(
        "plot => plot._fullData.map(t => ({type: t.type, name: t.name, "
        "y: Array.from(t.y), z: t.z ? t.z.map(r => Array.from(r)) : null}))"
    )


def test_a_unit_is_guessed_and_figures_are_their_files(page, site, tmp_path):
    shown = page(width=1440, height=1000)
    shown.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    shown.goto(f"{site}/?model=small")
    shown.get_by_role("link", name="Coding", exact=True).click()
    expect(shown.get_by_role("heading", name="Localist or distributed?")).to_be_visible()
    expect(shown.get_by_text("units tell a category")).to_have_count(2)
    choose(shown, "Model", "small")
    choose(shown, "Beside it", "small-twin")
    expect(shown.get_by_text("small-twin: ")).to_have_count(1)
    shown.locator(".js-plotly-plot:visible").first.wait_for()

    panels = drawn(shown)
    assert [each["type"] for each in panels] == ["heatmap", "heatmap"]
    with shown.expect_download() as saved:
        shown.get_by_role("button", name="JSON").first.click()
    saved.value.save_as(tmp_path / "matrix.json")
    rows = json.loads((tmp_path / "matrix.json").read_text())["rows"]
    ours = [row["auc_ANIMAL"] for row in rows if row["model"] == "small"]
    assert panels[0]["z"][panels[0]["y"].index("animals")] == pytest.approx(ours)

    shown.get_by_role("tab", name="Guess a unit").press("Enter")
    expect(shown.get_by_text("Predict first")).to_be_visible()
    choose(shown, "What does it code?", "animals")
    shown.get_by_role("button", name="See", exact=True).press("Enter")
    expect(shown.get_by_text("Hit rate", exact=True)).to_be_visible()
    expect(shown.get_by_text("Its strongest tokens, with their categories")).to_be_visible()
    assert [each["type"] for each in drawn(shown)] == ["bar", "bar"]
    settle(shown)

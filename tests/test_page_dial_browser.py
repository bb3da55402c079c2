"""The Dial page in a browser: the dial, links, files to take away, narrow and dark screens."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests import page_models
from tests.browsing import settle
from tests.serving import ROOT, serve
from workbench.examples import EXAMPLES, stored_example
from workbench.models import list_models

PATIENCE = 90_000  # ms; two cores may be shared with a training run
VERIFIED = re.compile(r"^verified")


@pytest.fixture(scope="module")
def site(app_server):
    """The served app with a small model of ours in its store."""
    page_models.add_model("small")
    yield app_server
    page_models.remove("small")


@pytest.fixture
def dial_page(page, site):
    """Opens the page with the small model, and waits until Python has answered."""

    def opened(query: str = "model=small", **screen) -> Page:
        shown = page(**{"width": 1440, "height": 1000, **screen})
        shown.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        shown.goto(f"{site}/?{query}")
        live(shown)
        return shown

    return opened


def live(shown: Page) -> None:
    """Waits until the canvas shows what Python has computed, and nothing runs."""
    expect(part(shown, "badgeText")).to_have_text(VERIFIED)
    expect(shown.get_by_text("Loading PyTorch")).to_have_count(0)
    settle(shown)


def part(shown: Page, name: str):
    return shown.locator(f"[data-part={name}]")


def address(shown: Page) -> dict[str, str]:
    return {key: value[0] for key, value in parse_qs(urlsplit(shown.url).query).items()}


def wait_for_address(shown: Page, **expected: str) -> None:
    for key, value in expected.items():
        shown.wait_for_function(
            "([k, v]) => new URLSearchParams(location.search).get(k) === v", arg=[key, value]
        )


def drawn(shown: Page) -> list[dict]:
    """Traces of the figure on the screen, as the browser holds them."""
    return shown.locator(".js-plotly-plot:visible").evaluate(
        "plot => plot._fullData.map(t => ({name: t.name, mode: t.mode, "
        "x: Array.from(t.x), y: Array.from(t.y)}))"
    )


def apply_text(shown: Page, text: str) -> None:
    area = shown.get_by_role("textbox", name="Text", exact=True)
    area.fill(text)
    area.press("Control+Enter")


def test_the_dial_answers_to_the_keyboard_and_python_confirms(dial_page):
    shown = dial_page()
    dial = part(shown, "dial")
    dial.focus()
    dial.press("PageUp")
    expect(dial).to_have_value("0.6")
    wait_for_address(shown, dial="0.6")
    live(shown)
    expect(shown.get_by_text("At dial 0.6 this text costs")).to_be_visible()
    marks = [trace["x"] for trace in drawn(shown) if trace["mode"] == "markers"]
    assert marks == [[0.6]] * 4
    dial.press("End")
    wait_for_address(shown, dial="1")
    live(shown)
    expect(shown.get_by_text("At dial 1 this text costs")).to_be_visible()


def test_a_head_of_another_layer_comes_with_its_own_numbers(dial_page):
    shown = dial_page()
    part(shown, "grid").get_by_role("gridcell", name=re.compile("^Layer 1, head 2")).click()
    wait_for_address(shown, layer="1", head="2")
    live(shown)
    expect(part(shown, "title")).to_have_text("Layer 1 · head 2")
    shown.get_by_role("tab", name="Heads and blocks").click()
    figure = shown.locator(".js-plotly-plot:visible")
    expect(figure).to_contain_text("L1 H2")
    expect(figure).not_to_contain_text("L0 H2")


def test_a_link_opens_the_same_view_and_back_undoes(dial_page, page, site):
    query = "model=small&layer=1&head=1&dial=0.25&schedule=progressive:2&gain=3&compare=0.75"
    shown = dial_page(query)
    expect(part(shown, "number")).to_have_value("0.25")
    expect(part(shown, "numberB")).to_have_value("0.75")
    expect(part(shown, "title")).to_have_text("Layer 1 · head 1")
    first = address(shown)
    assert first | {"v": "1", "schedule": "progressive:2", "gain": "3"} == first
    apply_text(shown, "a red apple")
    expect(part(shown, "tokens")).to_contain_text("apple")
    part(shown, "dial").press("End")
    wait_for_address(shown, dial="1")
    live(shown)
    shown.go_back()
    wait_for_address(shown, dial="0.25")
    expect(part(shown, "number")).to_have_value("0.25")
    expect(part(shown, "tokens")).to_contain_text("apple")
    live(shown)


def test_files_equal_what_is_drawn(dial_page, tmp_path):
    shown = dial_page("model=small&dial=0.33")
    with shown.expect_download() as csv_file:
        shown.get_by_test_id("stDownloadButton").filter(has_text="CSV").click()
    with shown.expect_download() as json_file:
        shown.get_by_test_id("stDownloadButton").filter(has_text="JSON").click()
    shown.locator(".js-plotly-plot:visible").hover()
    with shown.expect_download() as png_file:
        shown.get_by_role("button", name="Download plot as a PNG").click()
    rows = list(csv.DictReader(saved(csv_file, tmp_path).read_text("utf-8").splitlines()))
    document = json.loads(saved(json_file, tmp_path).read_text("utf-8"))
    lines = {trace["name"]: trace for trace in drawn(shown) if trace["mode"] == "lines"}
    assert document["units"]["bits_per_token"] == "bits/token"
    assert document["about"]["model"] == "small"
    for name, key, unit in (
        ("by block", "semantic_share", " [fraction]"),
        ("fidelity", "fidelity", " [fraction]"),
        ("this model", "bits_per_token", " [bits/token]"),
    ):
        assert [float(row["dial"]) for row in rows] == lines[name]["x"]
        assert [float(row[key + unit]) for row in rows] == lines[name]["y"]
        assert [row[key] for row in document["rows"]] == lines[name]["y"]
    png = saved(png_file, tmp_path)
    assert png.name == "whole-dial.png"
    assert png.read_bytes().startswith(b"\x89PNG")
    assert png.stat().st_size > 20_000


def saved(download, folder: Path) -> Path:
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_every_tab_shows_its_figure(dial_page):
    shown = dial_page()
    page_models.add_model("other", seed=3)
    try:
        for name in ("Next token", "Heads and blocks", "Beside another model"):
            shown.get_by_role("tab", name=name).click()
            expect(shown.locator(".js-plotly-plot:visible")).to_have_count(1)
            settle(shown)
            expect(shown.get_by_text("The numbers", exact=True).last).to_be_visible()
        expect(part(shown, "badgeText")).to_have_text(VERIFIED)
    finally:
        page_models.remove("other")


def test_a_text_beyond_the_limit_is_refused_and_the_page_goes_on(dial_page):
    shown = dial_page()
    apply_text(shown, "x" * 100_000)
    expect(shown.get_by_test_id("stAlert")).to_contain_text("may have at most 20,000")
    expect(part(shown, "emptyTitle")).to_be_visible()
    shown.get_by_role("radio", name=EXAMPLES[1].title).click()
    expect(part(shown, "tokens")).to_contain_text("doctor")
    live(shown)
    expect(shown.get_by_test_id("stAlert")).to_have_count(0)


def test_text_is_never_markup(dial_page):
    shown = dial_page()
    apply_text(shown, "<img src=x onerror=alert(1)> **b** \u202eabc\0 :red[x] $y$ 🍓")
    expect(part(shown, "tokens")).to_contain_text("img")
    live(shown)
    assert part(shown, "body").locator("img").count() == 0
    shown.get_by_role("tab", name="Next token").click()
    expect(shown.locator(".js-plotly-plot:visible")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_holds_all_of_it(dial_page, scheme):
    shown = dial_page(width=900, height=800, color_scheme=scheme)
    wider = shown.evaluate(
        "[...document.querySelectorAll('[data-testid=stMain], [data-part=root]')].filter("
        "node => node.scrollWidth > node.clientWidth + 1).length"
    )
    assert wider == 0
    background = shown.evaluate(
        "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
    )
    label = shown.wait_for_function(
        "() => { const label = document.querySelector('.js-plotly-plot .xtick text');"
        "  const colour = label && getComputedStyle(label).fill;"
        "  return colour && colour.startsWith('rgb') ? colour : null; }"
    )
    assert contrast(background, label.json_value()) >= 3.0


def contrast(first: str, second: str) -> float:
    """WCAG contrast of two CSS colours `rgb(…)`."""

    def luminance(colour: str) -> float:
        parts = [int(n) / 255 for n in re.findall(r"\d+", colour)[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_the_guidelines():
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21.0)
    assert contrast("rgb(119, 119, 119)", "rgb(255, 255, 255)") == pytest.approx(4.48, abs=0.01)


def test_an_example_paints_before_torch_is_loaded(page, own_store, tmp_path):
    card = next((card for card in list_models() if card.name == "bundled"), None)
    stored = stored_example(EXAMPLES[0].name)
    if card is None or stored is None or stored.model_hash != card.content_hash:
        pytest.skip("needs the bundled model and its stored examples")
    # A server of its own: the others have loaded torch by now.
    with serve(ROOT / "app.py", tmp_path / "log", {"LOCALIST_STORE": str(own_store)}) as url:
        shown = page(width=1440, height=1000)
        shown.set_default_timeout(PATIENCE)
        shown.goto(url)
        expect(part(shown, "badgeText")).to_have_text(VERIFIED, timeout=PATIENCE)
        assert shown.get_by_text("Loading PyTorch").is_visible()
        assert shown.get_by_text("In use: known once PyTorch is loaded").is_visible()
        part(shown, "dial").press("End")  # turned while torch is still on its way
        wait_for_address(shown, dial="1")
        live(shown)
        expect(shown.get_by_text("At dial 1 this text costs")).to_be_visible()
        assert address(shown)["hash"] == card.short_hash
        shown.context.close()  # before the server goes


def test_a_message_is_never_markup(dial_page):
    image = "![x](http://example.org/a.png)"
    shown = dial_page(f"model=small&dial={quote(image)}&example={quote(image)}&{quote(image)}=1")
    expect(shown.get_by_test_id("stAlert")).to_contain_text(f"dial is '{image}'")
    expect(shown.get_by_test_id("stAlert").locator("img")).to_have_count(0)

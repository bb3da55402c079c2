"""The Theory page in a browser: reached by the menu, each tab drawn, nothing asked elsewhere."""

from __future__ import annotations

from playwright.sync_api import expect

from tests import browsing


def test_what_was_chosen_is_still_chosen_after_a_page_that_does_not_show_it(page, app_server):
    opened = page(width=1280, height=900)
    opened.goto(app_server)
    opened.locator("[data-part=badge][data-kind=good]").wait_for(timeout=120_000)
    gain = opened.get_by_role("spinbutton", name="Gain")
    gain.fill("5.5")
    gain.press("Enter")
    browsing.settle(opened)
    opened.get_by_role("link", name="Coding", exact=True).click()
    expect(opened.get_by_role("heading", name="Localist or distributed?")).to_be_visible()
    browsing.settle(opened)
    opened.get_by_role("link", name="Dial", exact=True).click()
    expect(opened.locator("[data-part=badge][data-kind=good]")).to_be_visible(timeout=120_000)
    expect(gain).to_have_value("5.50")
    expect(opened.get_by_role("textbox", name="Text")).not_to_be_empty()


def test_the_theory_page_draws_bounds_a_row_and_traps(page, app_server):
    opened = page(width=1280, height=900)
    opened.goto(app_server)
    opened.locator("[data-part=badge][data-kind=good]").wait_for(timeout=120_000)
    browsing.settle(opened)
    opened.get_by_role("link", name="Theory").click()
    expect(opened.get_by_text("over all dials: 0")).to_be_visible(timeout=120_000)
    expect(opened.locator(".js-plotly-plot:visible")).to_have_count(1)
    # What was chosen on the other page is still chosen.
    expect(opened.get_by_role("spinbutton", name="Gain")).to_have_value("4.00")
    expect(opened.get_by_role("textbox", name="Text")).not_to_be_empty()
    opened.get_by_role("tab", name="One row to play with").click()
    expect(opened.locator(".js-plotly-plot:visible")).to_have_count(2)
    opened.get_by_role("slider", name="Dial").press("End")
    expect(opened.get_by_text("= 0.0000; it is 0.0000.")).to_be_visible()
    opened.get_by_role("tab", name="Three traps").click()
    expect(opened.get_by_text("Nothing leads out of the bilinear zero")).to_be_visible()

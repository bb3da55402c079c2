"""The dial canvas as a person meets it: dragged, typed at, pointed at."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.canvas_harness import (
    BADGE,
    LENGTH,
    drag,
    expected,
    figure,
    opener,
    python_hears,
    runs,
    serve,
)
from tests.canvas_views import make_view


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("canvas")) as url:
        yield url


@pytest.fixture
def canvas(page, harness):
    return opener(page, harness)


def test_the_first_view_is_verified(canvas):
    opened = canvas()
    expect(opened.locator(BADGE)).to_contain_text("verified · max |Δ|")
    expect(opened.locator("[data-part=title]")).to_have_text("Layer 0 · head 0")
    view = make_view(0, 0.5, length=LENGTH)
    assert figure(opened) == f"{view.entropy_bits[0]:.2f} bits"
    assert figure(opened, 1) == f"{view.fidelity[0]:.3f}"


def test_a_drag_changes_numbers_at_once_and_python_hears_of_the_release(canvas):
    opened = canvas(dial=0.2)
    before, count = figure(opened), runs(opened)
    drag(opened, 0.8, release=False)
    expect(opened.locator("[data-part=number]")).to_have_value("0.80")
    assert figure(opened) != before
    expect(opened.locator(BADGE)).to_contain_text("live · exact scores")
    opened.wait_for_timeout(500)
    assert runs(opened) == count
    opened.mouse.up()
    python_hears(opened, dial=0.8)
    expect(opened.locator(BADGE)).to_contain_text("verified")
    assert runs(opened) == count + 1
    assert figure(opened) == f"{make_view(0, 0.8, length=LENGTH).entropy_bits[0]:.2f} bits"


def test_a_text_of_one_token_is_a_view_too(canvas):
    opened = canvas(length=1)
    expect(opened.locator(BADGE)).to_contain_text("verified · max |Δ| 0")
    opened.locator("[data-part=dial]").press("End")
    python_hears(opened, dial=1)
    expect(opened.locator(BADGE)).to_contain_text("verified · max |Δ| 0")


def test_an_idle_canvas_leaves_python_alone(canvas):
    opened = canvas()
    count = runs(opened)
    opened.wait_for_timeout(1500)
    assert runs(opened) == count


def test_keys_turn_the_dial(canvas):
    opened = canvas()
    slider = opened.locator("[data-part=dial]")
    for key, value in [
        ("ArrowRight", 0.51), ("ArrowUp", 0.52), ("ArrowDown", 0.51), ("Shift+ArrowLeft", 0.509),
        ("PageUp", 0.609), ("PageDown", 0.509), ("Home", 0), ("ArrowLeft", 0), ("End", 1),
    ]:  # fmt: skip
        slider.press(key)
        expect(slider).to_have_value(str(value))
    spoken = re.compile(r"^dial 1\.00, entropy [\d.]+ bits, fidelity [\d.]+$")
    expect(slider).to_have_attribute("aria-valuetext", spoken)
    python_hears(opened, dial=1)


def test_a_typed_number_turns_the_dial_and_nonsense_does_not(canvas):
    opened = canvas()
    number = opened.locator("[data-part=number]")
    number.fill("0.995")
    number.press("Enter")
    python_hears(opened, dial=0.995)
    number.fill("7")
    number.press("Enter")
    expect(number).to_have_value("0.995")


def test_a_head_of_this_layer_is_there_at_once(canvas):
    opened = canvas(slow=2.0)
    opened.get_by_role("button", name="Head 4: entropy").click()
    expect(opened.locator("[data-part=title]")).to_have_text("Layer 0 · head 4", timeout=1800)
    view = make_view(0, 0.5, length=LENGTH)
    assert figure(opened) == f"{view.entropy_bits[4]:.2f} bits"
    python_hears(opened, head=4)
    expect(opened.locator("[data-part=title]")).to_have_text("Layer 0 · head 4")


def test_another_layer_comes_from_python_and_deeper_layers_estimate(canvas):
    opened = canvas(dial=0.3)
    opened.get_by_role("gridcell", name="Layer 2, head 5").click()
    expect(opened.locator("[data-part=title]")).to_have_text("Layer 2 · head 5")
    python_hears(opened, layer=2, head=5)
    expect(opened.locator(BADGE)).to_contain_text("verified")
    drag(opened, 0.9, release=False)
    expect(opened.locator(BADGE)).to_contain_text("estimate · scores of dial 0.30")
    opened.mouse.up()
    expect(opened.locator(BADGE)).to_contain_text("verified")
    said = opened.locator(BADGE).inner_text()
    off = float(re.search(r"estimate was off by ([\d.]+)", said)[1])
    heads = range(9)
    true = max(
        np.abs(expected(0.9, 2, h) - expected(0.9, 2, h, computed_at=0.3)).max() for h in heads
    )
    assert off == pytest.approx(true, abs=0.006)


def test_a_python_that_disagrees_is_shown_to_disagree(canvas):
    opened = canvas(error=0.01)
    expect(opened.locator(BADGE)).to_contain_text("differs · max |Δ| 0.01")


def test_python_can_set_the_dial_but_not_while_it_is_held(canvas):
    opened = canvas()
    opened.get_by_role("button", name="Set dial to 0.25").click()
    expect(opened.locator("[data-part=number]")).to_have_value("0.25")
    expect(opened.locator(BADGE)).to_contain_text("verified")


def test_a_late_answer_does_not_move_a_held_dial(canvas):
    opened = canvas(dial=0.1, slow=1.0)
    drag(opened, 0.4)
    drag(opened, 0.7, release=False)
    python_hears(opened, dial=0.4)
    expect(opened.locator("[data-part=number]")).to_have_value("0.70")
    opened.mouse.up()
    python_hears(opened, dial=0.7)
    expect(opened.locator("[data-part=number]")).to_have_value("0.70")
    expect(opened.locator(BADGE)).to_contain_text("verified")


def test_markup_in_the_text_is_text(canvas):
    text = "<img src=x onerror=alert(1)> <b>bread</b> {{honey}} javascript:alert(2) \"'`"
    opened = canvas(text=text, length=14)
    opened.locator("[data-part=tableToggle]").click()
    opened.locator("[data-token='3']").hover()
    expect(opened.locator("[data-part=tip]")).to_contain_text("why")
    count = opened.locator(".lw").evaluate("e => e.querySelectorAll('img, script, a').length")
    assert count == 0
    assert "<imgsrc=xonerror=" in opened.locator("[data-part=tokens]").evaluate(
        "e => e.textContent"
    )
    expect(opened.locator("[data-part=table]")).to_contain_text('"<"')


def test_pointing_tells_query_key_block_score_and_both_weights(canvas):
    opened = canvas(dial=0.8)
    plot = opened.locator("[data-part=plot]")
    plot.scroll_into_view_if_needed()
    plot.focus()
    for key in ["ArrowUp", "ArrowUp", "ArrowRight", "ArrowRight", "ArrowRight"]:
        plot.press(key)
    tip = opened.locator("[data-part=tip]")
    expect(tip).to_be_visible()
    said = tip.inner_text()
    row, key = (int(re.search(rf"{word} (\d+)", said)[1]) for word in ("query", "key"))
    assert row == LENGTH - 3
    view = make_view(0, 0.8, length=LENGTH)
    assert f"{view.scores[0, row, key]:.3f} nats" in said
    now = float(re.search(r"weight now\s+([\d.e-]+)", said)[1])
    before = float(re.search(r"weight at dial 0\s+([\d.e-]+)", said)[1])
    assert now == pytest.approx(expected(0.8)[row, key], abs=0.006)
    assert before == pytest.approx(expected(0.0)[row, key], abs=0.006)
    plot.press("Enter")
    python_hears(opened, pinned_row=row)
    plot.press("Escape")
    python_hears(opened, pinned_row=None)


def test_the_mouse_finds_the_cell_beneath_it(canvas):
    opened = canvas()
    opened.locator("[data-order=position]").click()
    plot = opened.locator("[data-part=plot]")
    box = plot.bounding_box()
    tip = opened.locator("[data-part=tip]")
    plot.hover(position={"x": box["width"] / 2, "y": 120})
    expect(tip).to_contain_text("never visible")
    plot.hover(position={"x": box["width"] / 4, "y": box["height"] / 2})
    expect(tip).to_contain_text("weight now")
    opened.locator("[data-part=title]").hover()
    expect(tip).to_be_hidden()


def test_a_token_pins_its_row_and_the_table_is_its_twin(canvas):
    opened = canvas(dial=0.7)
    opened.locator("[data-token='11']").click()
    python_hears(opened, pinned_row=11)
    opened.locator("[data-part=tableToggle]").click()
    table = opened.locator("[data-part=table] table")
    expect(table.locator("caption")).to_contain_text("Keys of query 11")
    rows = table.locator("tbody tr").all_inner_texts()
    assert len(rows) == 12
    weights = [float(row.split("\t")[-1]) for row in rows]
    np.testing.assert_allclose(weights, expected(0.7)[11, :12], atol=0.006)
    expect(opened.locator("[data-part=massTitle]")).to_contain_text("(11) looks")
    opened.locator("[data-token='11']").click()
    python_hears(opened, pinned_row=None)
    expect(table.locator("caption")).to_contain_text("Queries of head 0")


def test_the_live_region_and_the_figure_say_the_same(canvas):
    opened = canvas()
    opened.locator("[data-part=dial]").press("End")
    said = re.compile(
        r"Layer 0, head 0, dial 1\.00: entropy [\d.]+ bits, fidelity [\d.]+\. verified"
    )
    expect(opened.locator("[data-part=live]")).to_have_text(said)


def test_play_goes_in_steps_where_less_motion_is_asked_for(canvas):
    opened = canvas()
    opened.get_by_role("button", name="Play the dial").click()
    expect(opened.locator("[data-part=number]")).to_have_value("0.25")
    expect(opened.locator("[data-part=number]")).to_have_value("0.50")
    opened.get_by_role("button", name="Stop").click()
    python_hears(opened, dial=0.5)


def test_two_dials_stand_side_by_side(canvas):
    opened = canvas(dial=0.0)
    opened.get_by_role("button", name="Compare two").click()
    expect(opened.locator("[data-part=dialB]")).to_be_visible()
    opened.locator("[data-part=dialB]").press("PageDown")
    python_hears(opened, mode="split", dial_b=0.9)
    expect(opened.locator(".lw-figure .lw-value-b").first).to_have_text(
        f"{make_view(0, 0.9, length=LENGTH).entropy_bits[0]:.2f} bits"
    )


@pytest.mark.parametrize(
    ("view", "words"), [("none", "Nothing to turn yet"), ("broken", "cannot be drawn")]
)
def test_a_missing_and_a_broken_view_say_so(canvas, view, words):
    opened = canvas(view=view, ready="[data-part=emptyTitle] >> visible=true")
    expect(opened.locator("[data-part=emptyTitle]").first).to_contain_text(words)
    expect(opened.locator("[data-part=body]").first).to_be_hidden()

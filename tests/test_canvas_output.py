"""What leaves the dial canvas, and how it looks: files equal the drawing, nothing is cut off."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.canvas_harness import LENGTH, expected, opener, python_hears, serve
from tests.canvas_views import make_view


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("canvas")) as url:
        yield url


@pytest.fixture
def canvas(page, harness):
    return opener(page, harness)


def saved(opened, kind):
    with opened.expect_download() as waiting:
        opened.locator(f"[data-download={kind}]").click()
    return waiting.value


def test_the_csv_holds_what_is_drawn(canvas):
    opened = canvas(dial=0.5)
    opened.locator("[data-part=dial]").press("End")
    found = saved(opened, "csv")
    assert found.suggested_filename == "attention_L0H0_dial1.00.csv"
    lines = list(csv.DictReader(io.StringIO(Path(found.path()).read_text("utf-8"))))
    assert len(lines) == LENGTH * (LENGTH + 1) // 2
    now, before = np.zeros((LENGTH, LENGTH)), np.zeros((LENGTH, LENGTH))
    view = make_view(0, 0.5, length=LENGTH)
    for line in lines:
        i, j = int(line["query"]), int(line["key"])
        now[i, j], before[i, j] = float(line["weight_dial_1"]), float(line["weight_dial_0"])
        assert float(line["score_nats"]) == view.scores[0, i, j]
        assert json.loads(line["key_token"]) == view.tokens[j]
        assert line["model_hash"] == view.model_hash
    np.testing.assert_allclose(now, expected(1.0), atol=1e-6)
    np.testing.assert_allclose(before, expected(0.0), atol=1e-6)


def test_the_json_holds_what_is_drawn_in_both_dials(canvas):
    opened = canvas(dial=0.5)
    opened.get_by_role("button", name="Compare two").click()
    python_hears(opened, mode="split")
    found = json.loads(Path(saved(opened, "json").path()).read_text("utf-8"))
    view = make_view(0, 0.5, length=LENGTH)
    assert found["model"] == {"name": view.model_name, "hash": view.model_hash}
    assert (found["layer"], found["head"], found["dial"], found["dial_b"]) == (0, 0, 0.5, 1)
    assert found["units"]["scores"].startswith("nats")
    assert found["tokens"] == list(view.tokens)
    for name, dial in (("pattern", 0.5), ("pattern_b", 1.0)):
        for i, row in enumerate(found[name]):
            np.testing.assert_allclose(row, expected(dial)[i, : i + 1], atol=1e-6)
    assert found["measures"]["entropy_bits"] == pytest.approx(view.entropy_bits[0], abs=1e-6)
    assert found["check"]["agrees"] is True


def test_the_png_is_the_canvas_with_its_labels(canvas):
    opened = canvas()
    content = Path(saved(opened, "png").path()).read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    base = opened.locator("[data-part=base]").evaluate("c => [c.width, c.height]")
    assert width > base[0]
    assert height > base[1]
    # The drawn map itself lies in the file, pixel by pixel.
    same = opened.evaluate(
        """async ([bytes]) => {
          const hosts = [...document.querySelectorAll("*")];
          const root = hosts.map((e) => e.shadowRoot?.querySelector(".lw")).find(Boolean);
          const base = root.querySelector("[data-part=base]");
          const image = await createImageBitmap(new Blob([new Uint8Array(bytes)]));
          const copy = new OffscreenCanvas(image.width, image.height).getContext("2d");
          copy.drawImage(image, 0, 0);
          const ratio = base.width / parseFloat(base.style.width);
          const a = copy.getImageData(16 * ratio, 58 * ratio, base.width, base.height).data;
          const b = base.getContext("2d").getImageData(0, 0, base.width, base.height).data;
          let [opaque, different] = [0, 0];
          for (let k = 0; k < b.length; k += 4) {
            if (b[k + 3] !== 255) continue;
            opaque++;
            if (a[k] !== b[k] || a[k + 1] !== b[k + 1] || a[k + 2] !== b[k + 2]) different++;
          }
          return [opaque, different];
        }""",
        [list(content)],
    )
    assert same[0] > 20_000
    assert same[1] == 0


@pytest.mark.parametrize("width", [1440, 900, 480])
def test_nothing_sticks_out(canvas, width):
    opened = canvas(width=width)
    assert opened.locator(".lw").evaluate(STICKING_OUT) == []
    opened.get_by_role("button", name="Compare two").click()
    expect(opened.locator("[data-part=second]")).to_be_visible()
    assert opened.locator(".lw").evaluate(STICKING_OUT) == []


STICKING_OUT = """root => {
          const right = root.getBoundingClientRect().right + 1;
          return [...root.querySelectorAll("*")]
            .filter((e) => !e.closest(".lw-hidden, .lw-table, .lw-tip, .lw-mass-track"))
            .filter((e) => e.getBoundingClientRect().right > right)
            .map((e) => e.className || e.tagName);
        }"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(canvas, scheme):
    opened = canvas(color_scheme=scheme)
    ratios = opened.locator(".lw").evaluate(CONTRAST)
    assert len(ratios) > 20
    low = {name: round(value, 2) for name, value in ratios.items() if value < 4.5}
    assert low == {}


CONTRAST = """root => {
  const paint = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgb = (colours) => {
    paint.clearRect(0, 0, 1, 1);
    for (const colour of colours) {
      paint.fillStyle = colour;
      paint.fillRect(0, 0, 1, 1);
    }
    return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (c) => c.map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const surface = getComputedStyle(document.querySelector("[data-testid=stApp]")).backgroundColor;
  const found = {};
  for (const node of root.querySelectorAll("*")) {
    const words = [...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!words || !node.checkVisibility()) continue;
    if (node.closest(".lw-hidden, .lw-empty, option")) continue;
    const grounds = [];
    for (let e = node; e; e = e.parentElement) grounds.unshift(getComputedStyle(e).backgroundColor);
    const a = light(rgb([surface, ...grounds]));
    const b = light(rgb([surface, ...grounds, getComputedStyle(node).color]));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const name = node.className || node.tagName;
    found[name + ":" + node.textContent.slice(0, 20)] = ratio;
  }
  return found;
}"""

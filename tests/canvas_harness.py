"""The canvas's harness in a browser: how tests open it, turn it and hear what Python knows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from playwright.sync_api import Locator, Page, expect

from tests import browsing, serving
from tests.canvas_views import make_view
from tests.naive_dial import dial_pattern

APP = Path(__file__).parent / "apps" / "canvas_app.py"
LENGTH = 20
BADGE = "[data-part=badge]"


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The harness app's URL."""
    with serving.serve(APP, folder / "server.log", {"PYTHONPATH": str(serving.ROOT)}) as url:
        yield url


def opener(page: Callable[..., Page], url: str) -> Callable[..., Page]:
    """`open(width=1440, dial=0.5, …)` -> a page with the canvas drawn; words go into the URL."""

    def open_it(
        width: int = 1440,
        height: int = 1000,
        color_scheme: str = "light",
        ready: str = BADGE,
        **query: Any,
    ) -> Page:
        opened = page(width=width, height=height, color_scheme=color_scheme)
        opened.goto(f"{url}/?{urlencode({'length': LENGTH, **query})}")
        browsing.settle(opened)
        opened.locator(ready).first.wait_for()
        return opened

    return open_it


def told(opened: Page) -> Locator:
    """Where the harness says what Python knows, as JSON: its runs and the person's choices."""
    return opened.locator('[data-testid="stText"]')


def python_hears(opened: Page, **choices: Any) -> None:
    """Waits until Python's choices are these."""
    for name, value in choices.items():
        written = re.escape(json.dumps(value))
        expect(told(opened)).to_contain_text(re.compile(rf'"{name}": {written}(\.0)?[,}}]'))


def runs(opened: Page) -> int:
    """How often Python has run the page."""
    return json.loads(told(opened).inner_text())["runs"]


def figure(opened: Page, number: int = 0) -> str:
    """Entropy 0, fidelity 1, semantic share 2, odds 3, as the canvas writes them."""
    return opened.locator(".lw-figure .lw-value:not(.lw-value-b)").nth(number).inner_text()


def drag(opened: Page, to: float, release: bool = True) -> None:
    """Moves the slider's thumb to a share of its track, in steps, as a hand does."""
    slider = opened.locator("[data-part=dial]")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box
    left, width, y = box["x"] + 11, box["width"] - 22, box["y"] + box["height"] / 2
    opened.mouse.move(left + float(slider.input_value()) * width, y)
    opened.mouse.down()
    opened.mouse.move(left + to * width, y, steps=6)
    if release:
        opened.mouse.up()


def expected(
    dial: float, layer: int = 0, head: int = 0, computed_at: float | None = None
) -> np.ndarray:
    """The harness's pattern of a head at `dial`, with the scores of the dial `computed_at`."""
    view = make_view(layer, dial if computed_at is None else computed_at, length=LENGTH)
    return dial_pattern(view.scores, view.relevance, dial, view.weights)[head]

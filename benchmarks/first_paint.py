"""(e) The first paint: a new server answers, a new visitor comes, and an example is on the screen.

The canvas shows a stored example before torch and the model are loaded. Every run starts a server
and an empty browser profile; Chromium itself runs already, as it does on a person's desk.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from benchmarks.report import Goal, Row, spread_row
from benchmarks.served import browser, missing, server
from benchmarks.subject import BUNDLED, Subject
from workbench.examples import EXAMPLES, stored_example
from workbench.models import list_models

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LIMIT = Goal(2.0)
_PATIENCE = 120_000  # ms
_MEASURES = (
    "server answers until an example is drawn, first visitor",
    "server answers until an example is drawn, second visitor",
)


def rows(subject: Subject, runs: int) -> Iterator[Row]:
    """The first visitor of a new server, who is the one that counts, and the second."""
    if reason := missing() or no_examples():
        yield Row("e", _MEASURES[0], "", "s", note=reason)
        return
    taken: tuple[list[float], list[float]] = ([], [])
    with browser() as chromium:
        for _ in range(runs):
            with server() as url:
                for seconds in taken:
                    seconds.append(visit(chromium, url))
    for measure, seconds, goal in zip(_MEASURES, taken, (LIMIT, None), strict=True):
        details = {"slowest_s": max(seconds)}
        yield spread_row("e", measure, "", "s", seconds, goal=goal, runs=runs, details=details)


def no_examples() -> str:
    """Why no example can be drawn before the model is loaded, "" where one can."""
    card = next((card for card in list_models() if card.name == BUNDLED), None)
    if card is None:
        return "there is no bundled model yet"
    stored = stored_example(EXAMPLES[0].name)
    if stored is None or stored.model_hash != card.content_hash:
        return "no examples are stored for this model: `python -m workbench examples`"
    return ""


def visit(chromium: Browser, url: str) -> float:
    """Seconds from now until the canvas shows tokens and numbers to a visitor with no memory."""
    began = time.perf_counter()
    context = chromium.new_context(viewport={"width": 1440, "height": 1000})
    try:
        page = context.new_page()
        page.set_default_timeout(_PATIENCE)
        page.goto(url, wait_until="commit")
        page.locator("[data-part=body] [data-part=tokens] >> *").first.wait_for()
        return time.perf_counter() - began
    finally:
        context.close()

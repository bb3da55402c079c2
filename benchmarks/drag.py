"""(d) The dial dragged in Chromium, on the page itself with the model behind it.

A frame counts the canvas's own work, which recomputes every head of the shown layer; what the
browser then needs to bring it onto the screen is not in it. An answer counts from the release of
the mouse until the badge says that Python's numbers have come and agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.report import Goal, Row, spread_row
from benchmarks.served import browser, missing, server
from benchmarks.subject import Subject, save
from benchmarks.timing import Spread, quantile

if TYPE_CHECKING:
    from playwright.sync_api import ElementHandle, Page

LENGTHS = {128: 8.0, 256: 16.0}  # tokens: median milliseconds of a frame, at most
ANSWER = 300.0  # ms, 95 % of the answers
STOPS = (0.9, 0.2, 0.75, 0.05, 1.0, 0.35, 0.6, 0.1)
STEPS = 60  # mouse events of a drag
_PATIENCE = 120_000  # ms
_WATCH = """root => {
  const [badge, dial] = ['badge', 'dial'].map(n => root.querySelector(`[data-part=${n}]`));
  root.__answers = [];
  let since = null;
  dial.addEventListener('change', () => { since = performance.now(); });
  new MutationObserver(() => {
    if (since === null || badge.dataset.kind !== 'good') return;
    root.__answers.push(performance.now() - since);
    since = null;
  }).observe(badge, { attributes: true, attributeFilter: ['data-kind'] });
}"""


@dataclass
class Session:
    """What one page measured, milliseconds: frames a drag, answers to new and to known dials."""

    drags: list[list[float]] = field(default_factory=list)
    fresh: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)


def rows(subject: Subject, runs: int) -> Iterator[Row]:
    """Frames and answers at each length."""
    if reason := missing():
        yield Row("d", "drag frame; release to verified", "", "ms", note=reason)
        return
    with TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        if subject.is_random:
            save(subject, store)
        with server(store) as url, browser() as chromium:
            for length, limit in LENGTHS.items():
                page = chromium.new_page(viewport={"width": 1440, "height": 1000})
                page.set_default_timeout(_PATIENCE)
                page.goto(f"{url}/?model={subject.name}&dial=0.5")
                session = _session(page, subject.text(length), length, runs)
                page.close()
                yield from told(session, length, limit)


def told(session: Session, length: int, limit: float) -> Iterator[Row]:
    """The rows of one length."""
    shape, frames = f"{length} tokens", [time for drag in session.drags for time in drag]
    medians = [Spread.of(drag).median for drag in session.drags]
    yield spread_row(
        "d",
        "drag frame, all heads recomputed, median",
        shape,
        "ms",
        medians,
        goal=Goal(limit),
        runs=len(medians),
        details={"frames": len(frames)},
    )
    yield Row(
        "d",
        "drag frame, all heads recomputed, 95 %",
        shape,
        "ms",
        quantile(frames, 0.95),
        goal=Goal(2 * limit),
        runs=len(medians),
        details={"frames": len(frames)},
    )
    for name, answers, goal in (
        ("release to verified, memo warm, 95 %", session.warm, Goal(ANSWER)),
        ("release to verified, dial value new, 95 %", session.fresh, None),
    ):
        spread = Spread.of(answers)
        yield Row(
            "d",
            name,
            shape,
            "ms",
            quantile(answers, 0.95),
            goal=goal,
            runs=len(answers),
            note=f"median {spread.median:.0f} ms",
            details={"median_ms": spread.median, "answers": [round(each) for each in answers]},
        )


def _session(page: Page, text: str, length: int, runs: int) -> Session:
    """Rounds over `STOPS`: every dial value is new in the first and known in the others."""
    _verified(page)
    area = page.get_by_role("textbox", name="Text", exact=True)
    area.fill(text)
    area.press("Control+Enter")
    page.get_by_text(f"{length} of ").first.wait_for()
    _verified(page)
    root = page.locator("[data-part=root]").element_handle()
    root.evaluate(_WATCH)
    session = Session()
    _drag(page, root, 0.42)  # what only the first drag has to pay is thrown away
    for turn in range(1 + max(2, math.ceil(runs / len(STOPS)))):
        for stop in STOPS:
            frames, answer = _drag(page, root, stop)
            session.drags.append(frames)
            (session.warm if turn else session.fresh).append(answer)
    return session


def _drag(page: Page, root: ElementHandle, to: float) -> tuple[list[float], float]:
    """Frames of one drag to a share of the track, and how long the answer took, ms."""
    slider = page.locator("[data-part=dial]")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    left, width, y = box["x"] + 11, box["width"] - 22, box["y"] + box["height"] / 2
    before, known = root.evaluate("root => [root.__frameTimes.length, root.__answers.length]")
    page.mouse.move(left + float(slider.input_value()) * width, y)
    page.mouse.down()
    page.mouse.move(left + to * width, y, steps=STEPS)
    frames = root.evaluate("(root, n) => root.__frameTimes.slice(n)", before)
    page.mouse.up()
    page.wait_for_function("([root, n]) => root.__answers.length > n", arg=[root, known])
    answer = root.evaluate("root => root.__answers.at(-1)")
    _rest(page)
    return frames, answer


def _verified(page: Page) -> None:
    """Waits until Python's numbers have come, and nothing runs."""
    page.locator("[data-part=badge][data-kind=good]").wait_for()
    page.get_by_text("Loading PyTorch").wait_for(state="detached")
    _rest(page)


def _rest(page: Page) -> None:
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')

"""Takes the pictures of the documentation anew: `python -m tests.screenshots`.

They show the bundled model, so that they are taken again whenever it or a page changes.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests import browsing, serving

FOLDER = serving.ROOT / "docs" / "images"
PATIENCE = 180_000  # ms
LINK = "/?model=bundled&example=orchard&dial=0.8"


def opened(browser: Browser, url: str, width: int, scheme: str) -> Page:
    """The page once Python has answered, in a window as high as all of it."""
    context = browser.new_context(
        viewport={"width": width, "height": 1000},
        color_scheme=scheme,  # pyright: ignore[reportArgumentType]
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page = context.new_page()
    page.goto(url)
    expect(page.get_by_text("Loading PyTorch")).to_have_count(0)
    page.locator("[data-part=badge][data-kind=good]").wait_for()
    page.locator(".js-plotly-plot:visible").wait_for()
    browsing.settle(page)
    height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": width, "height": height})
    return browsing.settle(page)


def pictures(browser: Browser, url: str) -> Iterator[Path]:
    """Writes each picture, and yields where it lies."""
    for name, width, scheme, height in (
        ("dial", 1440, "light", 1480),
        ("dial-dark", 1440, "dark", 1480),
        ("dial-narrow", 900, "light", 2000),
        ("dial-narrow-dark", 900, "dark", 2000),
    ):
        page = opened(browser, url + LINK, width, scheme)
        path = FOLDER / f"{name}.png"
        page.screenshot(path=path, clip={"x": 0, "y": 0, "width": width, "height": height})
        yield path
        if name == "dial":
            for tab in ("Over the whole dial", "Next token", "Heads and blocks", "Beside another"):
                page.get_by_role("tab", name=tab).click()
                expect(page.locator(".js-plotly-plot:visible")).to_have_count(1)
                browsing.settle(page)
                path = FOLDER / f"{tab.lower().replace(' ', '-')}.png"
                page.get_by_test_id("stTabs").screenshot(path=path)
                yield path
        page.context.close()


def main() -> None:
    """Serve the app with an empty store, so that only what ships is seen."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = browsing.find_chromium()
    if path is None:
        raise SystemExit("needs Chromium (apt-get install chromium)")
    with tempfile.TemporaryDirectory() as folder:
        variables = {"LOCALIST_STORE": str(Path(folder) / "store"), "OMP_NUM_THREADS": "1"}
        log = Path(folder) / "server.log"
        with serving.serve(serving.ROOT / "app.py", log, variables) as url, sync_playwright() as p:
            browser = browsing.launch(p, path)
            for picture in pictures(browser, url):
                sys.stdout.write(f"{picture.relative_to(serving.ROOT)}\n")
            browser.close()


if __name__ == "__main__":
    main()

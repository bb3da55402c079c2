"""Chromium for the tests: how it starts, and what every page that it opens is held to."""

from __future__ import annotations

from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, Playwright

from benchmarks import served

FLAGS = (
    *served.FLAGS,
    # No name resolves but this machine's: what a page asks of others fails, and is counted below.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
find_chromium = served.find_chromium
THIS_MACHINE = {"127.0.0.1", "localhost"}
NO_HOST = {"about", "blob", "data"}


def launch(playwright: Playwright, path: str) -> Browser:
    """Starts the browser without a window."""
    return playwright.chromium.launch(executable_path=path, headless=True, args=list(FLAGS))


def is_elsewhere(url: str) -> bool:
    """Whether the URL leads beyond this machine."""
    parts = urlsplit(url)
    return parts.scheme not in NO_HOST and parts.hostname not in THIS_MACHINE


class Guard:
    """Collects what no page may do: raise, log an error, or ask another machine for anything."""

    def __init__(self, context: BrowserContext) -> None:
        self.faults: list[str] = []
        context.on("weberror", lambda event: self._add("uncaught", str(event.error)))
        context.on("console", lambda line: line.type == "error" and self._add("log", line.text))
        context.on("request", lambda request: self._check(request.url))
        context.on("page", lambda page: page.on("websocket", lambda ws: self._check(ws.url)))

    def _add(self, kind: str, text: str) -> None:
        self.faults.append(f"{kind}: {text}")

    def _check(self, url: str) -> None:
        if is_elsewhere(url):
            self._add("request beyond this machine", url)


def settle(page: Page) -> Page:
    """Waits until Streamlit has drawn the page and its script is at rest."""
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')
    return page

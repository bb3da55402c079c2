"""What all tests share: one thread, no network, a printed seed, a server and a browser."""

from __future__ import annotations

import os

# Before torch is imported: two processes with two threads each on two cores take 20 times as long.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "disabled"

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest

from tests import browsing, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = serving.ROOT
SEED = int(os.environ.get("LOCALIST_TEST_SEED", "20"))
PageFactory = Callable[..., "Page"]

# Without a database and with one seed, two runs try the same examples.
hypothesis.settings.register_profile("gate", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("LOCALIST_TEST_PROFILE", "gate"))


def pytest_report_header() -> str:
    """Says how to repeat this run."""
    return f"seed: {SEED} (repeat, or choose another, with LOCALIST_TEST_SEED={SEED})"


def why_no_gpu() -> str | None:
    """The reason that a test on a GPU cannot run, or None."""
    import torch

    return None if torch.cuda.is_available() else "needs a CUDA device, and this machine has none"


def why_no_browser() -> str | None:
    """The reason that a test in a browser cannot run, or None."""
    found = browsing.find_chromium()
    return None if found else "needs Chromium (apt-get install chromium)"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what needs a browser, and skips what this machine lacks the device or browser for."""
    for item in items:
        if "chromium_path" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
    for marker, why in (("gpu", why_no_gpu), ("browser", why_no_browser)):
        marked = [item for item in items if item.get_closest_marker(marker)]
        reason = why() if marked else None
        for item in marked if reason else ():
            item.add_marker(pytest.mark.skip(reason=reason or ""))


@pytest.fixture
def seed() -> int:
    """The run's seed, printed in its first lines."""
    return SEED


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """A fresh generator from the run's seed."""
    return np.random.default_rng(seed)


@pytest.fixture(scope="session", autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tests write into a store of their own, never into a person's."""
    store = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCALIST_STORE", str(store))
        yield store


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The path of Debian's Chromium."""
    path = browsing.find_chromium()
    if path is None:
        pytest.skip(why_no_browser() or "")
    return path


@pytest.fixture(scope="session")
def app_server(own_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of the app, served from this folder with the tests' store."""
    log = tmp_path_factory.mktemp("app") / "server.log"
    with serving.serve(ROOT / "app.py", log, {"LOCALIST_STORE": str(own_store)}) as url:
        yield url


# One a module, not one a session: while Playwright's loop runs, asyncio.run() fails in this thread.
@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    """Chromium, started once a test file."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = browsing.launch(playwright, chromium_path)
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[PageFactory]:
    """Makes pages: `page(width=1280, height=800, color_scheme="light")`, each in a fresh context.

    The test fails when one of them raised, logged an error or asked another machine for anything.
    """
    opened = []

    def make(width: int = 1280, height: int = 800, color_scheme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=color_scheme,  # pyright: ignore[reportArgumentType]
            reduced_motion="reduce",
        )
        context.set_default_timeout(20_000)
        opened.append((context, browsing.Guard(context)))
        return context.new_page()

    yield make
    for context, _ in opened:
        context.close()
    faults = [fault for _, guard in opened for fault in guard.faults]
    assert not faults, "\n".join(faults)

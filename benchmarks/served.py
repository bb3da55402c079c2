"""The app as a person meets it: a server of its own, and Chromium without a window."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from workbench.paths import PROJECT, STORE_VARIABLE

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOST = "127.0.0.1"
APP = PROJECT / "app.py"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
)
PATIENCE = 60.0  # seconds until a server that does not answer has failed


def find_chromium() -> str | None:
    """The path of Debian's Chromium, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def chromium_version() -> str:
    """What Chromium says of itself, "" where there is none."""
    path = find_chromium()
    if path is None:
        return ""
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    return said.stdout.strip()


def missing() -> str:
    """What keeps the page from being measured here, "" where nothing does."""
    if not APP.is_file():
        return "there is no app.py yet"
    if find_spec("playwright") is None:
        return "needs playwright: `make test` installs it"
    if find_chromium() is None:
        return "needs Chromium: `make test` installs it where it may"
    return ""


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium, closed at the end."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=find_chromium(), headless=True, args=list(FLAGS)
        )
        try:
            yield launched
        finally:
            launched.close()


@contextmanager
def server(store: Path | None = None) -> Iterator[str]:
    """The app's URL, as soon as the server answers; store: models beside those that ship."""
    variables = {"OMP_NUM_THREADS": "1"}
    if store is not None:
        variables[STORE_VARIABLE] = str(store)
    with (
        TemporaryDirectory() as folder,
        serve(APP, Path(folder) / "log", variables, PATIENCE) as url,
    ):
        yield url


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def is_healthy(port: int) -> bool:
    """Whether a Streamlit server answers on the port that it is ready."""
    with closing(http.client.HTTPConnection(HOST, port, timeout=2)) as connection:
        try:
            connection.request("GET", "/_stcore/health")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the server and what it started; kills what does not end in five seconds."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
            return
    process.wait()


@contextmanager
def serve(
    script: Path, log: Path, env: Mapping[str, str] | None = None, wait_s: float = 60.0
) -> Iterator[str]:
    """Yields the base URL of `streamlit run script`, its words going to the file `log`.

    Raises AssertionError, with the end of the log, when the server ends or does not answer in time.
    """
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(script)]
    command += ["--server.address", HOST, "--server.port", str(port), "--server.headless", "true"]
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603
            command,
            cwd=PROJECT,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + wait_s
            while not is_healthy(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    said = log.read_text("utf-8", errors="replace")[-2000:]
                    raise AssertionError(f"The server did not come up on port {port}:\n{said}")
                time.sleep(0.02)
            yield f"http://{HOST}:{port}"
        finally:
            stop(process)

"""Starts the app as a person does, on a free port of this machine, and takes it down again."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"


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
        process = subprocess.Popen(
            command,
            cwd=ROOT,
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
                    said = log.read_text(errors="replace")[-2000:]
                    raise AssertionError(f"The server did not come up on port {port}:\n{said}")
                time.sleep(0.1)
            yield f"http://{HOST}:{port}"
        finally:
            stop(process)

"""What this machine cannot run is skipped with its reason, and never passes silently."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.serving import ROOT

PLEA = """
import pytest

@pytest.mark.gpu
def test_gpu():
    raise AssertionError("ran")

def test_browser(page):
    raise AssertionError("ran")

def test_plain(seed, own_store):
    import os
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert os.environ["LOCALIST_STORE"] == str(own_store)
    assert seed == 7
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> str:
    """The words of a pytest run on a machine without a GPU, a browser or a choice of threads."""
    test = tmp_path_factory.mktemp("plea") / "test_plea.py"
    test.write_text(PLEA)
    command = [sys.executable, "-m", "pytest", "-c", "pyproject.toml", "-p", "no:cacheprovider"]
    hidden = {"CUDA_VISIBLE_DEVICES": "", "PATH": str(test.parent), "OMP_NUM_THREADS": "5"}
    done = subprocess.run(
        [*command, "-p", "tests.conftest", "--rootdir", str(ROOT), str(test)],
        cwd=ROOT,
        env={**os.environ, **hidden, "LOCALIST_TEST_SEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "word", ["needs a CUDA device", "needs Chromium", "1 passed, 2 skipped", "seed: 7"]
)
def test_a_skip_says_why(told, word):
    assert word in told

"""The shape of the house: its arrows, its sizes, its words; and that the checks can fail."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import house
from tests.serving import ROOT

REQUIRED = {"app.py", "model", "pages", "requirements.txt", "sample_data", "tests", "workbench"}
BESIDE = {
    ".ci",
    ".gitignore",
    ".streamlit",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "benchmarks",
    "docs",
    "pyproject.toml",
    "requirements-dev.txt",
}
LEFT_BY_TOOLS = {
    ".git",
    ".hypothesis",
    ".pytest_cache",
    ".ruff_cache",
    ".venv",
    "__pycache__",
    "runs",
}
TEXT = {"", ".css", ".html", ".js", ".json", ".md", ".py", ".toml", ".txt"}


def files(*suffixes: str) -> Iterator[tuple[str, Path]]:
    """Every file of the house with one of the suffixes, with its path from the top."""
    for top in sorted((REQUIRED | BESIDE) & {entry.name for entry in ROOT.iterdir()}):
        found = [ROOT / top] if (ROOT / top).is_file() else sorted((ROOT / top).rglob("*"))
        for path in found:
            if path.is_file() and "__pycache__" not in path.parts and path.suffix in suffixes:
                yield path.relative_to(ROOT).as_posix(), path


def faults_of(check, *suffixes: str) -> list[str]:
    return [
        fault for name, path in files(*suffixes) for fault in check(name, path.read_text("utf-8"))
    ]


@pytest.mark.parametrize("check", [house.arrow_faults, house.construct_faults])
def test_imports_follow_the_arrows_and_no_text_becomes_code(check):
    assert faults_of(check, ".py") == []


def test_every_module_is_one_idea_and_says_which():
    assert faults_of(house.shape_faults, ".py", ".js", ".css") == []


def test_no_file_knows_a_machine_or_a_package_index():
    assert faults_of(house.place_faults, *TEXT) == []


def test_nothing_is_left_unfinished():
    assert faults_of(house.unfinished_faults, ".css", ".html", ".js", ".py", "") == []


def test_the_top_level_is_what_the_architecture_says():
    present = {entry.name for entry in ROOT.iterdir()} - LEFT_BY_TOOLS
    assert present - REQUIRED - BESIDE == set()
    assert REQUIRED - present == set()


def test_the_walk_reaches_every_part_of_the_house():
    layers = {house.layer_of(name) for name, _ in files(".py")}
    assert layers >= set(house.ARROWS)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("model/a.py", "import pandas as pd"),
        ("model/a.py", "import plotly.graph_objects as go"),
        ("model/a.py", "def f():\n    from networkx import Graph"),
        ("model/a.py", "if TYPE_CHECKING:\n    import streamlit"),
        ("model/a.py", "from workbench.paths import ROOT"),
        ("model/a/b.py", "from ...workbench import paths"),
        ("model/a.py", "import importlib\nimportlib.import_module('streamlit')"),
        ("model/a.py", "from transformer_lens import HookPoint"),
        ("model/locality/dial.py", "import transformer_lens.utils"),
        ("workbench/a.py", "import streamlit as st"),
        ("workbench/a.py", "from pages import dial"),
        ("workbench/a.py", "import transformer_lens"),
        ("pages/a.py", "import torch"),
        ("pages/a.py", "from model.locality.dial import Dial"),
        ("pages/a.py", "import numpy as np"),
        ("app.py", "import torch"),
        ("app.py", "from model import errors"),
        ("benchmarks/a.py", "import streamlit"),
        ("workbench/a.py", "from tests import house"),
    ],
)
def test_an_import_against_the_arrows_is_found(path, source):
    assert len(list(house.arrow_faults(path, source))) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("model/transformer/hooks.py", "from transformer_lens import HookPoint"),
        ("model/a.py", "import torch, json\nfrom model.errors import DialError\nfrom . import b"),
        ("workbench/a.py", "import plotly, pandas\nfrom model.locality.dial import Dial"),
        ("pages/a.py", "import streamlit as st\nfrom workbench import figures\nimport re"),
        ("app.py", "import streamlit\nfrom workbench import paths\nimport pages"),
        ("tests/a.py", "import torch, streamlit, transformer_lens"),
    ],
)
def test_an_import_along_the_arrows_is_let_through(path, source):
    assert list(house.arrow_faults(path, source)) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from dill import loads",
        "eval('1')",
        "run = exec",
        "__import__('os')",
        "torch.load('x', weights_only=True)",
        "from torch import load",
        "os.system('ls')",
        "frame.to_pickle('x')",
        "subprocess.run('ls', shell=True)",
        "subprocess.run('ls', shell=flag)",
        "np.load('x', allow_pickle=True)",
        "st.markdown('x', unsafe_allow_html=True)",
        "AutoModel.from_pretrained('x', trust_remote_code=True)",
    ],
)
def test_a_construct_that_runs_data_is_found(source):
    assert len(list(house.construct_faults("model/a.py", source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "model.eval()",
        "json.load(file)",
        "np.load('x', allow_pickle=False)",
        "subprocess.run(['ls'], shell=False)",
        "re.compile('x')",
        "'''never eval(text), never import pickle'''",
    ],
)
def test_a_harmless_look_alike_is_let_through(source):
    assert list(house.construct_faults("model/a.py", source)) == []


def test_a_long_file_and_a_silent_module_are_found():
    said = '"""One idea."""\n'
    assert list(house.shape_faults("a.py", said + "x = 1\n" * 299)) == []
    assert len(list(house.shape_faults("a.py", said + "x = 1\n" * 300))) == 1
    assert len(list(house.shape_faults("a.js", "x;\n" * 301))) == 1
    assert len(list(house.shape_faults("a.py", "x = 1\n"))) == 1


@pytest.mark.parametrize("folder", ["root", "home", "work", "tmp"])
def test_a_machine_path_is_found(folder):
    path = "/" + folder + "/x"
    assert len(list(house.place_faults("a.md", f"see\n`{path}`"))) == 1
    assert list(house.place_faults("a.md", f"pages{path} and https://example.org{path}")) == []


def test_a_package_index_and_a_note_to_self_are_found():
    assert len(list(house.place_faults("a.md", "https://" + house.HOSTS[0] + "/simple"))) == 1
    assert len(list(house.unfinished_faults("a.py", "# " + "TO" + "DO: later"))) == 1
    assert list(house.unfinished_faults("a.py", "# to do this")) == []


def test_relative_imports_are_resolved():
    tree = ast.parse("from . import a\nfrom ..blocks import b\nfrom .c import d")
    names = [name for _, name in house.imports_of("model/locality/dial.py", tree)]
    assert names == ["model.locality", "model.blocks", "model.locality.c"]

"""What a newcomer relies on: the pins, the two commands, the shipped server settings."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests import house
from tests.serving import ROOT
from tests.test_house import files

BROUGHT_ALONG = "# What those bring along"
PIN = re.compile(r"^([\w.-]+)==([\w.+!-]+)$")


def pins(text: str) -> dict[str, str]:
    """Name, normalised, and version of every requirement; each line must be one exact pin."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith(("#", "-r ")):
            match = PIN.match(line)
            assert match, f"{line!r} is no exact pin"
            name = normal(match[1])
            assert name not in found, f"{name} is pinned twice"
            found[name] = match[2]
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def public(version: str) -> str:
    """The version without the build that follows a plus: 2.13.0+cpu is 2.13.0."""
    return version.partition("+")[0]


def direct(name: str) -> set[str]:
    """What the file asks for by its own will, above what those bring along."""
    return set(pins((ROOT / name).read_text().partition(BROUGHT_ALONG)[0]))


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_each_pin_is_the_installed_version(name):
    wanted = pins((ROOT / name).read_text())
    have = {pin: public(metadata.version(pin)) for pin in wanted}
    assert have == {pin: public(version) for pin, version in wanted.items()}


@pytest.mark.parametrize(
    "line", ["torch", "torch>=2.13.0", "torch==2.*", "torch==2.13.0\nTorch==1"]
)
def test_a_loose_or_double_pin_is_refused(line):
    with pytest.raises(AssertionError, match="torch"):
        pins(line)


def test_torch_comes_first_and_transformers_stays_where_generation_works():
    wanted = pins((ROOT / "requirements.txt").read_text())
    assert next(iter(wanted)) == "torch"
    assert wanted["torch"] == "2.13.0"
    assert wanted["transformers"] == "5.23.0"


def strangers(layers: set[str]) -> dict[str, str]:
    """Each package, not ours and not Python's, that the layers import, and where."""
    found = {}
    for path, file in files(".py"):
        if house.layer_of(path) in layers:
            for line, name in house.imports_of(path, ast.parse(file.read_text("utf-8"))):
                top = name.partition(".")[0]
                if top not in {*house.ARROWS, "tests", *sys.stdlib_module_names}:
                    found[top] = f"{path}:{line}"
    return found


@pytest.mark.parametrize(
    ("layers", "requirements"),
    [
        (set(house.ARROWS) - {"benchmarks"}, ["requirements.txt"]),
        ({"benchmarks", "tests"}, ["requirements.txt", "requirements-dev.txt"]),
    ],
)
def test_what_the_code_imports_is_asked_for_by_name(layers, requirements):
    asked = set().union(*map(direct, requirements))
    homes = metadata.packages_distributions()
    missing = {
        top: where
        for top, where in strangers(layers).items()
        if not asked & {normal(home) for home in homes.get(top, [])}
    }
    assert missing == {}
    assert "torch" in direct("requirements.txt")


def test_the_commands_in_the_readme_exist():
    named = set(re.findall(r"\bmake ([a-z-]+)", (ROOT / "README.md").read_text("utf-8")))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"app", "test"} <= named
    assert named <= targets


def test_the_modules_that_the_makefile_runs_exist():
    named = set(re.findall(r"\$\(RUN\) -m ([\w.]+)", (ROOT / "Makefile").read_text()))
    assert {"benchmarks", "pytest", "streamlit", "workbench"} <= named
    for name in named:
        spec = find_spec(name)
        assert spec, name
        assert not spec.submodule_search_locations or find_spec(f"{name}.__main__"), name


def test_the_files_that_the_docs_link_to_exist():
    broken = []
    for name, path in files(".md"):
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text("utf-8")):
            if "://" not in target and not (path.parent / target).exists():
                broken.append(f"{name}: {target}")
    assert broken == []


@pytest.mark.parametrize("script", ["run", "setup", "chromium"])
def test_the_scripts_parse_and_may_be_executed(script):
    path = ROOT / ".ci" / script
    assert path.stat().st_mode & 0o111
    assert "set -euo pipefail" in path.read_text()
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0


def in_a_copy(folder: Path, *, python: str) -> subprocess.CompletedProcess[str]:
    """Runs the set-up in a copy of what it needs, with the given command in the place of Python."""
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "setup", folder / ".ci")
    shutil.copy(ROOT / "requirements.txt", folder)
    fake = folder / "python"
    fake.write_text(f"#!/bin/sh\n{python}\n")
    fake.chmod(0o755)
    return subprocess.run(
        [folder / ".ci" / "setup", "app"],
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(fake)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("python", "remedy"),
    [
        ("echo 3.12", "Python 3.11 is needed and .* is 3.12. Install python3.11"),
        ("exit 1", "does not run. Name a Python 3.11"),
        ('case "$2" in *venv*) exit 1;; esac; echo 3.11', "apt-get install python3.11-venv"),
    ],
)
def test_the_set_up_says_what_is_missing(tmp_path, python, remedy):
    done = in_a_copy(tmp_path, python=python)
    assert done.returncode == 1
    assert re.search(remedy, done.stderr), done.stderr
    assert not (tmp_path / ".venv").exists()


def settings() -> dict:
    return tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())


def test_the_server_speaks_to_this_machine_only_and_tells_nobody():
    shipped = settings()
    server = shipped["server"]
    assert server["address"] == "127.0.0.1"
    assert set(server["allowedHosts"]) == {"127.0.0.1", "localhost"}
    assert server["enableCORS"] is True
    assert server["enableXsrfProtection"] is True
    assert server["enableStaticServing"] is False
    assert server["fileWatcherType"] == "none"
    assert 8 < server["maxMessageSize"] <= 32
    assert server["maxUploadSize"] <= 8
    assert shipped["browser"]["gatherUsageStats"] is False
    assert shipped["client"]["showErrorDetails"] == "none"
    assert shipped["runner"]["magicEnabled"] is False


def test_streamlit_knows_every_setting():
    from streamlit import config

    known = set(config.get_config_options())
    named = []

    def walk(prefix: str, table: dict) -> None:
        for key, value in table.items():
            name = f"{prefix}.{key}" if prefix else key
            if isinstance(value, dict):
                walk(name, value)
            else:
                named.append(name)

    walk("", settings())
    assert len(named) > 20
    assert set(named) <= known
    assert "server.noSuchSetting" not in known

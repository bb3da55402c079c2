"""Bad input at the command line: exit code 2, one line on stderr, nothing on stdout or on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.model_dirs import store_of_one
from workbench import paths
from workbench.cli import main

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return store_of_one(tmp_path, monkeypatch, "the cat ate\n")


def refused(capsys: Captured, arguments: list[str]) -> str:
    """The message of a command that must be refused."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err


def sweep(store: Path, **changes: str) -> list[str]:
    options = {"model": "tiny", "text-file": str(store / "texts.txt"), "json": "-", **changes}
    return ["sweep", *(part for key, value in options.items() for part in (f"--{key}", value))]


@pytest.mark.parametrize(
    ("dials", "shown"),
    [("nan", "nan"), ("-0.1", "-0.1"), ("0,1.5", "1.5"), ("inf", "inf"), ("0,high", "'high'"),
     ("", "''"), ("0,,1", "''"), ("0;1", "'0;1'"), ("0.5.1", "'0.5.1'")],
)  # fmt: skip
def test_bad_dials(store: Path, capsys: Captured, dials: str, shown: str) -> None:
    arguments = ["=".join(("--dials", dials))]
    err = refused(capsys, sweep(store) + arguments)
    assert f"Dial is {shown}" in err and err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.parametrize("name", ["absent", "../tiny", "/etc", ""])
def test_bad_models(store: Path, capsys: Captured, name: str) -> None:
    err = refused(capsys, sweep(store, model=name))
    assert repr(name) in err


def test_a_broken_model(store: Path, capsys: Captured) -> None:
    path = store / "models" / "tiny" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    assert "cut short" in refused(capsys, sweep(store))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "holds no text"), (b"\n\r\n\n", "holds no text"), (b"caf\xe9\n", "not UTF-8 (byte 3)")],
)
def test_bad_text_files(store: Path, capsys: Captured, content: bytes, message: str) -> None:
    (store / "texts.txt").write_bytes(content)
    assert message in refused(capsys, sweep(store))


def test_text_files_that_are_none(store: Path, capsys: Captured) -> None:
    assert "Check the path" in refused(capsys, sweep(store, **{"text-file": str(store / "no")}))
    assert "Check the path" in refused(capsys, sweep(store, **{"text-file": str(store)}))


@pytest.mark.parametrize("window", ["0", "1", "-5", "65", "1000000"])
def test_bad_windows(store: Path, capsys: Captured, window: str) -> None:
    err = refused(capsys, [*sweep(store), f"--window={window}"])
    assert "[2, 64]" in err


@pytest.mark.parametrize(
    "more",
    [["--window=x"], ["--gain=loud"], ["--gain=0"], ["--gain=nan"], ["--schedule=odd"],
     ["--schedule=progressive", "--beta=-1"], ["--device=tpu"], ["--surprise=1"]],
)  # fmt: skip
def test_other_bad_options(store: Path, capsys: Captured, more: list[str]) -> None:
    assert refused(capsys, sweep(store) + more).strip()


def test_an_output_that_cannot_be_written_is_said_before_any_work(
    store: Path, capsys: Captured
) -> None:
    write = sweep(store, json=str(store / "no" / "out.json"), model="absent")
    assert "Create the folder first" in refused(capsys, write)
    assert "Create the folder first" in refused(capsys, sweep(store, json=str(store)))
    assert not (store / "no").exists()


def test_a_store_that_cannot_be_written_is_said(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv(paths.STORE_VARIABLE, str(store / "texts.txt"))
    assert main(["models"]) == 0
    capsys.readouterr()
    assert main(["train", "trial"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and "texts.txt" in err


def test_an_old_result_survives_a_refused_sweep(store: Path, capsys: Captured) -> None:
    (store / "out.json").write_text("kept")
    refused(capsys, [*sweep(store, json=str(store / "out.json")), "--dials", "2"])
    assert (store / "out.json").read_text() == "kept"


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["surprise"], ["sweep"], ["train"], ["train", "no-such-preset"],
        ["train", "trial", "--tokens", "0"], ["train", "trial", "--tokens", "many"],
        ["train", "trial", "--seed", "-1"], ["train", "trial", "--out", "../x"],
        ["train", "trial", "--out", "Bad Name"], ["train", "trial", "--set", "gain"],
        ["train", "trial", "--set", "gain=loud"], ["train", "trial", "--device", "tpu"],
        ["train", "trial", "--resume", "--out", "never-begun"], ["train", "trial", "--out", "tiny"],
        ["models", "--json"], ["models", "--json", "/no/such/folder/x.json"],
        ["examples", "--model", "absent"],
    ],
)  # fmt: skip
def test_bad_commands(store: Path, capsys: Captured, arguments: list[str]) -> None:
    before = sorted(path.name for path in (store / "models").iterdir())
    err = refused(capsys, arguments)
    assert err.startswith(("error: ", "usage: "))
    assert sorted(path.name for path in (store / "models").iterdir()) == before

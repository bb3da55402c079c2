"""The `bounds` command: its format, its streams, its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.model_dirs import TEXTS, store_of_one
from workbench.checks import check_texts
from workbench.cli import main
from workbench.models import open_model

KEYS = [
    "name", "dial", "layer", "head", "status", "rows", "rows_not_applicable", "rows_trivial",
    "bound", "measured", "slack", "tolerance", "tightness", "unit",
]  # fmt: skip
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with one model, `tiny`."""
    return store_of_one(tmp_path, monkeypatch, "\n".join(TEXTS) + "\n\n")


def run_bounds(store: Path, out: str, *more: str) -> int:
    texts = str(store / "texts.txt")
    return main(["bounds", "--model", "tiny", "--text-file", texts, "--json", out, *more])


def test_checks_have_the_stated_keys(store: Path, capsys: Captured) -> None:
    assert run_bounds(store, "-", "--dials", "0,0.5,0.9,1", "--window", "12") == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert list(found) == ["model", "assumptions", "checks"] and found["model"] == "tiny"
    names = list(found["assumptions"])
    assert names[:3] == ["fidelity", "entropy", "score range"]
    assert len(found["checks"]) == len(names) * 4 * 2 * 4
    for check in found["checks"]:
        assert list(check) == KEYS
        assert check["name"] in names
        assert check["status"] in ("holds", "fails", "not applicable")
        numbers = [check[key] for key in ("bound", "measured", "slack", "tolerance")]
        if check["status"] == "not applicable":
            assert check["rows"] == 0 and numbers == [None] * 4
        else:
            bound, measured, slack, _ = numbers
            sign = -1 if check["name"] == "fidelity" else 1
            assert slack == pytest.approx(sign * (bound - measured), abs=1e-12)
    statuses = [check["status"] for check in found["checks"]]
    assert f"{statuses.count('holds')} holds" in err and "fails" not in err


def test_a_file_equals_the_service(store: Path, capsys: Captured) -> None:
    path = store / "out.json"
    assert run_bounds(store, str(path), "--dials", "0.75", "--gain", "2") == 0
    out, err = capsys.readouterr()
    assert out == "" and str(path) in err
    expected = check_texts(open_model("tiny"), TEXTS, [0.75], gain=2.0)
    written = json.loads(path.read_text("utf-8"))["checks"]
    assert written == [check.to_dict() for check in expected]
    first = path.read_bytes()
    assert run_bounds(store, str(path), "--dials", "0.75", "--gain", "2") == 0
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--dials", "0,2"], "Dial is 2.0"),
        (["--dials", "a"], "must be a number"),
        (["--window", "1"], "Window is 1"),
        (["--text-file", "nowhere.txt"], "cannot be read"),
        (["--model", "nobody"], "no model of that name"),
        (["--gain", "-1"], "Gain is -1.0"),
        (["--json", "nowhere/out.json"], "folder that exists"),
    ],
)
def test_bad_input_says_what_to_do(
    store: Path, capsys: Captured, more: list[str], message: str
) -> None:
    assert run_bounds(store, str(store / "out.json"), *more) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and message in err
    assert not (store / "out.json").exists()


def test_help_says_what_it_does(capsys: Captured) -> None:
    assert main(["bounds", "--help"]) == 0
    assert "0,0.5,0.9,1" in capsys.readouterr().out

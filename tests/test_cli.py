"""The command line: what goes to which stream, exit codes, and the sweep's format."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from tests.model_dirs import TEXTS, store_of_one, tiny_recipe, tiny_sources
from tests.serving import ROOT
from workbench import cli_train, models, paths
from workbench.cli import main
from workbench.models import list_models, open_model
from workbench.sweep import sweep
from workbench.training import run_training

KEYS = [
    "dial", "nats_per_token", "perplexity", "entropy_bits", "entropy_normalised", "fidelity",
    "relevant_share", "semantic_share", "self_share", "previous_share", "sink_share",
    "fallback_share", "tokens", "heads",
]  # fmt: skip
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with one model, `tiny`."""
    return store_of_one(tmp_path, monkeypatch, "\n".join(TEXTS) + "\n\n")


def test_help_explains_every_command(capsys: Captured) -> None:
    for arguments in (["--help"], ["models", "--help"], ["train", "--help"], ["sweep", "--help"]):
        assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for word in ("models", "train", "sweep", "--json", "--dials", "random-blocks", "--resume"):
        assert word in out


def test_models_lists_them_and_why_one_is_broken(store: Path, capsys: Captured) -> None:
    (store / "models" / "bad").mkdir()
    assert main(["models"]) == 0
    out, err = capsys.readouterr()
    bad, tiny = out.splitlines()
    assert bad.startswith("bad ") and "BROKEN" in bad and "manifest.json" in bad
    assert tiny.startswith("tiny ") and "2 layers × 4 heads" in tiny
    assert err == ""


def test_models_as_json_is_json_alone(store: Path, capsys: Captured) -> None:
    assert main(["models", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    [card] = json.loads(out)["models"]
    assert (card["name"], card["error"]) == ("tiny", "")
    assert card["content_hash"] == list_models()[0].content_hash
    assert err == ""


def test_no_models_is_said_on_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv(paths.STORE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(paths, "SHIPPED_MODELS", tmp_path / "shipped")
    assert main(["models"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and "train trial" in err


def run_sweep(store: Path, out: str, *more: str) -> int:
    texts = str(store / "texts.txt")
    return main(["sweep", "--model", "tiny", "--text-file", texts, "--json", out, *more])


def test_a_sweep_has_the_stated_keys(store: Path, capsys: Captured) -> None:
    assert run_sweep(store, "-", "--dials", "0, 0.5,1", "--window", "12") == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert err == ""
    assert list(found) == ["model", "dials"] and found["model"] == "tiny"
    assert [entry["dial"] for entry in found["dials"]] == [0.0, 0.5, 1.0]
    for entry in found["dials"]:
        assert list(entry) == KEYS
        assert entry["perplexity"] == pytest.approx(math.exp(entry["nats_per_token"]))
        assert [(h["layer"], h["head"]) for h in entry["heads"]] == [
            (layer, head) for layer in range(2) for head in range(4)
        ]
        mean = sum(head["fidelity"] for head in entry["heads"]) / 8
        assert entry["fidelity"] == pytest.approx(mean)
    assert found["dials"][0]["tokens"] == sum(
        len(open_model("tiny").tokenizer.encode(text)) for text in TEXTS
    )


def test_a_sweep_to_a_file_equals_the_service(store: Path, capsys: Captured) -> None:
    path = store / "out.json"
    assert run_sweep(store, str(path), "--dials", "0.75") == 0
    out, err = capsys.readouterr()
    assert out == "" and str(path) in err
    expected = sweep(open_model("tiny"), TEXTS, [0.75])
    assert json.loads(path.read_text("utf-8")) == {"model": "tiny", **expected}
    assert [p.name for p in store.iterdir() if p.name.startswith(".")] == []


def test_a_sweep_takes_schedule_and_gain(store: Path, capsys: Captured) -> None:
    results = []
    for more in ([], ["--gain", "0.5"], ["--schedule", "progressive", "--beta", "3"]):
        assert run_sweep(store, "-", "--dials", "0.9", *more) == 0
        results.append(json.loads(capsys.readouterr().out)["dials"][0]["nats_per_token"])
    assert len(set(results)) == 3


def test_a_model_brings_its_own_gain(store: Path, capsys: Captured) -> None:
    from tests.model_dirs import reseal

    assert run_sweep(store, "-", "--dials", "0.9", "--gain", "0.5") == 0
    expected = capsys.readouterr().out
    path = store / "models" / "tiny" / "provenance.json"
    path.write_text(json.dumps({"preset": {"gain": 0.5}}), "utf-8")
    reseal(path.parent)
    models.forget_models()
    assert run_sweep(store, "-", "--dials", "0.9") == 0
    assert capsys.readouterr().out == expected


def test_lines_are_texts_whatever_ends_them(store: Path, capsys: Captured) -> None:
    assert run_sweep(store, "-", "--dials", "0") == 0
    expected = capsys.readouterr().out
    text = "\ufeff" + "\r\n".join(TEXTS) + "\r\n"
    (store / "texts.txt").write_bytes(text.encode())
    assert run_sweep(store, "-", "--dials", "0") == 0
    assert capsys.readouterr().out == expected


def test_training_speaks_on_stderr_and_names_the_model_on_stdout(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(cli_train, "preset", lambda name: tiny_recipe())
    monkeypatch.setattr(
        cli_train,
        "run_training",
        lambda job, resume: run_training(job, resume, tiny_sources()),
    )
    arguments = ["train", "trial", "--out", "mine", "--device", "cpu", "--set", "long_every=0"]
    assert main([*arguments, "--seed", "7", "--tokens", "640"]) == 0
    out, err = capsys.readouterr()
    name, content_hash, directory = out.split()
    assert name == "mine" and Path(directory) == store / "models" / "mine"
    model = open_model("mine", "cpu")
    assert model.content_hash == content_hash
    said = model.provenance["preset"]
    assert (said["seed"], said["total_tokens"], said["long_every"]) == (7, 640, 0)
    assert "10 steps of 64 tokens" in err and "step     10/10" in err and " left" in err
    assert "validation, dial 1" in err and "reads discovered" in err


def test_the_command_runs_as_a_module(store: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "workbench", "models", "--json", "-"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "tiny" in [card["name"] for card in json.loads(done.stdout)["models"]]
    bad = subprocess.run(
        [*command[:5], "sweep", "--model", "../x", "--text-file", "no", "--json", "-"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (bad.returncode, bad.stdout) == (2, "") and bad.stderr.startswith("error: ")

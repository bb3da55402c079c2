"""Training as a service: whole or nothing, reproducible, and resumed bit for bit after a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from model.errors import CheckpointError, LocalistError, ModelNotFoundError
from model.training.loop import Evaluated, Finished, Progress, Snapshot
from model.training.presets import Preset, preset
from model.transformer.checkpoint import load_model
from tests.model_dirs import tiny_recipe, tiny_sources
from tests.serving import ROOT
from workbench import models, paths, training
from workbench.models import list_models
from workbench.provenance import code_version
from workbench.recipes import recipe_with
from workbench.training import Job, Prepared, Written, run_training
from workbench.training_state import SNAPSHOT

KILLED = """
import os, signal
from model.training.loop import Snapshot
from tests.model_dirs import tiny_recipe, tiny_sources
from workbench import training
training.SNAPSHOT_EVERY = training.REPORT_EVERY = 3
seen, job = 0, training.Job(tiny_recipe(), "cut", "cpu")
for event in training.run_training(job, sources=tiny_sources()):
    seen += isinstance(event, Snapshot)
    if seen == 3:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(paths.STORE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(paths, "SHIPPED_MODELS", tmp_path / "shipped")
    monkeypatch.setattr(training, "SHIPPED_MODELS", tmp_path / "shipped")
    monkeypatch.setattr(training, "SNAPSHOT_EVERY", 3)
    monkeypatch.setattr(training, "REPORT_EVERY", 3)
    models.forget_models()
    return tmp_path


def train(
    name: str, recipe: Preset | None = None, resume: bool = False, **options: bool
) -> list[Any]:
    job = Job(recipe or tiny_recipe(), name, "cpu", **options)
    return list(run_training(job, resume, tiny_sources()))


def files(directory: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_a_run_writes_a_model_that_opens_with_its_provenance(store: Path) -> None:
    events = train("one")
    assert isinstance(events[0], Prepared) and events[0].step == 0
    assert [type(event) for event in events[-2:]] == [Finished, Written]
    assert events[-1].directory == store / "models" / "one"
    model = load_model(events[-1].directory)
    assert model.content_hash == events[-1].content_hash
    said = model.provenance
    assert said["preset"] == json.loads(json.dumps(tiny_recipe().to_dict()))
    assert said["code_sha256"] == code_version() and said["data_sha256"] == "0" * 64
    assert (said["device"], said["precision"], said["threads"], said["seed"]) == (
        "cpu",
        "fp32",
        1,
        3,
    )
    assert said["trained_tokens"] == 12 * 64
    assert said["parameters"] == sum(p.numel() for p in model.decoder.parameters())
    progress = [event for event in events if isinstance(event, Progress)]
    evaluated = [event for event in events if isinstance(event, Evaluated)]
    losses = [entry for entry in said["curve"] if "training" in entry]
    assert [entry["step"] for entry in losses] == [3, 6, 9, 12] == [p.step for p in progress]
    assert losses[-1]["training"] == pytest.approx(progress[-1].loss, abs=1e-6)
    last = said["curve"][-1]["validation"]
    assert list(last) == ["0", "0.5", "1"]
    assert last["1"]["nats"] == evaluated[-1].evaluations[2].nats_per_token
    assert last["1"]["fidelity"] == pytest.approx(1.0)
    assert not (store / "training" / "one").exists()
    assert [card.trained_tokens for card in list_models()] == [768]


def test_two_runs_write_the_same_bytes_and_another_seed_others(store: Path) -> None:
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        train(name, tiny_recipe(seed=seed))
    one, two, three = (files(store / "models" / name) for name in ("one", "two", "three"))
    differ = {name for name in one if one[name] != two[name]}
    assert differ == {"provenance.json", "manifest.json"}  # by the name of the run alone
    said = json.loads(two["provenance.json"])
    assert {**said, "name": "one"} == json.loads(one["provenance.json"])
    assert one["weights.safetensors"] != three["weights.safetensors"]


def test_a_killed_run_leaves_no_model_and_resumes_bit_for_bit(store: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", KILLED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list_models() == []
    with pytest.raises(CheckpointError, match=r"cut short and can go on.*Resume"):
        train("cut")
    events = train("cut", resume=True)
    assert events[0].step == 9
    train("whole")
    cut, whole = (files(store / "models" / name) for name in ("cut", "whole"))
    assert cut["weights.safetensors"] == whole["weights.safetensors"]
    assert cut["reads.json"] == whole["reads.json"]
    curves = [json.loads(each["provenance.json"])["curve"] for each in (cut, whole)]
    assert curves[0] == curves[1] and len(curves[0]) == 5
    assert not (store / "training" / "cut").exists()


@pytest.mark.parametrize("after", [3, 6])
def test_a_run_resumes_before_and_after_discovery(store: Path, after: int) -> None:
    for event in run_training(Job(tiny_recipe(), "cut", "cpu"), sources=tiny_sources()):
        if isinstance(event, Snapshot) and event.step == after:
            assert (event.reads is None) == (after <= 5)
            break
    train("cut", resume=True)
    train("whole")
    cut, whole = (files(store / "models" / name) for name in ("cut", "whole"))
    assert cut["weights.safetensors"] == whole["weights.safetensors"]


def cut_run() -> None:
    for event in run_training(Job(tiny_recipe(), "cut", "cpu"), sources=tiny_sources()):
        if isinstance(event, Snapshot):
            return


def test_a_run_resumes_only_as_it_began(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_run()
    with pytest.raises(CheckpointError, match="began with another recipe"):
        train("cut", tiny_recipe(seed=8), resume=True)
    monkeypatch.setattr(training, "code_version", lambda: "f" * 64)
    with pytest.raises(CheckpointError, match="began with another code_sha256"):
        train("cut", resume=True)
    assert (store / "training" / "cut" / SNAPSHOT).exists()


@pytest.mark.parametrize("kept", [0, 100, -1])
def test_a_damaged_snapshot_is_said(store: Path, kept: int) -> None:
    cut_run()
    path = store / "training" / "cut" / SNAPSHOT
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"Snapshot of the run.*cannot be read"):
        train("cut", resume=True)
    assert isinstance(train("cut", overwrite=True)[-1], Written)


def test_a_run_belongs_to_one_process_at_a_time(store: Path) -> None:
    job = Job(tiny_recipe(), "busy", "cpu")
    first = run_training(job, sources=tiny_sources())
    assert isinstance(next(first), Prepared)
    with pytest.raises(CheckpointError, match=r"'busy': is going on in another process"):
        train("busy")
    assert isinstance(list(first)[-1], Written)
    assert isinstance(train("busy", overwrite=True)[-1], Written)


def test_nothing_is_replaced_unasked(store: Path) -> None:
    train("one")
    before = files(store / "models" / "one")
    with pytest.raises(CheckpointError, match=r"'one': is taken"):
        train("one")
    assert files(store / "models" / "one") == before
    train("one", tiny_recipe(seed=9), overwrite=True)
    assert files(store / "models" / "one") != before
    train("ships", shipped=True)
    assert (store / "shipped" / "ships" / "config.json").is_file()
    with pytest.raises(CheckpointError, match="belongs to a model that ships"):
        train("ships")
    with pytest.raises(ModelNotFoundError, match="no snapshot"):
        train("never", resume=True)


def test_the_random_control_and_the_floor_train(store: Path) -> None:
    random = recipe_with(tiny_recipe(), {"partition": "random"})
    model = load_model(train("random", random)[-1].directory)
    assert model.partition.names == (
        "RANDOM_FUNCTION",
        "RANDOM_ANIMAL",
        "RANDOM_FOOD",
        "RANDOM_SIGN",
    )
    floor = load_model(train("floor", recipe_with(tiny_recipe(), {"reads": "self"}))[-1].directory)
    assert not floor.reads.blocks.any() and floor.reads.allowances[..., 0].all()


def test_a_recipe_is_changed_with_care() -> None:
    trial = preset("trial")
    changed = recipe_with(trial, {"total_tokens": "1536000", "sample_dial": "false", "gain": "2"})
    assert (changed.total_tokens, changed.discovery_tokens) == (1_536_000, 300_000)
    assert (changed.sample_dial, changed.gain, changed.seed) == (False, 2.0, trial.seed)
    kept = recipe_with(trial, {"total_tokens": 1_536_000, "discovery_tokens": 5000})
    assert kept.discovery_tokens == 5000
    assert recipe_with(trial, {"allowances": "previous, self"}).allowances == ("previous", "self")
    assert recipe_with(trial, {"allowances": ""}).allowances == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("surprise", "1"), ("name", "x"), ("gain", "loud"), ("gain", "nan"), ("seed", "1.5"),
        ("seed", "-1"), ("sample_dial", "perhaps"), ("partition", "odd"), ("reads", "all"),
        ("precision", "fp8"), ("threads", "0"), ("batch_tokens", "0"), ("total_tokens", "100"),
        ("total_tokens", "-5"), ("allowances", "next"), ("allowances", "self,self"),
        ("length", "65"), ("learning_rate", "-0.1"), ("d_model", "inf"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused(name: str, value: str) -> None:
    with pytest.raises(LocalistError, match=f"(Setting.*{name}|{name}.*must be)"):
        recipe_with(preset("trial"), {name: value})

"""From a trained model to a certified group-sparse one: subspaces, steps, closing, certificate."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.blocks.directions import block_subspaces
from model.errors import CheckpointError, PartitionError, PenaltyError, SubspaceError
from model.locality.penalties import Groups
from model.locality.prox import prox
from model.locality.support import describe_support, reads_of_support, sentence
from model.training.corpus import Gloss
from model.training.group_step import GroupStep
from model.training.loop import Snapshot
from model.training.sparse import prepared, subspaces_of
from model.training.sparse_presets import SparsePreset, sparse_preset
from model.transformer.checkpoint import load_model
from tests.factories import lively_decoder
from tests.model_dirs import (
    BLOCKS,
    TEXTS,
    reseal,
    tiny_config,
    tiny_recipe,
    tiny_sources,
    write_tiny_model,
)
from workbench import certify as certify_module
from workbench import closing, models, path, paths, sparse, training
from workbench.certificate import differences
from workbench.certify import certify
from workbench.closing import Closed, ClosingStep
from workbench.regularisation_file import path_of
from workbench.sparse import Committed, job_of, run_sparse
from workbench.training import Written

NAMES = BLOCKS.class_names


def tiny_preset(**changes: Any) -> SparsePreset:
    phase = tiny_recipe().with_changes({"discovery_tokens": 0, "share_zero": 0.5, "share_one": 0.3})
    preset = SparsePreset("tiny-sparse", "a test", "base", phase, rank=1, basis_tokens=128)
    preset = preset.with_changes({"closing_threads": 1})
    changes = {"strength": 0.3, "start_tokens": 32, "objective_tokens": 64, **changes}
    return preset.with_changes(changes)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(paths.STORE_VARIABLE, str(tmp_path))
    for module in (paths, training):
        monkeypatch.setattr(module, "SHIPPED_MODELS", tmp_path / "shipped")
    monkeypatch.setattr(training, "SNAPSHOT_EVERY", 3)
    monkeypatch.setattr(sparse, "SNAPSHOT_EVERY", 3)
    monkeypatch.setattr(sparse, "ABLATION_TOKENS", 64)
    monkeypatch.setattr(closing, "_SAVE_EVERY", 1)
    monkeypatch.setattr("workbench.sources.load_sources", tiny_sources)
    monkeypatch.setattr(certify_module, "worst_slacks", lambda model: [])
    monkeypatch.setattr(sparse, "worst_slacks", lambda model: [])
    models.forget_models()
    write_tiny_model(tmp_path / "models" / "base")
    return tmp_path


def made(name: str, resume: bool = False, **changes: Any) -> list[Any]:
    job = job_of(tiny_preset(**changes), name, device="cpu", overwrite=True)
    return list(run_sparse(job, resume, tiny_sources()))


def test_a_run_ends_in_a_certified_model_that_certifies_again(store: Path) -> None:
    events = made("one")
    committed = next(e for e in events if isinstance(e, Committed))
    closed = next(e for e in events if isinstance(e, Closed))
    assert committed.committed == 3  # SIGN occurs in no text
    assert committed.alpha == pytest.approx(0.3 * committed.alpha_max)
    steps = [e for e in events if isinstance(e, ClosingStep)]
    assert steps and closed.residual <= 1e-3 and isinstance(events[-1], Written)
    model = load_model(store / "models" / "one")
    assert model.certificate is not None and model.subspaces is not None
    assert model.certificate["kkt_residual"] <= 1.1e-3 and model.certificate["stationary"]
    assert model.certificate["ablation"]["dead"]["bits"] == 0.0
    assert model.certificate["ablation"]["dead"]["logits_equal"]
    groups = Groups.of(model.config, model.subspaces.ranks)
    z = groups.read(model.decoder)
    assert model.certificate["zero_groups"] == groups.zeros(z).exact
    keys = groups.by_side(groups.alive(z))[:, 1]
    assert (model.reads.blocks[:, :, 0, :3] == keys).all()
    assert not model.reads.blocks[..., 3:].any()
    found, said = certify("one")
    assert said == [] and found["agrees"]
    assert found["kkt_residual"] == pytest.approx(model.certificate["kkt_residual"], abs=1e-6)


def test_two_runs_agree_bit_for_bit_and_so_does_one_that_was_cut(store: Path) -> None:
    made("one")
    job = job_of(tiny_preset(), "cut", device="cpu")
    for event in run_sparse(job, sources=tiny_sources()):
        if isinstance(event, Snapshot) and event.step == 6:
            break
    made("cut", resume=True)
    weights = [store / "models" / name / "weights.safetensors" for name in ("one", "cut")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    for event in run_sparse(replace(job, name="late"), sources=tiny_sources()):
        if isinstance(event, ClosingStep) and event.evaluations > 2:
            break
    made("late", resume=True)
    late = store / "models" / "late" / "weights.safetensors"
    assert late.read_bytes() == weights[0].read_bytes()


def test_an_altered_certificate_or_weight_is_found(store: Path) -> None:
    made("one")
    folder = store / "models" / "one"
    data = json.loads((folder / "certificate.json").read_text())
    data["zero_groups"] += 1
    (folder / "certificate.json").write_text(json.dumps(data))
    models.forget_models()
    with pytest.raises(CheckpointError, match=r"certificate.json.*altered"):
        certify("one")
    reseal(folder)
    models.forget_models()
    _, said = certify("one")
    assert len(said) == 1 and said[0].startswith("zero_groups")


def test_differences_sees_each_number() -> None:
    stored: dict[str, Any] = {
        "groups": 8,
        "zero_groups": 3,
        "zero_group_share": 0.375,
        "objective_sha256": "a",
        "stationary": True,
        "kkt_residual": 1e-4,
        "alpha_over_alpha_max": 0.1,
        "pool_score_share": 0.1,
    }
    assert differences(stored, stored) == []
    changes = {"zero_groups": 4, "kkt_residual": 2e-3, "pool_score_share": float("nan")}
    for name, other in changes.items():
        assert differences({**stored, name: other}, stored)[0].startswith(name)
    assert differences({}, stored)


def test_a_model_without_certificate_and_wrong_names_say_what_to_do(store: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no certificate.*sparsify"):
        certify("base")
    with pytest.raises(Exception, match=r"no such recipe.*bundled-sparse"):
        sparse_preset("nothing")
    (store / "models" / "base" / "path.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not in the manifest"):
        load_model(store / "models" / "base")


def test_subspaces_hold_their_blocks(rng: np.random.Generator) -> None:
    blocks = rng.integers(0, 3, 900)
    centres = rng.normal(size=(3, 12)) * 3
    layers = [centres[blocks] + rng.normal(size=(900, 12)) for _ in range(2)]
    found = block_subspaces(layers, blocks, ("A", "B", "C"), 2)
    assert found.accounts == {"A": 2, "B": 2, "C": 2, "POOL": 6}
    inside = [(layers[0] - layers[0].mean(0)) @ found.of(name).numpy() for name in "ABC"]
    energy = np.stack([np.square(x).sum(axis=1) for x in inside], axis=1)
    assert (energy.argmax(1) == blocks).mean() > 0.6
    with pytest.raises(SubspaceError, match="two directions a layer"):
        block_subspaces(layers, blocks, ("A", "B", "C"), 5)
    same = [np.repeat(layers[0], 1, 0)] * 2
    with pytest.raises(SubspaceError, match="Directions of the blocks"):
        block_subspaces(same, blocks, ("A", "B", "C"), 3)


def test_a_group_step_is_the_prox_of_its_own_metric(rng: np.random.Generator) -> None:
    config = tiny_config()
    decoder = lively_decoder(config, 1)
    groups = Groups.of(config, (2, 2))
    decoder = prepared(decoder, sub := _axes(config.d_model))
    assert sub.d_model == config.d_model
    before = groups.read(decoder).double()
    shape = (*groups.shape[:3], config.d_model)
    full = torch.from_numpy(rng.normal(size=shape)).float()
    gradient = full[..., :4]
    everything = Groups.of(config, (2, 2, config.d_model - 4))
    z = GroupStep(everything, torch.device("cpu"), 1e9).apply(decoder, full, 1e-2, 0.5)[..., :4]
    sizes = torch.tensor([2.0, 2.0]) * config.d_head
    steps = 1e-2 / ((groups.norms(gradient) ** 2 / sizes).sqrt() + 1e-8)
    moved = before - groups.spread(steps) * gradient.double()
    wanted = prox(moved, groups, 0.5, steps)
    assert torch.allclose(z.double(), wanted, atol=1e-6)
    assert (groups.read(decoder) == z).all()
    held = GroupStep(everything, torch.device("cpu"), 0.25).apply(decoder, full, 1e-2, 1e-9)
    norms = everything.norms(held)
    assert (norms[..., -1] <= 0.25 * norms[..., :-1].norm(dim=-1) * (1 + 1e-6)).all()
    killed = GroupStep(everything, torch.device("cpu"), 0.25).apply(decoder, full, 1e-2, 1e9)
    assert not killed.any()


def test_reads_follow_the_key_groups(rng: np.random.Generator) -> None:
    groups = Groups(1, 4, 2, 4, (1, 2))
    alive = torch.zeros(1, 6, 2, dtype=torch.bool)
    alive[0, 4, 1] = True  # key head 0, block B: query heads 0 and 1
    alive[0, 0, 0] = True  # a query group decides nothing
    reads = reads_of_support(alive, groups, ("A", "B"), ("A", "B", "NONE", "BOS"))
    assert reads.blocks[0, :2, :, 1].all() and int(reads.blocks.sum()) == 8
    assert reads.allowances[..., 2].all() and not reads.allowances[..., :2].any()
    words = describe_support(alive, groups, ("A", "B"))[0]
    assert words == ["reads B", "reads B", "reads no block", "reads no block"]
    assert sentence(("A", "B", "C")) == "reads A, B and C"
    with pytest.raises(PartitionError, match="classes of the partition"):
        reads_of_support(alive, groups, ("A", "X"), ("A", "B", "NONE", "BOS"))


def test_prepared_changes_only_the_last_gain() -> None:
    decoder = lively_decoder(tiny_config(), 2)
    with torch.no_grad():
        decoder.ln_final.weight.fill_(1.5)
    sources = tiny_sources()
    subspaces = subspaces_of(decoder, sources.training, NAMES, 1, 128, 16, 3)
    turned = prepared(decoder, subspaces)
    ids = torch.arange(20).view(2, 10)
    assert torch.allclose(turned(ids), decoder(ids), atol=1e-4)
    asked = {p.ndim for p in turned.parameters() if p.requires_grad}
    assert asked == {2}


def test_an_objective_says_what_is_wrong_with_it() -> None:
    from workbench.objective import ObjectiveSpec

    with pytest.raises(PenaltyError, match="exactly dials"):
        ObjectiveSpec.from_dict({"tokens": 3})
    spec = ObjectiveSpec(64, 16, 1, (0.0,), (1.0,), 4.0)
    assert ObjectiveSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def _axes(d_model: int) -> Any:
    from model.blocks.subspaces import Subspaces

    eye = torch.eye(d_model, dtype=torch.float64)
    return Subspaces(("A", "B"), (2, 2), eye)


def test_a_path_is_solved_around_the_model_and_stored_with_it(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made("one")
    windows = path.held_out_windows
    monkeypatch.setattr(path, "TOKENS", 64)
    monkeypatch.setattr(path, "TEST_WINDOWS", 2)
    monkeypatch.setattr(path, "UPWARD", (1.5,))
    monkeypatch.setattr("model.training.corpus.load_glosses", tiny_glosses)
    before = load_model(store / "models" / "one")
    assert len(windows(before, 8)[0].ids) == 8
    events = list(path.trace_path("one"))
    found = path_of("one")
    assert found is not None and len(found.points) == len(events) - 1 >= 5
    strongest = found.points[0]
    assert strongest.strength == 1.0 and strongest.groups_alive <= found.points[-1].groups_alive
    first = events[0]
    assert isinstance(first, path.PathPoint)
    own = first.data["strength"]
    assert all(each.stationary for each in found.points if each.strength >= own)
    for each in found.points:
        assert each.kkt_residual is not None
        assert each.stationary == (each.kkt_residual <= 1e-3)
    after = load_model(store / "models" / "one")
    assert after.content_hash == before.content_hash and after.path is not None
    with pytest.raises(CheckpointError, match="no certificate"):
        list(path.trace_path("base"))


def tiny_glosses() -> list[Gloss]:
    return [
        Gloss(f"n{i:08}", "noun.food", ("cat",), f"{TEXTS[i % 6]} and {i} more") for i in range(600)
    ]

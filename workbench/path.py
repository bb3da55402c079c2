"""The regularisation path of a group-sparse model: the same problem at other strengths.

From the model's own strength outward, up to alpha_max and down, each point warm-started from its
neighbour's solution. One objective for all of them: that of the certificate on fewer tokens, with
the model's reads. What a point costs and shows is measured on test text with the reads of its own
support.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from model.errors import CheckpointError
from workbench.certificate import Claim
from workbench.closing import NOISE
from workbench.models import forget_models, model_directory, open_model
from workbench.objective import copied

if TYPE_CHECKING:
    from torch import Tensor

    from model.locality.penalties import Groups
    from model.transformer.checkpoint import LoadedModel
    from workbench.sweep import Window

FORMAT = 1
TOKENS = 8_192
MEMORY = 40
EVALUATIONS = 150
UPWARD = (2.0, 4.0, 8.0, 16.0)  # times the model's strength, as far as alpha_max
DOWNWARD = (0.7, 0.5, 0.35)
DIALS = (0.0, 0.5, 1.0)
TEST_WINDOWS = 128

_MEASURED = (
    "nats_per_token",
    "perplexity",
    "entropy_bits",
    "entropy_normalised",
    "fidelity",
    "relevant_share",
)


@dataclass(frozen=True)
class PathPoint:
    """One point, solved. strength: alpha over alpha_max; data: as `path.json` holds it."""

    number: int
    points: int
    data: dict[str, Any]


@dataclass(frozen=True)
class PathWritten:
    """The model directory holds the path."""

    content_hash: str


def strengths(own: float) -> tuple[list[float], list[float]]:
    """Fractions of alpha_max: from the model's own up to 1, then those below it, falling."""
    above = [own * factor for factor in UPWARD if own * factor < 0.9]
    return [own, *above, 1.0], [own * factor for factor in DOWNWARD]


def trace_path(name: str) -> Iterator[PathPoint | PathWritten]:
    """Solve and measure each point, then write the path into the model's directory.

    CheckpointError for a model without a certificate. A cut run leaves the directory as it was.
    """
    from model.locality.penalties import Groups
    from model.locality.stationarity import alpha_max
    from workbench.sources import load_sources

    model = open_model(name, "cpu")
    if model.certificate is None or model.subspaces is None:
        raise CheckpointError(
            "Model", name, "has no certificate, hence no strength to start from",
            "Use bundled-sparse, or make one with `python -m workbench sparsify bundled-sparse`",
        )  # fmt: skip
    claim = Claim.from_dict(model.certificate)
    sources = load_sources()
    groups = Groups.of(model.config, model.subspaces.ranks)
    spec = replace(claim.objective, tokens=TOKENS)
    loss = spec.loss(copied(model.decoder), groups, sources.training, model.reads)
    z = groups.read(model.decoder).double()
    _, at_zero = loss(z * 0.0)
    largest = alpha_max(at_zero, groups)
    upward, downward = strengths(min(0.9, claim.alpha / largest))
    windows = held_out_windows(model, spec.length)
    found: dict[float, dict[str, Any]] = {}
    total = len(upward) + len(downward)
    own = z
    for chain in (upward, downward):
        here = own
        for strength in chain:
            here, solved = _solve(loss, groups, strength * largest, here, claim.tolerance)
            own = here if strength == upward[0] else own
            data = _point(model, groups, here, strength, largest, solved, windows)
            found[strength] = data
            yield PathPoint(len(found), total, data)
    path = {
        "format": FORMAT,
        "alpha_max": largest,
        "objective": {
            "tokens": loss.data.tokens,
            "sha256": loss.sha256,
            "dials": list(spec.dials),
            "weights": list(spec.weights),
        },
        "blocks": list(model.subspaces.names),
        "ranks": list(model.subspaces.ranks),
        "layers": model.config.n_layers,
        "heads": model.config.n_heads,
        "kv_heads": model.config.n_kv_heads,
        "own_strength": upward[0],
        "test_windows": {"windows": len(windows), "tokens": len(windows[0].ids)},
        "points": [found[strength] for strength in sorted(found, reverse=True)],
    }
    yield PathWritten(_write(name, model, path))


def _solve(
    loss: Any, groups: Groups, alpha: float, z: Tensor, tolerance: float
) -> tuple[Tensor, dict[str, Any]]:
    """The point of least residual, as float32 keeps it, and what was reached."""
    from model.training.proximal import Stopped, minimise, start

    last: Stopped | None = None
    first = start(loss, z, MEMORY)
    for event in minimise(loss, groups, alpha, first, tolerance, EVALUATIONS, NOISE):
        last = event if isinstance(event, Stopped) else last
    assert last is not None
    step = last.step
    return step.state.z.float().double(), {
        "objective_nats": step.objective,
        "kkt_residual": step.residual.value,
        "stationary": step.residual.value <= tolerance,
    }


def _point(
    model: LoadedModel,
    groups: Groups,
    z: Tensor,
    strength: float,
    largest: float,
    solved: dict[str, Any],
    windows: Sequence[Window],
) -> dict[str, Any]:
    import numpy as np
    import torch

    from model.locality.dial import Dial
    from model.locality.pool_share import pool_share
    from model.locality.support import reads_of_support
    from workbench.sweep import sweep_windows

    assert model.subspaces is not None
    decoder = copied(model.decoder)
    groups.write(decoder, z)
    alive = groups.alive(z)
    reads = reads_of_support(alive, groups, model.subspaces.names, model.partition.class_names)
    subject = replace(model, decoder=decoder, reads=reads)
    rows = sweep_windows(subject, windows, [Dial(value) for value in DIALS])["dials"]
    norms = groups.norms(z)
    query, key = norms.split((groups.n_heads, groups.n_kv_heads), dim=1)
    ids = torch.from_numpy(np.stack([window.ids for window in windows]))
    return {
        "strength": strength,
        "alpha": strength * largest,
        **solved,
        "groups_alive": int(alive.sum()),
        "zero_share": 1.0 - int(alive.sum()) / groups.count,
        "pool_score_share": pool_share(decoder, groups, ids).overall,
        "norms": {"query": query.tolist(), "key": key.tolist()},
        "dials": [{"dial": row["dial"], **{name: row[name] for name in _MEASURED}} for row in rows],
    }


def held_out_windows(model: LoadedModel, length: int) -> list[Window]:
    """The first windows of the test split, filled with whole glosses, `length` tokens each."""
    from model.training.batches import Documents
    from model.training.corpus import load_glosses, split_texts
    from workbench.sweep import Window, cut

    lone = cut(model, split_texts(load_glosses())["test"], model.config.n_ctx)
    documents = Documents(
        [each.ids[1:] for each in lone],
        [each.classes[1:] for each in lone],
        model.tokenizer.bos_id,
        model.partition.bos_id,
    )
    ids, classes = documents.packed(length, seed=0)
    pairs = zip(ids[:TEST_WINDOWS], classes[:TEST_WINDOWS], strict=True)
    return [Window(i.numpy(), c.numpy()) for i, c in pairs]


def _write(name: str, model: LoadedModel, path: dict[str, Any]) -> str:
    from model.transformer.checkpoint import save_model

    content_hash = save_model(
        model_directory(name),
        model.decoder,
        model.tokenizer,
        model.partition,
        model.lexicon,
        model.reads,
        model.provenance,
        subspaces=model.subspaces,
        certificate=model.certificate,
        path=path,
    )
    forget_models()
    return content_hash

"""Reads `path.json` of a model directory with suspicion.

Shapes, ranges, NaN, and each count that follows from the norms: a file that contradicts itself is
refused, and never drawn. Keys that are not known here are passed over.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.errors import CheckpointError, PenaltyError
from workbench.files import read_object
from workbench.inference import read_only
from workbench.memo import Memo
from workbench.models import model_directory
from workbench.regularisation import TOLERANCE, Measured, Point, RegularisationPath

if TYPE_CHECKING:
    from model.transformer.config import DecoderConfig

PATH = "path.json"
_FORMAT = 1
_ROUNDING = 1e-6  # relative, of numbers that follow from others
_LARGEST = 1e300
_HASH = re.compile(r"[0-9a-f]{64}\Z")
_FRACTIONS = ("dial", "entropy_normalised", "fidelity", "relevant_share")

_paths: Memo[RegularisationPath] = Memo(
    16 * 2**20, lambda each: sum(p.query.nbytes + p.key.nbytes for p in each.points)
)


def path_of(name: str) -> RegularisationPath | None:
    """The path of a listed model, None where it has none; errors as in `read_path`."""
    return read_path(model_directory(name))


def read_path(directory: Path) -> RegularisationPath | None:
    """The path in a model directory, None without `path.json`.

    CheckpointError where its hash is not the manifest's or it cannot be read, PenaltyError where it
    contradicts itself or the model.
    """
    from model.transformer.config import DecoderConfig

    if not (directory / PATH).is_file():
        return None
    manifest = read_object(directory / "manifest.json")
    data = read_object(directory / PATH)
    digest = hashlib.sha256((directory / PATH).read_bytes()).hexdigest()
    files = manifest.get("files")
    if not isinstance(files, dict) or files.get(PATH) != digest:
        raise CheckpointError(
            "Model file", f"{directory.name}/{PATH}",
            "was altered or cut short: its hash is not the one in the manifest", "Restore the file",
        )  # fmt: skip
    model_hash = str(manifest.get("content_hash", ""))
    found = _paths.get((model_hash, digest))
    if found is not None:
        return found
    config = DecoderConfig.from_dict(read_object(directory / "config.json"))
    return _paths.put((model_hash, digest), path_from(data, config, model_hash))


def path_from(
    data: Mapping[str, Any], config: DecoderConfig, model_hash: str = ""
) -> RegularisationPath:
    """The path that a file's data describe, of a model of that shape; else PenaltyError."""
    if data.get("format") != _FORMAT:
        raise _wrong("Format", data.get("format"), f"must be {_FORMAT}")
    for key, size in (
        ("layers", config.n_layers), ("heads", config.n_heads), ("kv_heads", config.n_kv_heads),
    ):  # fmt: skip
        if _whole(data, key, 1) != size:
            raise _wrong(key, data[key], f"the model has {size}")
    blocks, ranks = _blocks(data, config.d_model)
    objective = _object(data, "objective")
    dials = tuple(_list(objective, "dials"))
    weights = tuple(_list(objective, "weights"))
    for each in dials:
        _in("Objective dial", each, 0.0, 1.0)
    for each in weights:
        _in("Objective weight", each, 0.0, math.inf)
    if not dials or len(dials) != len(weights):
        raise _wrong("Objective weights", len(weights), f"there are {len(dials)} dials")
    sha256 = objective.get("sha256")
    if not isinstance(sha256, str) or not _HASH.match(sha256):
        raise _wrong("Objective sha256", sha256, "must be 64 hex digits")
    alpha_max = _number(data, "alpha_max", 0.0, math.inf)
    if alpha_max == 0.0:
        raise _wrong("alpha_max", alpha_max, "must be positive")
    shape = config.n_layers, config.n_heads, config.n_kv_heads, len(blocks)
    rows = _list(data, "points")
    points = tuple(_point(f"Point {at}", row, alpha_max, shape) for at, row in enumerate(rows))
    strengths = [point.strength for point in points]
    if not points or any(a <= b for a, b in pairwise(strengths)):
        raise _wrong("Strengths of the points", strengths, "must fall from strong to weak")
    if len({tuple(m.dial for m in point.measured) for point in points}) != 1:
        raise _wrong("Dials of the points", "several lists", "must be the same at each point")
    return RegularisationPath(
        model_hash, alpha_max, _whole(objective, "tokens", 1), sha256, dials, weights,
        blocks, ranks, *shape[:3], config.d_head, points, _own(data, strengths),
    )  # fmt: skip


def _own(data: Mapping[str, Any], strengths: list[float]) -> int | None:
    """Which point the model itself is, where the file says so: it must be one of them."""
    if data.get("own_strength") is None:
        return None
    own = _number(data, "own_strength", 0.0, 1.0)
    for at, strength in enumerate(strengths):
        if math.isclose(strength, own, rel_tol=_ROUNDING):
            return at
    raise _wrong("own_strength", own, "is the strength of none of the points")


def _blocks(data: Mapping[str, Any], d_model: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    blocks, ranks = tuple(_list(data, "blocks")), tuple(_list(data, "ranks"))
    if not blocks or not all(isinstance(each, str) and each.strip() for each in blocks):
        raise _wrong("Blocks", blocks, "must be names")
    if len(set(blocks)) != len(blocks):
        raise _wrong("Blocks", blocks, "must differ")
    if not all(isinstance(r, int) and not isinstance(r, bool) and r >= 1 for r in ranks):
        raise _wrong("Ranks", ranks, "must be whole numbers of at least 1")
    if len(ranks) != len(blocks) or sum(ranks) > d_model:
        raise _wrong("Ranks", ranks, f"need one for each of {len(blocks)} blocks, {d_model} in all")
    return blocks, ranks


def _point(name: str, row: Any, alpha_max: float, shape: tuple[int, int, int, int]) -> Point:
    if not isinstance(row, dict):
        raise _wrong(name, row, "must be an object")
    layers, heads, kv_heads, blocks = shape
    norms = _object(row, "norms", name)
    query = _norms(norms, "query", name, (layers, heads, blocks))
    key = _norms(norms, "key", name, (layers, kv_heads, blocks))
    strength = _number(row, "strength", 0.0, 1.0, name)
    alpha = _number(row, "alpha", 0.0, math.inf, name)
    if not math.isclose(alpha, strength * alpha_max, rel_tol=_ROUNDING):
        raise _wrong(f"{name}, alpha", alpha, f"strength × alpha_max is {strength * alpha_max:g}")
    residual = None
    if strength > 0.0 or row.get("kkt_residual") is not None:
        residual = _number(row, "kkt_residual", 0.0, math.inf, name)
    stationary = row.get("stationary")
    if not isinstance(stationary, bool):
        raise _wrong(f"{name}, stationary", stationary, "must be true or false")
    if stationary and (residual is None or residual > TOLERANCE):
        raise _wrong(f"{name}, stationary", stationary, f"its KKT residual is {residual}")
    alive, total = int((query > 0).sum() + (key > 0).sum()), query.size + key.size
    if _whole(row, "groups_alive", 0, name) != alive:
        raise _wrong(f"{name}, groups_alive", row["groups_alive"], f"{alive} norms are not 0")
    zero_share = _number(row, "zero_share", 0.0, 1.0, name)
    if not math.isclose(zero_share, 1 - alive / total, abs_tol=_ROUNDING):
        raise _wrong(f"{name}, zero_share", zero_share, f"by its norms it is {1 - alive / total:g}")
    return Point(
        strength, alpha, _number(row, "objective_nats", 0.0, math.inf, name), residual, stationary,
        alive, zero_share, _number(row, "pool_score_share", 0.0, 1.0, name), query, key,
        _measured(name, _list(row, "dials", name)),
    )  # fmt: skip


def _measured(name: str, rows: list[Any]) -> tuple[Measured, ...]:
    found = []
    for row in rows:
        if not isinstance(row, dict):
            raise _wrong(f"{name}, dials", row, "must be objects")
        values = {
            key: _number(row, key, 0.0, 1.0 if key in _FRACTIONS else math.inf, name)
            for key in Measured.__annotations__
        }
        each = Measured(**values)
        cost = math.exp(min(each.nats_per_token, 700.0))
        if not math.isclose(each.perplexity, cost, rel_tol=1e-4):
            raise _wrong(f"{name}, perplexity", each.perplexity, "must be exp(nats_per_token)")
        found.append(each)
    dials = [each.dial for each in found]
    if not dials or any(a >= b for a, b in pairwise(dials)):
        raise _wrong(f"{name}, dials", dials, "must rise")
    return tuple(found)


def _norms(data: Mapping[str, Any], side: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float64, read-only; PenaltyError for another shape, and for what is no number of >= 0."""
    rows = _list(data, side, name)
    kinds = {type(cell) for layer in rows if isinstance(layer, list) for head in layer
             if isinstance(head, list) for cell in head}  # fmt: skip
    try:
        found = np.array(rows, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise _wrong(f"{name}, {side} norms", "ragged", f"must have the shape {shape}") from error
    if found.shape != shape or not kinds <= {int, float}:
        raise _wrong(f"{name}, {side} norms", found.shape, f"must be numbers of shape {shape}")
    wrong = ~(np.isfinite(found) & (found >= 0))
    if wrong.any():
        raise _wrong(
            f"{name}, {side} norms", float(found[wrong][0]), "must be finite and at least 0"
        )
    return read_only(found)


def _object(data: Mapping[str, Any], key: str, name: str = "Path") -> dict[str, Any]:
    found = data.get(key)
    if not isinstance(found, dict):
        raise _wrong(f"{name}, {key}", found, "must be an object")
    return found


def _list(data: Mapping[str, Any], key: str, name: str = "Path") -> list[Any]:
    found = data.get(key)
    if not isinstance(found, list):
        raise _wrong(f"{name}, {key}", found, "must be a list")
    return found


def _number(
    data: Mapping[str, Any], key: str, low: float, high: float, name: str = "Path"
) -> float:
    return _in(f"{name}, {key}", data.get(key), low, high)


def _in(subject: str, value: Any, low: float, high: float) -> float:
    """The value as a finite float in [low, high] but for rounding, cut to it; bools are refused."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not low <= value <= min(high + 1e-9, _LARGEST):  # NaN is in no range
        span = f"must be finite and at least {low:g}" if math.isinf(high) else (
            f"must lie in [{low:g}, {high:g}]"
        )  # fmt: skip
        raise _wrong(subject, value, span)
    return min(float(value), high)


def _whole(data: Mapping[str, Any], key: str, least: int, name: str = "Path") -> int:
    value = data.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise _wrong(f"{name}, {key}", value, f"must be a whole number of at least {least}")
    return value


def _wrong(subject: str, value: object, rule: str) -> PenaltyError:
    return PenaltyError(f"{subject} in {PATH}", value, rule, "Train the path anew, or restore it")

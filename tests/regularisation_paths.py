"""Synthetic regularisation paths for tests: files as training writes them, with made-up numbers."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from model.transformer.config import DecoderConfig

BLOCKS, RANKS = ("FOOD", "PLANT", "ANIMAL"), (4, 3, 2)
STRENGTHS = (1.0, 0.5, 0.1, 0.01)
ALPHA_MAX = 0.0125


def made_up(
    config: DecoderConfig,
    rng: np.random.Generator,
    blocks: tuple[str, ...] = BLOCKS,
    ranks: tuple[int, ...] = RANKS,
    strengths: tuple[float, ...] = STRENGTHS,
) -> dict[str, Any]:
    """The data of `path.json`: nothing alive at the first point, more at each one after.

    The last point is not stationary.
    """
    sides = {"query": config.n_heads, "key": config.n_kv_heads}
    ceilings = {s: rng.random((config.n_layers, n, len(blocks))) for s, n in sides.items()}
    points = []
    for at, strength in enumerate(strengths):
        norms = {
            s: np.maximum(0.0, each - (1 - at / len(strengths))) for s, each in ceilings.items()
        }
        alive = sum(int((each > 0).sum()) for each in norms.values())
        total = sum(each.size for each in norms.values())
        nats = 4.0 + 0.2 * strength
        residual = 4e-4 if at < len(strengths) - 1 else 2e-2
        points.append(
            {
                "strength": strength,
                "alpha": strength * ALPHA_MAX,
                "objective_nats": nats + 0.3,
                "kkt_residual": residual,
                "stationary": residual <= 1e-3,
                "groups_alive": alive,
                "zero_share": 1 - alive / total,
                "pool_score_share": 0.1 + 0.5 * strength,
                "norms": {side: each.tolist() for side, each in norms.items()},
                "dials": [_measured(dial, nats + dial) for dial in (0, 0.5, 1)],
            }
        )
    return {
        "format": 1,
        "alpha_max": ALPHA_MAX,
        "objective": {
            "tokens": 65536, "sha256": "ab" * 32, "dials": [0.0, 0.5, 1.0],
            "weights": [0.25, 0.5, 0.25],
        },
        "blocks": list(blocks),
        "ranks": list(ranks),
        "layers": config.n_layers,
        "heads": config.n_heads,
        "kv_heads": config.n_kv_heads,
        "points": points,
    }  # fmt: skip


def add_path(directory: Path, rng: np.random.Generator, **more: Any) -> dict[str, Any]:
    """Write a made-up path into a model directory, and its hash into the manifest; its data."""
    config = DecoderConfig.from_dict(json.loads((directory / "config.json").read_text("utf-8")))
    data = made_up(config, rng, **more)
    content = json.dumps(data).encode()
    (directory / "path.json").write_bytes(content)
    manifest = json.loads((directory / "manifest.json").read_text("utf-8"))
    manifest["files"]["path.json"] = hashlib.sha256(content).hexdigest()
    (directory / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    return data


def _measured(dial: float, nats: float) -> dict[str, float]:
    return {
        "dial": dial,
        "nats_per_token": nats,
        "perplexity": math.exp(nats),
        "entropy_bits": 2.0 - dial,
        "entropy_normalised": 0.5 - 0.2 * dial,
        "fidelity": 0.4 + 0.6 * dial,
        "relevant_share": 0.3,
    }

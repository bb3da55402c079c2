"""Golden vectors of the dial: inputs that float32 holds exactly, answers in float64.

`python -m tests.dial_vectors` writes tests/golden/dial_vectors.json again; a test holds the file to
what this module builds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.naive_dial import (
    dial_pattern,
    head_means,
    normalised,
    relation_codes,
    row_measures,
)

GOLDEN = Path(__file__).parent / "golden" / "dial_vectors.json"
N_CLASSES = 5
NEAR_ONE = 1.0 - 1e-12


def build() -> dict[str, Any]:
    """All cases; the same every time."""
    rng = np.random.default_rng(17)
    cases = []

    def add(name: str, tokens: int, heads: int = 2, **changes: Any) -> None:
        cases.append(_case(name, rng, tokens, heads, **changes))

    for dial in (0.0, 0.37, 0.9, NEAR_ONE, 1.0):
        add(f"random at dial {dial!r}", 7, dial=dial)
    add("one token", 1, dial=0.6)
    add("two tokens at dial 1", 2, dial=1.0)
    add("graded relevance", 6, dial=0.5, graded=True)
    add("graded relevance at dial 1", 6, dial=1.0, graded=True)
    add("many grades", 9, dial=0.7, graded=True, levels=40)
    add("equal scores", 6, dial=0.8, scale=0.0)
    add("rows without a relevant key", 6, dial=0.75, share=0.0)
    add("some rows without a relevant key at dial 1", 6, dial=1.0, share=0.15)
    add("everything relevant", 5, dial=1.0, share=1.0)
    add("scores of 80 nats", 6, dial=0.5, scale=80.0)
    add("scores of 80 nats at dial 1", 6, dial=1.0, scale=80.0)
    add("a warmer temperature", 6, dial=0.6, temperature=2.5)
    add("a colder temperature at dial 1", 6, dial=1.0, temperature=0.5)
    add("another gain", 6, dial=0.6, gain=1.25)
    add("weights of a schedule", 6, heads=3, dial=0.9, weights=[0.0, 0.5, 1.0])
    add("negative zero", 4, dial=0.5, scale=0.0, negative_zero=True)
    return {"classes": N_CLASSES, "cases": cases}


def _case(
    name: str,
    rng: np.random.Generator,
    tokens: int,
    heads: int,
    *,
    dial: float,
    gain: float = 4.0,
    temperature: float = 1.0,
    weights: list[float] | None = None,
    scale: float = 2.0,
    share: float = 0.4,
    graded: bool = False,
    levels: int = 5,
    negative_zero: bool = False,
) -> dict[str, Any]:
    shape = (heads, tokens, tokens)
    scores = np.tril(rng.normal(0.0, 1.0, shape)).astype(np.float32) * np.float32(scale)
    if scale >= 80.0:
        scores = np.clip(scores, -80.0, 80.0)
    if negative_zero:
        scores = np.full(shape, -0.0, np.float32)
    relevance = (rng.random(shape) < share).astype(np.float32)
    if graded:
        relevance *= (rng.integers(1, levels + 1, shape) / levels).astype(np.float32)
    relevance = np.tril(relevance)
    classes = rng.integers(0, N_CLASSES - 1, tokens)
    classes[0] = N_CLASSES - 1
    relation = relation_codes(classes, N_CLASSES - 1)
    used = np.array(weights if weights is not None else [1.0] * heads)
    pattern = dial_pattern(scores, relevance, dial, used, gain, temperature)
    rows = row_measures(pattern, relevance, relation, classes, N_CLASSES)
    lower = np.tril_indices(tokens)
    return {
        "name": name,
        "heads": heads,
        "tokens": tokens,
        "dial": dial,
        "gain": gain,
        "temperature": temperature,
        "weights": used.tolist(),
        "scores": scores[:, *lower].tolist(),
        "relevance": relevance[:, *lower].tolist(),
        "relation": relation[lower].tolist(),
        "sink_class": N_CLASSES - 1,
        "token_classes": classes.tolist(),
        "pattern": pattern[:, *lower].tolist(),
        "entropy_bits": head_means(rows["entropy_bits"]).tolist(),
        "entropy_normalised": head_means(normalised(rows["entropy_bits"])).tolist(),
        "fidelity": head_means(rows["fidelity"]).tolist(),
        "shares": head_means(rows["shares"]).tolist(),
        "class_mass": head_means(rows["class_mass"]).tolist(),
        "row_entropy_bits": rows["entropy_bits"].tolist(),
        "row_fidelity": rows["fidelity"].tolist(),
        "fallback": [
            [bool(relevance[h, i, : i + 1].max() == 0) for i in range(tokens)]
            for h in range(heads)
        ],
    }  # fmt: skip


def load() -> dict[str, Any]:
    """The stored file."""
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


def as_text() -> str:
    """What the stored file must hold."""
    return json.dumps(build(), indent=None, separators=(",", ":")).replace('{"name"', '\n{"name"')


if __name__ == "__main__":
    GOLDEN.write_text(as_text() + "\n", encoding="utf-8")

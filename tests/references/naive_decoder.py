"""A Llama-family decoder with the dial, in float64 numpy loops, straight from the formulas."""

from __future__ import annotations

import math

import numpy as np

Weights = dict[str, np.ndarray]


def norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    return x / math.sqrt(float((x**2).mean()) + eps) * weight


def rotate(x: np.ndarray, position: int, theta: float) -> np.ndarray:
    half = len(x) // 2
    out = np.empty_like(x)
    for pair in range(half):
        angle = position * theta ** (-2 * pair / len(x))
        a, b = x[pair], x[pair + half]
        out[pair] = a * math.cos(angle) - b * math.sin(angle)
        out[pair + half] = b * math.cos(angle) + a * math.sin(angle)
    return out


def pattern_row(
    scores: list[float], relevance: list[float], dial: float, gain: float, temperature: float
) -> list[float]:
    """One row of attention over its visible keys, by the formula, with the fallback."""
    if dial == 0:
        shifted = list(scores)
    else:
        r = list(relevance)
        if max(r) == 0:
            r[-1] = 1.0
        top = max(r)
        tau = 1 + (temperature - 1) * dial
        shifted = []
        for s, each in zip(scores, r, strict=True):
            if each == top:
                shifted.append(s / tau)
            elif dial == 1:
                shifted.append(-math.inf)
            else:
                shifted.append(s / tau + gain * math.log1p(-dial) * (top - each))
    largest = max(shifted)
    weights = [math.exp(s - largest) for s in shifted]
    return [w / sum(weights) for w in weights]


def logits(
    weights: Weights,
    ids: list[int],
    n_heads: int,
    n_kv_heads: int,
    eps: float,
    theta: float,
    relevance: np.ndarray | None = None,
    dial: float = 0.0,
    gain: float = 4.0,
    temperature: float = 1.0,
) -> np.ndarray:
    """Logits [position, vocabulary]; relevance [layer, head, query, key] or None."""
    embed = weights["embed.weight"]
    stream = [embed[i].copy() for i in ids]
    d_head = weights["blocks.0.attn.q.weight"].shape[0] // n_heads
    layer = 0
    while f"blocks.{layer}.attn.q.weight" in weights:
        w = {
            name.split(f"blocks.{layer}.")[1]: value
            for name, value in weights.items()
            if name.startswith(f"blocks.{layer}.")
        }
        normed = [norm(x, w["ln1.weight"], eps) for x in stream]
        queries = [(w["attn.q.weight"] @ x).reshape(n_heads, d_head) for x in normed]
        keys = [(w["attn.k.weight"] @ x).reshape(n_kv_heads, d_head) for x in normed]
        values = [(w["attn.v.weight"] @ x).reshape(n_kv_heads, d_head) for x in normed]
        for i in range(len(ids)):
            heads = []
            for h in range(n_heads):
                shared = h // (n_heads // n_kv_heads)
                q = rotate(queries[i][h], i, theta)
                scores = [
                    float(q @ rotate(keys[j][shared], j, theta)) / math.sqrt(d_head)
                    for j in range(i + 1)
                ]
                r = (
                    [0.0] * (i + 1)
                    if relevance is None
                    else [float(v) for v in relevance[layer, h, i, : i + 1]]
                )
                row = pattern_row(scores, r, dial, gain, temperature)
                heads.append(sum(p * values[j][shared] for j, p in enumerate(row)))
            stream[i] = stream[i] + w["attn.o.weight"] @ np.concatenate(heads)
        for i, x in enumerate(stream):
            y = norm(x, w["ln2.weight"], eps)
            gate = w["mlp.gate.weight"] @ y
            inner = gate / (1 + np.exp(-gate)) * (w["mlp.up.weight"] @ y)
            stream[i] = x + w["mlp.down.weight"] @ inner
        layer += 1
    final = [norm(x, weights["ln_final.weight"], eps) for x in stream]
    return np.stack([weights["unembed.weight"] @ x for x in final])

"""A made-up model for the canvas's tests: blocks in a text, heads that read, layers that drift."""

from __future__ import annotations

import hashlib
import re

import numpy as np

from tests.naive_dial import (
    dial_pattern,
    head_means,
    normalised,
    relation_codes,
    row_measures,
)
from workbench.canvas import DialView

CLASSES = ("FOOD", "ANIMAL", "PLANT", "PERSON", "PLACE", "TIME", "MOTION", "NONE", "BOS")
TITLES = (
    "food and drink", "animals", "plants", "people", "places", "time", "motion",
    "no block", "begin of text",
)  # fmt: skip
WORDS = {
    "FOOD": "bread honey soup jam apple apples cake milk cheese feast",
    "ANIMAL": "fox bear bears hen owl wolf geese",
    "PLANT": "oak fern moss berries roots orchard",
    "PERSON": "baker farmer children grandmother miller",
    "PLACE": "village kitchen forest hill river mill",
    "TIME": "morning evening winter night day autumn",
    "MOTION": "walked ran came carried crossed went climbed followed",
}
TEXT = (
    "In the autumn the grandmother walked from the village to the forest, where a fox and two "
    "bears followed her past the oak and the fern. She carried bread, honey and a cake for "
    "the feast. By evening the children came down the hill with apples and berries from the "
    "orchard, and the miller crossed the river with cheese and milk. That night the owl and "
    "the wolf went home, and the baker climbed the hill to the mill to make soup for the "
    "morning."
)
N_LAYERS, N_HEADS = 4, 9


def pieces(text: str) -> list[str]:
    return ["<bos>", *re.findall(r"\s?\w+|\s?[^\w\s]", text)]


def class_of(token: str) -> tuple[int, str]:
    if token == "<bos>":
        return len(CLASSES) - 1, "begin of text"
    word = token.strip().lower()
    for index, name in enumerate(CLASSES[:-2]):
        if word in WORDS[name].split():
            return index, f"lexicon: '{word}' is {name} (score 0.83, margin 0.61)"
    return len(CLASSES) - 2, "no block: best is FOOD at 0.31, below 0.5"


def tokens_of(text: str, length: int | None) -> list[str]:
    found = pieces(text)
    while length and len(found) < length:
        found += pieces(text)[1:]
    return found[:length] if length else found


def make_view(
    layer: int = 0,
    dial: float = 0.0,
    *,
    text: str = TEXT,
    length: int | None = None,
    n_heads: int = N_HEADS,
    temperature: float = 1.0,
    gain: float = 4.0,
    weights: np.ndarray | None = None,
    error: float = 0.0,
) -> DialView:
    """One layer at one dial; scores above layer 0 drift with it. `error` spoils Python's answer."""
    tokens = tokens_of(text, length)
    found = [class_of(token) for token in tokens]
    classes = np.array([c for c, _ in found])
    count = len(tokens)
    relation = relation_codes(classes, len(CLASSES) - 1)
    weights = np.ones(n_heads) if weights is None else weights
    relevance = _relevance(classes, relation, layer, n_heads)
    scores = _scores(classes, layer, n_heads, dial if layer else 0.0)
    grid = {"entropy": [], "fidelity": [], "semantic_share": [], "sink_share": []}
    for each in range(N_LAYERS):
        pattern = dial_pattern(
            _scores(classes, each, n_heads, dial if each else 0.0),
            _relevance(classes, relation, each, n_heads), dial, weights, gain, temperature,
        )  # fmt: skip
        rows = row_measures(
            pattern, _relevance(classes, relation, each, n_heads), relation, classes, len(CLASSES)
        )
        grid["entropy"].append(head_means(normalised(rows["entropy_bits"])))
        grid["fidelity"].append(head_means(rows["fidelity"]))
        grid["semantic_share"].append(head_means(rows["shares"])[:, 3])
        grid["sink_share"].append(head_means(rows["shares"])[:, 1])
        if each == layer:
            own, measured = pattern, rows
    return DialView(
        subject=hashlib.sha256(f"{tokens}{gain}{temperature}".encode()).hexdigest(),
        model_name="made-up",
        model_hash=hashlib.sha256(b"made-up").hexdigest(),
        tokens=tuple(tokens),
        reasons=tuple(reason for _, reason in found),
        classes=classes,
        class_names=CLASSES,
        class_titles=TITLES,
        layer=layer,
        n_layers=N_LAYERS,
        scores=scores,
        relevance=relevance,
        relation=relation,
        weights=weights,
        dial=dial,
        gain=gain,
        temperature=temperature,
        exact=layer == 0,
        pattern=(own + error * np.eye(count)).astype(np.float32),
        entropy_bits=head_means(measured["entropy_bits"]),
        fidelity=head_means(measured["fidelity"]),
        grid={name: np.stack(rows) for name, rows in grid.items()},
        head_notes=tuple(_note(layer, h) for h in range(n_heads)),
    )


def _blocks_read(layer: int, head: int) -> tuple[int, ...]:
    return ((head + layer) % 7, (head * 2 + layer + 3) % 7)


def _note(layer: int, head: int) -> str:
    return ", ".join(CLASSES[b] for b in _blocks_read(layer, head)) + "; also self, sink"


def _relevance(classes: np.ndarray, relation: np.ndarray, layer: int, heads: int) -> np.ndarray:
    out = np.zeros((heads, len(classes), len(classes)), np.float32)
    for h in range(heads):
        read = np.isin(classes, _blocks_read(layer, h))
        out[h] = read[None, :] | ((relation & 5) > 0) if h else np.broadcast_to(read, out[h].shape)
    return np.tril(out)


def _scores(classes: np.ndarray, layer: int, heads: int, drift: float) -> np.ndarray:
    count = len(classes)
    rng = np.random.default_rng(layer)
    out = rng.normal(0.0, 1.1, (heads, count, count))
    moved = rng.normal(0.0, 0.5, (heads, count, count))
    distance = np.arange(count)[:, None] - np.arange(count)[None, :]
    for h in range(heads):
        same = (classes[:, None] == classes[None, :]) & (classes[None, :] < len(CLASSES) - 2)
        out[h] += 1.6 * same * ((h + 1) / heads) - 0.02 * (h + 1) * np.abs(distance)
        out[h][:, 0] += 2.0 * ((heads - h) / heads)
    return np.tril(out + drift * moved).astype(np.float32)

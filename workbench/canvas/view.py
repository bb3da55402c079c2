"""What the canvas shows: one layer of one prompt, as plain values and arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from workbench.canvas.events import DialEvent
from workbench.canvas.payload import CanvasError, encode_payload

# Beyond this many distinct relevance values they travel as float32 instead of a code each.
_MOST_LEVELS = 16


@dataclass(frozen=True)
class DialView:
    """One layer, every head, ready to be dialled in the browser.

    subject: identity of what is on the screen (model, token ids, rules): when it changes, the
        canvas drops its own dial and selection and takes the view's.
    tokens, reasons: T display strings and why each token has its class.
    classes: int [T], index into class_names (blocks, then NONE, then BOS), which class_titles spell
        out for people.
    class_colours: one CSS colour a class, or empty for the canvas's own colour-blind-safe ones.
    scores: [H, T, T] nats, scaled by 1/sqrt(d_head), before the dial; only j <= i is read.
    relevance: r in [0, 1], [H, T, T], before the fallback; only j <= i is read.
    relation: uint8 [T, T], self 1, previous 2, sink 4, added.
    weights: [H] in [0, 1], the schedule's weight of each head of this layer.
    exact: the scores do not depend on the dial (first layer); otherwise they hold at `dial`.
    pattern, entropy_bits, fidelity: Python's own answer at `dial`: [H, T, T], [H], [H]
        (means over rows that see at least two keys).
    grid: metric name -> [n_layers, H] at `dial`; `entropy` (normalised) and `fidelity` at least.
    head_notes: one sentence a head of this layer, e.g. what it reads; may be empty.
    """

    subject: str
    model_name: str
    model_hash: str
    tokens: tuple[str, ...]
    reasons: tuple[str, ...]
    classes: np.ndarray
    class_names: tuple[str, ...]
    class_titles: tuple[str, ...]
    layer: int
    n_layers: int
    scores: np.ndarray
    relevance: np.ndarray
    relation: np.ndarray
    weights: np.ndarray
    dial: float
    gain: float
    temperature: float
    exact: bool
    pattern: np.ndarray
    entropy_bits: np.ndarray
    fidelity: np.ndarray
    grid: Mapping[str, np.ndarray]
    class_colours: tuple[str, ...] = ()
    head_notes: tuple[str, ...] = ()
    schedule: str = "uniform"

    @property
    def n_heads(self) -> int:
        return self.scores.shape[0]

    @property
    def n_tokens(self) -> int:
        return len(self.tokens)

    def __post_init__(self) -> None:
        tokens, heads = len(self.tokens), self.scores.shape[0] if self.scores.ndim else 0
        if not tokens or not heads:
            raise CanvasError("View", (heads, tokens), "needs a head and a token", "Encode a text")
        square, per_head = (heads, tokens, tokens), (heads,)
        for name, shape in (
            ("scores", square), ("relevance", square), ("pattern", square),
            ("relation", square[1:]), ("classes", (tokens,)), ("weights", per_head),
            ("entropy_bits", per_head), ("fidelity", per_head),
        ):  # fmt: skip
            _require_shape(name, getattr(self, name), shape)
        for name in ("entropy", "fidelity"):
            if name not in self.grid:
                raise CanvasError("Grid", sorted(self.grid), f"must hold {name!r}", "Add it")
        for name, array in self.grid.items():
            _require_shape(f"grid {name}", array, (self.n_layers, heads))
        self._check_counts(heads)
        self._check_values()

    def _check_counts(self, heads: int) -> None:
        counts = (
            ("reasons", self.reasons, self.n_tokens, False),
            ("class_titles", self.class_titles, len(self.class_names), False),
            ("class_colours", self.class_colours, len(self.class_names), True),
            ("head_notes", self.head_notes, heads, True),
        )
        for name, values, wanted, may_be_empty in counts:
            if len(values) != wanted and not (may_be_empty and not values):
                raise CanvasError(
                    f"View's {name}", len(values), f"needs {wanted} of them", "Give one each"
                )
        if self.classes.min() < 0 or self.classes.max() >= len(self.class_names):
            raise CanvasError(
                "View's classes",
                int(self.classes.max()),
                f"must index the {len(self.class_names)} class names",
                "Partition the prompt again",
            )
        if not 0 <= self.layer < self.n_layers:
            raise CanvasError(
                "View's layer", self.layer, f"must lie in 0 … {self.n_layers - 1}", "Pick one"
            )

    def _check_values(self) -> None:
        if not 0.0 <= self.dial <= 1.0:
            raise CanvasError("View's dial", self.dial, "must lie in [0, 1]", "Set it in [0, 1]")
        rows, columns = np.tril_indices(self.n_tokens)
        seen = self.relevance[:, rows, columns]
        if not (np.all(seen >= 0) and np.all(seen <= 1)):
            raise CanvasError(
                "View's relevance",
                f"{seen.min()} … {seen.max()}",
                "must lie in [0, 1]",
                "Compile the reads again",
            )
        for name in ("scores", "pattern"):
            if not np.all(np.isfinite(getattr(self, name)[:, rows, columns])):
                raise CanvasError(
                    f"View's {name}",
                    "NaN or infinity",
                    "must be finite where a key is visible",
                    "Check the model's weights",
                )


def to_payload(view: DialView, choice: DialEvent | None = None, ack: int = 0) -> bytes:
    """A view and the person's choices -> the canvas's bytes.

    choice: what the canvas shall show of the view; its layer and dial give way to the view's own.
    ack: number of the last browser event that went into `choice`, 0 for none.
    """
    choice = choice or DialEvent(dial=view.dial, layer=view.layer)
    choice = choice.within(view.n_layers, view.n_heads, view.n_tokens)
    inputs = _inputs(view)
    digest = hashlib.sha256()
    for name, array in inputs.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    header: dict[str, Any] = {
        "ack": ack,
        "inputs_id": digest.hexdigest()[:24],
        "subject": view.subject,
        "model": {"name": view.model_name, "hash": view.model_hash},
        "tokens": list(view.tokens),
        "reasons": list(view.reasons),
        "class_names": list(view.class_names),
        "class_titles": list(view.class_titles),
        "class_colours": list(view.class_colours),
        "head_notes": list(view.head_notes),
        "layer": view.layer,
        "n_layers": view.n_layers,
        "n_heads": view.n_heads,
        "n_tokens": view.n_tokens,
        "dial": float(view.dial),
        "gain": float(view.gain),
        "temperature": float(view.temperature),
        "schedule": view.schedule,
        "exact": bool(view.exact),
        "grid_metrics": list(view.grid),
        "choice": asdict(choice),
    }
    return encode_payload(header, {**inputs, **_answers(view)})


def _answers(view: DialView) -> dict[str, np.ndarray]:
    """What Python found at the view's dial."""
    rows, columns = np.tril_indices(view.n_tokens)
    return {
        "pattern": view.pattern[:, rows, columns].astype(np.float32),
        "entropy_bits": view.entropy_bits.astype(np.float64),
        "fidelity": view.fidelity.astype(np.float64),
        "grid": np.stack([np.asarray(each, dtype=np.float32) for each in view.grid.values()]),
    }


def _inputs(view: DialView) -> dict[str, np.ndarray]:
    """What the browser computes from: square arrays as lower triangles, half the bytes."""
    rows, columns = np.tril_indices(view.n_tokens)
    relevance = np.ascontiguousarray(view.relevance[:, rows, columns], dtype=np.float32)
    levels, codes = np.unique(relevance, return_inverse=True)
    arrays = {
        "scores": view.scores[:, rows, columns].astype(np.float32),
        "relation": view.relation[rows, columns].astype(np.uint8),
        "classes": view.classes.astype(np.uint16),
        "weights": view.weights.astype(np.float64),
    }
    if len(levels) <= _MOST_LEVELS:
        arrays["relevance_levels"] = levels.astype(np.float32)
        arrays["relevance_codes"] = codes.reshape(relevance.shape).astype(np.uint8)
    else:
        arrays["relevance"] = relevance
    return arrays


def _require_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise CanvasError(
            f"View's {name}",
            array.shape,
            f"must have the shape {shape}",
            "Build the view from one forward pass of one text",
        )

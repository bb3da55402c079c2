"""How a group-sparse model is made from a trained one: a frozen recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from model.errors import ModelNotFoundError
from model.training.presets import PRESETS, Preset


@dataclass(frozen=True)
class SparsePreset:
    """A recipe in three parts, as everything that decides the checkpoint.

    Subspaces: `rank` dimensions a block, from `basis_tokens` of training text. Learning: `phase`,
    with the penalty at `strength` times the start's alpha_max, risen after the share `ramp` of the
    steps, and the pool's part of a head held to `pool_cap` of its blocks'. Closing: f on
    `objective_tokens` of training text at `dials` with their `weights`, minimised by the groups
    alone to a KKT residual of `tolerance`, with at most `evaluations` gradients, on
    `closing_threads` CPU threads. At dial 0 alone f does not depend on the reads, which follow from
    the support; above it support and reads must be brought to agree, in rounds that may not end.
    """

    name: str
    description: str
    base: str
    phase: Preset
    rank: int = 4
    basis_tokens: int = 32_768
    strength: float = 0.0285
    ramp: float = 0.25
    pool_cap: float = 0.6
    start_tokens: int = 8_192
    objective_tokens: int = 65_536
    dials: tuple[float, ...] = (0.0,)
    weights: tuple[float, ...] = (1.0,)
    tolerance: float = 1e-3
    evaluations: int = 600
    memory: int = 120
    closing_threads: int = 2

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def with_changes(self, changes: Mapping[str, Any]) -> SparsePreset:
        return replace(self, **changes)


SPARSE_PRESETS = {
    "bundled-sparse": SparsePreset(
        "bundled-sparse",
        "Group-sparse and dial-trained: heads read the few blocks whose groups survived.",
        "bundled",
        replace(
            PRESETS["bundled"],
            name="bundled-sparse",
            description="The stochastic phase of bundled-sparse.",
            total_tokens=7_000_000,
            discovery_tokens=0,
            learning_rate=1.5e-3,
            warmup_steps=50,
            share_zero=0.6,
            share_one=0.2,
        ),
    )
}


def sparse_preset(name: str) -> SparsePreset:
    """The preset of that name; ModelNotFoundError lists the names there are."""
    if name not in SPARSE_PRESETS:
        raise ModelNotFoundError(
            "Sparse preset", name, "no such recipe", f"Choose one of {', '.join(SPARSE_PRESETS)}"
        )
    return SPARSE_PRESETS[name]

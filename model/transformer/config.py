"""Shape of a decoder: frozen, validated once, free of I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from model.errors import CheckpointError


@dataclass(frozen=True)
class DecoderConfig:
    """A Llama-family decoder: RMSNorm, RoPE, grouped-query attention, gated MLP, tied embeddings.

    All sizes count elements; `n_ctx` counts tokens, begin-of-text included.
    """

    d_vocab: int
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_mlp: int
    n_ctx: int
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    tied_embeddings: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            wanted = {"int": int, "float": (int, float), "bool": bool}[str(field.type)]
            right = isinstance(value, wanted) and (field.type == "bool") == isinstance(value, bool)
            if not right or (field.type != "bool" and value <= 0):
                raise CheckpointError(
                    f"Config {field.name}",
                    value,
                    f"must be a positive {field.type}",
                    "Restore config.json",
                )
        if self.n_heads % self.n_kv_heads:
            raise CheckpointError(
                "Config n_kv_heads",
                self.n_kv_heads,
                f"must divide n_heads = {self.n_heads}",
                "Choose a divisor",
            )
        if self.d_head % 2:
            raise CheckpointError(
                "Config d_head",
                self.d_head,
                "must be even: RoPE turns pairs",
                "Choose an even size",
            )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DecoderConfig:
        """Strict: CheckpointError on an unknown or missing key."""
        known = {field.name for field in fields(cls)}
        required = {field.name for field in fields(cls) if field.default is field.default_factory}
        unknown, missing = sorted(set(data) - known), sorted(required - set(data))
        if unknown or missing:
            raise CheckpointError(
                "Config",
                {"unknown": unknown, "missing": missing},
                f"must have the keys {sorted(required)} and no others than {sorted(known)}",
                "Restore config.json",
            )
        return cls(**data)

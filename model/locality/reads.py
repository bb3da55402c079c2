"""Which blocks each head reads, for which query: the symbolic side of localism.

A head (l, h) reads key class B from query class A where `blocks[l, h, A, B]` holds, and three
positions that no block names where its allowance holds: the query itself, the previous token and
the sink (the begin-of-text token). Allowances are counted openly, beside the blocks.

A head that reads none of what it sees **rests** on the sink: there the sink has a relevance of its
own, `rest`, below that of anything read. As the dial turns up, rest gives way to what is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.errors import PartitionError

ALLOWANCES = ("self", "previous", "sink")
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Reads:
    """The reading sets of a model, equal to themselves only.

    blocks: bool [layer, head, query class, key class]; allowances: bool [layer, head, query class,
    3] in the order self, previous, sink. class_names: what the classes are called. rest: in [0, 1),
    the sink's relevance to a query that does not read it; 0 for none.
    """

    blocks: Tensor
    allowances: Tensor
    class_names: tuple[str, ...]
    rest: float = 0.0

    def __post_init__(self) -> None:
        layers, heads, classes = self.blocks.shape[:3]
        if self.blocks.shape[3] != classes or classes != len(self.class_names):
            raise PartitionError(
                "Reads",
                tuple(self.blocks.shape),
                "needs query and key classes of one partition",
                f"Give {len(self.class_names)} classes on both sides",
            )
        if self.allowances.shape != (layers, heads, classes, len(ALLOWANCES)):
            raise PartitionError(
                "Allowances",
                tuple(self.allowances.shape),
                "must be [layer, head, class, 3]",
                "Give self, previous and sink for each head and query class",
            )
        if not 0.0 <= self.rest < 1.0:
            raise PartitionError(
                "Rest", self.rest, "must lie in [0, 1), below what is read", "Use 0 or 0.5"
            )

    @property
    def n_layers(self) -> int:
        return self.blocks.shape[0]

    @property
    def n_heads(self) -> int:
        return self.blocks.shape[1]

    @property
    def n_classes(self) -> int:
        return self.blocks.shape[2]

    def describe(self, layer: int, head: int) -> str:
        """What one head reads, as a sentence: blocks that at least half of the queries read."""
        often = self.blocks[layer, head].float().mean(0)
        names = [self.class_names[c] for c in torch.argsort(-often, stable=True) if often[c] >= 0.5]
        share = self.allowances[layer, head].float().mean(0)
        extra = [a for a, s in zip(ALLOWANCES, share.tolist(), strict=True) if s >= 0.5]
        reads = ", ".join(names) if names else "no block for most queries"
        return reads + (f"; also {', '.join(extra)}" if extra else "")

    def to_dict(self) -> dict[str, Any]:
        """Readable form: for each head, query class -> names of what it reads."""
        heads = []
        for layer in range(self.n_layers):
            for head in range(self.n_heads):
                reads = {
                    name: self._names(layer, head, c) for c, name in enumerate(self.class_names)
                }
                heads.append({"layer": layer, "head": head, "reads": reads})
        return {
            "format": _FORMAT,
            "classes": list(self.class_names),
            "rest": self.rest,
            "heads": heads,
        }

    def _names(self, layer: int, head: int, query: int) -> list[str]:
        blocks = self.blocks[layer, head, query].tolist()
        allowed = self.allowances[layer, head, query].tolist()
        return [n for n, on in zip(self.class_names, blocks, strict=True) if on] + [
            a for a, on in zip(ALLOWANCES, allowed, strict=True) if on
        ]

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], class_names: Sequence[str], n_layers: int, n_heads: int
    ) -> Reads:
        """The inverse of `to_dict`; PartitionError on any class, head or layer that is unknown."""
        names = tuple(class_names)
        if data.get("format") != _FORMAT or tuple(data.get("classes", ())) != names:
            raise PartitionError(
                "Reads",
                data.get("classes"),
                f"must name the partition's classes {list(names)}",
                "Use the reads that belong to these blocks",
            )
        key_of = {name: c for c, name in enumerate(names)}
        blocks = torch.zeros(n_layers, n_heads, len(names), len(names), dtype=torch.bool)
        allowances = torch.zeros(n_layers, n_heads, len(names), len(ALLOWANCES), dtype=torch.bool)
        seen = set()
        for entry in data["heads"]:
            layer, head = entry["layer"], entry["head"]
            if not (0 <= layer < n_layers and 0 <= head < n_heads) or (layer, head) in seen:
                raise PartitionError(
                    "Reads of head",
                    (layer, head),
                    "each head of the model must stand once",
                    f"The model has {n_layers} layers of {n_heads} heads",
                )
            seen.add((layer, head))
            for query, keys in entry["reads"].items():
                for key in keys:
                    if query not in key_of or (key not in key_of and key not in ALLOWANCES):
                        raise PartitionError(
                            "Reads",
                            f"{query} -> {key}",
                            "names an unknown block",
                            f"Known are {', '.join(names)} and {', '.join(ALLOWANCES)}",
                        )
                    if key in key_of:
                        blocks[layer, head, key_of[query], key_of[key]] = True
                    else:
                        allowances[layer, head, key_of[query], ALLOWANCES.index(key)] = True
        if len(seen) != n_layers * n_heads:
            raise PartitionError(
                "Reads",
                f"{len(seen)} heads",
                "each head of the model must stand once",
                f"Give {n_layers * n_heads} heads",
            )
        rest = data.get("rest", 0.0)
        if not isinstance(rest, (int, float)) or isinstance(rest, bool):
            raise PartitionError("Rest", rest, "must be a number in [0, 1)", "Use 0 or 0.5")
        return cls(blocks, allowances, names, float(rest))

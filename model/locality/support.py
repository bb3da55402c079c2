"""What the surviving groups say: which blocks each head reads, learned and not assigned.

A key group (layer, key head, block) that is exactly zero means that the head's keys do not depend
on the block's dimensions. Relevance is taken from it:

    r_ij = 1 iff the key group of key j's block is alive in this head,  for every query i

This is a definition, not a consequence: a token of a block has a part outside of the block's
subspace, and through it a head may attend to a token whose own group is dead (trap 1 of `traps`).
Tokens of no block are relevant to no head. The sink stands open to every head, as a place for mass
that is of no use; it is counted by itself (sink share), never as semantic.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.errors import PartitionError
from model.locality.penalties import Groups
from model.locality.reads import ALLOWANCES, Reads


def reads_of_support(
    alive: Tensor,
    groups: Groups,
    blocks: Sequence[str],
    class_names: tuple[str, ...],
) -> Reads:
    """alive: bool [layer, unit, block], as `Groups.alive`; blocks: its names -> reads.

    PartitionError where a block is no class of the partition.
    """
    unknown = [name for name in blocks if name not in class_names]
    if unknown:
        raise PartitionError(
            "Blocks of the subspaces",
            unknown,
            f"must be classes of the partition: {', '.join(class_names)}",
            "Use the subspaces that belong to this partition",
        )
    keys = groups.by_side(alive)[:, 1]
    n = len(class_names)
    table = torch.zeros(groups.n_layers, groups.n_heads, n, n, dtype=torch.bool)
    columns = [class_names.index(name) for name in blocks]
    table[..., columns] = keys[:, :, None, :].cpu()
    allowances = torch.zeros(groups.n_layers, groups.n_heads, n, len(ALLOWANCES), dtype=torch.bool)
    allowances[..., ALLOWANCES.index("sink")] = True
    return Reads(table, allowances, class_names)


def sentence(names: Sequence[str]) -> str:
    """What a head reads, in words, such as "reads FOOD and PLANT"."""
    if not names:
        return "reads no block"
    first, last = ", ".join(names[:-1]), names[-1]
    return f"reads {first} and {last}" if first else f"reads {last}"


def describe_support(alive: Tensor, groups: Groups, blocks: Sequence[str]) -> list[list[str]]:
    """One sentence a head, [layer][head], from its key groups."""
    keys = groups.by_side(alive)[:, 1].tolist()
    return [
        [sentence([name for name, on in zip(blocks, head, strict=True) if on]) for head in layer]
        for layer in keys
    ]

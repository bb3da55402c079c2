"""What the groups of a group-sparse model are worth, in bits: dead ones nothing, living ones this.

A group is ablated by writing zeros over it. Dead groups hold zeros already, so that writing over
all of them must change no bit of any logit; that is checked, not assumed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from workbench.objective import copied

if TYPE_CHECKING:
    from torch import Tensor

    from model.blocks.subspaces import Subspaces
    from model.transformer.decoder import Decoder

_ROWS = 64


def ablations(decoder: Decoder, subspaces: Subspaces, ids: Tensor) -> dict[str, Any]:
    """Change of bits per token at dial 0 on windows ids [row, length + 1], and what was changed.

    dead: all dead groups at once. alive: all living ones at once. blocks: for each block, its
    living key groups, its living query groups, and both, over all layers and heads.
    """
    import torch

    from model.locality.penalties import Groups

    groups = Groups.of(decoder.config, subspaces.ranks)
    z = groups.read(decoder)
    alive = groups.alive(z)
    subject = copied(decoder)

    def bits(keep: Tensor) -> tuple[float, Tensor]:
        groups.write(subject, torch.where(groups.spread(keep), z, torch.zeros_like(z)))
        return _bits(subject, ids)

    base, logits = _bits(subject, ids)
    dead, logits_without = bits(alive)
    everything, _ = bits(torch.zeros_like(alive))
    queries = torch.arange(groups.units) < groups.n_heads
    blocks = []
    for index, name in enumerate(subspaces.names):
        entry: dict[str, Any] = {"block": name}
        for side, units in (("key", ~queries), ("query", queries), ("both", queries | True)):
            keep = torch.ones_like(alive)
            keep[:, units, index] = False
            living = int(alive[:, units, index].sum())
            entry[side] = {"living_groups": living, "bits": bits(keep)[0] - base if living else 0.0}
        blocks.append(entry)
    return {
        "tokens": ids[:, 1:].numel(),
        "unit": "bits per token",
        "bits_per_token": base,
        "dead": {
            "groups": int((~alive).sum()),
            "bits": dead - base,
            "logits_equal": bool(torch.equal(logits, logits_without)),
        },
        "alive": {"groups": int(alive.sum()), "bits": everything - base},
        "blocks": blocks,
    }


def _bits(decoder: Decoder, ids: Tensor) -> tuple[float, Tensor]:
    """Bits per token, and the logits of the first rows."""
    import torch
    from torch.nn import functional as F

    total, first = 0.0, None
    with torch.inference_mode():
        for start in range(0, len(ids), _ROWS):
            rows = ids[start : start + _ROWS]
            logits = decoder(rows[:, :-1])
            first = logits if first is None else first
            lost = F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="none")
            total += float(lost.double().sum())
    assert first is not None
    return total / ids[:, 1:].numel() / math.log(2), first

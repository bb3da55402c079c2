"""How much of the attention scores goes through dimensions that no block has committed.

The pool carries no penalty, so a head may read everything through it while all its groups are zero.
With x = blocks' part + pool's part on both sides of a score, the raw score splits into

    s = s_blocks + s_pool,     s_blocks: the score when the pool's coordinates are set to 0

and s_pool is all the rest, the cross terms included. Only differences within a row matter to the
softmax, so both are measured by their variance over the visible keys of a row:

    share = V_pool / (V_pool + V_blocks)        V: mean over rows of at least two keys, nats^2

It lies in [0, 1]; 0 iff the pool's part is the same for all keys of every row, 1 iff the blocks'
part is. Where the two parts are uncorrelated it is the pool's share of the variance of s itself.
1 - (variance explained) would not do: it is 0 for a pool that repeats the blocks' part a
thousandfold, and negative where the parts cancel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.errors import PenaltyError
from model.locality.penalties import Groups, require_folded
from model.transformer.decoder import Decoder
from model.transformer.layers import rotate
from model.transformer.rotation import layers_of

_ROWS = 8


@dataclass(frozen=True, eq=False)
class PoolShare:
    """Mean variance within rows, nats^2, float64 [layer, head]; rows: how many there were.

    pool and blocks: with the pool taken out on both sides. query and key: what is lost, and kept,
    with the pool taken out on that side alone: [layer, head, 2], lost first.
    """

    pool: Tensor
    blocks: Tensor
    query: Tensor
    key: Tensor
    rows: int

    @property
    def by_head(self) -> Tensor:
        """Shares [layer, head] in [0, 1]; 0 for a head whose scores never vary."""
        return _share(self.pool, self.blocks)

    @property
    def overall(self) -> float:
        """Mean over heads whose scores vary at all; 0 where there is none."""
        varies = (self.pool + self.blocks) > 0
        return float(self.by_head[varies].mean()) if bool(varies.any()) else 0.0

    @property
    def of_variance(self) -> float:
        """Share of the variances summed over heads: heads with large scores count more."""
        return float(_share(self.pool.sum(), self.blocks.sum()))

    def by_side(self) -> Tensor:
        """Shares with the pool taken out on one side alone, [layer, side, head]."""
        return torch.stack([_share(*side.unbind(-1)) for side in (self.query, self.key)], dim=1)


def _share(lost: Tensor, kept: Tensor) -> Tensor:
    total = lost + kept
    return torch.where(total > 0, lost / torch.where(total > 0, total, 1.0), 0.0)


def row_variance(scores: Tensor) -> Tensor:
    """Variance over the visible keys of each row: [..., query, key] -> [..., query], nats^2."""
    length = scores.shape[-1]
    visible = torch.ones(length, length, dtype=torch.bool, device=scores.device).tril()
    count = visible.sum(dim=-1)
    mean = scores.masked_fill(~visible, 0.0).sum(dim=-1) / count
    centred = (scores - mean[..., None]).masked_fill(~visible, 0.0)
    return centred.square().sum(dim=-1) / count


@torch.no_grad()
def pool_share(decoder: Decoder, groups: Groups, ids: Tensor) -> PoolShare:
    """Measured on token ids int64 [row, position] at dial 0; the decoder must be rotated.

    PenaltyError for gains that are not folded in, or rows of fewer than two tokens.
    """
    require_folded(decoder)
    if ids.ndim != 2 or ids.shape[0] < 1 or ids.shape[1] < 2:
        raise PenaltyError(
            "Token ids", tuple(ids.shape), "need rows of at least two tokens", "Give more text"
        )
    layers = layers_of(decoder)
    whole, kept = decoder.config.d_model, groups.committed
    names = [f"blocks.{layer}.ln1.hook_normalized" for layer in range(len(layers))]
    sums = torch.zeros(3, groups.n_layers, groups.n_heads, 2, dtype=torch.float64)
    for start in range(0, len(ids), _ROWS):
        part = ids[start : start + _ROWS].to(decoder.embed.weight.device)
        _, cache = decoder.run_with_cache(part, names_filter=names)
        rotary = decoder.rotary(part.shape[1])
        for number, (layer, name) in enumerate(zip(layers, names, strict=True)):
            attn, x = layer.attn, cache[name]
            q, k = (_seen(x, w.weight, groups, rotary, whole) for w in (attn.q, attn.k))
            q_kept, k_kept = (_seen(x, w.weight, groups, rotary, kept) for w in (attn.q, attn.k))
            total = attn.scores(q, k).double()
            for index, alone in enumerate(
                (attn.scores(q_kept, k_kept), attn.scores(q_kept, k), attn.scores(q, k_kept))
            ):
                for side, scores in enumerate((total - alone, alone.double())):
                    found = row_variance(scores)[..., 1:].sum(dim=(0, 2))
                    sums[index, number, :, side] += found.cpu()
    rows = len(ids) * (ids.shape[1] - 1)
    both, query, key = sums / rows
    return PoolShare(both[..., 0], both[..., 1], query, key, rows)


def _seen(
    x: Tensor, weight: Tensor, groups: Groups, rotary: tuple[Tensor, Tensor], stop: int
) -> Tensor:
    """Rotated queries or keys that see the first `stop` dimensions only, float64."""
    found = x[..., :stop].double() @ weight[:, :stop].double().T
    return rotate(found.unflatten(-1, (-1, groups.d_head)), *rotary)

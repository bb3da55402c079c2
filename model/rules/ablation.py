"""What an induced rule is good for: the cost of the next token where the head cannot read so.

At queries of A the head gets no weight on keys of B in sight, other than the query itself, the
previous token and the sink; what they had goes to the other keys, as the softmax would have it.
Only then can mass be told from effect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from model.rules.induction import Induced
from model.transformer.decoder import Decoder


@torch.inference_mode()
def ablation_bits(
    decoder: Decoder, documents: Sequence[tuple[Tensor, Tensor]], rule: Induced, n_classes: int
) -> tuple[float, float, int]:
    """(bits at the queries of A that had B in sight, bits at all others, how many of A).

    documents: ids and classes, int64 [position] each. Means of −log2 p(next token) without the
    reading less that with it, in bits a token, at dial 0; NaN where there is no such query. Above
    0: the model predicts worse without. Hooks belong to the decoder: no other pass may run then.
    """
    name = f"blocks.{rule.layer}.attn.hook_attn_scores"
    own: list[Tensor] = []
    rest: list[Tensor] = []
    for ids, classes in documents:
        if len(ids) < 3:
            continue
        barred = barred_pairs(classes, rule.query, rule.key, n_classes).to(ids.device)

        def bar(scores: Tensor, hook: Any, barred: Tensor = barred) -> Tensor:
            scores = scores.clone()
            scores[:, rule.head].masked_fill_(barred, float("-inf"))
            return scores

        def keep(scores: Tensor, hook: Any) -> Tensor:  # the same path, or rounding would show
            return scores

        change = _nats(decoder, ids, name, bar) - _nats(decoder, ids, name, keep)
        where = barred.any(-1)[:-1]
        own.append(change[where])
        rest.append(change[~where])
    inside, outside = torch.cat(own), torch.cat(rest)
    unit = math.log(2.0)
    return float(inside.mean()) / unit, float(outside.mean()) / unit, len(inside)


def barred_pairs(classes: Tensor, query: int, key: int, n_classes: int) -> Tensor:
    """Pairs that a rule A -> B names: bool [query, key]; the last class is the sink."""
    length = len(classes)
    ordinary = torch.ones(length, length, dtype=torch.bool, device=classes.device).tril(-2)
    ordinary &= (classes != n_classes - 1)[None, :]
    return ordinary & (classes == query)[:, None] & (classes == key)[None, :]


def _nats(decoder: Decoder, ids: Tensor, name: str, hook: Any) -> Tensor:
    with decoder.hooks(fwd_hooks=[(name, hook)]):
        logits = decoder(ids[None])[0]
    return F.cross_entropy(logits[:-1].double(), ids[1:], reduction="none")

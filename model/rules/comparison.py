"""Two rule sets: what differs in what they say, and on which texts that matters to a model.

A rule that is worded differently may do the same, and a rule that fires may change nothing: so
each prompt is answered three times, by the text of the rules, by relevance and by the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.errors import RuleError
from model.locality.dial import Dial
from model.locality.relevance import Relevance
from model.rules.rule import RuleSet
from model.transformer.decoder import Decoder


@dataclass(frozen=True)
class Difference:
    """Ids of rules that only one set has, and keys that differ in those that both have.

    changed: id -> key -> (before, after), None where a side leaves the key to its default.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, Mapping[str, tuple[Any, Any]]]

    @property
    def empty(self) -> bool:
        return not (self.added or self.removed or self.changed)


@dataclass(frozen=True)
class Effect:
    """What going from one relevance to another does to one text; arrays [position].

    pairs: share of all visible (layer, head, query, key) whose relevance differs. bits: KL
    divergence of the next-token distribution before from that after, >= 0. likeliest_changes: bool,
    where the likeliest next token is another.
    """

    pairs: float
    bits: Tensor
    likeliest_changes: Tensor


def difference(before: RuleSet, after: RuleSet) -> Difference:
    """By id: a renamed rule is one removed and one added."""
    old = {rule.id: rule.to_dict() for rule in before.rules}
    new = {rule.id: rule.to_dict() for rule in after.rules}
    changed = {}
    for rule_id in sorted(old.keys() & new.keys()):
        one, other = _flat(old[rule_id]), _flat(new[rule_id])
        keys = sorted(one.keys() | other.keys())
        found = {k: (one.get(k), other.get(k)) for k in keys if one.get(k) != other.get(k)}
        if found:
            changed[rule_id] = found
    return Difference(
        tuple(sorted(new.keys() - old.keys())), tuple(sorted(old.keys() - new.keys())), changed
    )


@torch.inference_mode()
def effect(
    decoder: Decoder, tokens: Tensor, dial: Dial, before: Relevance, after: Relevance
) -> Effect:
    """One text, int64 [1, position], under two relevances of it: a pass each.

    RuleError where the two are not of this one text.
    """
    for each in (before, after):
        if each.classes.shape != tokens.shape or len(tokens) != 1:
            shapes = tuple(each.classes.shape), tuple(tokens.shape)
            raise RuleError(
                "Relevance", shapes, "must be that of one text", "Compile it from these tokens"
            )
    visible = torch.ones(tokens.shape[1], tokens.shape[1], device=tokens.device).tril()
    different = sum(
        float(((before.raw(layer) != after.raw(layer)) * visible).mean())
        for layer in range(before.n_layers)
    )
    share = different / before.n_layers / float(visible.mean())
    one, other = (
        decoder(tokens, dial, each)[0].double().log_softmax(dim=-1) for each in (before, after)
    )
    bits = ((one.exp() * (one - other)).sum(dim=-1) / math.log(2.0)).clamp(min=0.0)
    return Effect(share, bits, one.argmax(dim=-1) != other.argmax(dim=-1))


def _flat(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of inner tables with a dot: when.blocks."""
    found = {}
    for key, value in rule.items():
        if isinstance(value, dict):
            found |= {f"{key}.{inner}": each for inner, each in value.items()}
        else:
            found[key] = value
    return found

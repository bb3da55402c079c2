"""Rules found in a model's attention: proposed by one half of some texts, decided by the other.

Beside every rule stand its ablation effect and how many rules the same procedure finds when the
classes of each text are shuffled: attention mass is not causal effect, and chance finds rules too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.errors import RuleError
from workbench.inference import one_at_a_time
from workbench.rules import sentences_of

if TYPE_CHECKING:
    import torch

    from model.rules.induction import Induced
    from model.rules.rule import RuleSet
    from model.transformer.checkpoint import LoadedModel

LEAST_TEXTS = 40


@dataclass(frozen=True)
class FoundRule:
    """A rule with the names of its blocks.

    bits, others: mean cost of ablating it at its own queries and at all others, bits a token; None
    where it was not ablated.
    """

    rule: Induced
    query: str
    key: str
    bits: float | None = None
    others: float | None = None


@dataclass(frozen=True)
class InducedRules:
    """found: the surest first. rules: the same, to inject.

    tested: candidates; by_chance, tested_by_chance: the same of shuffled classes. explained: share
    of each head's mass on ordinary keys that its rules name, [layer][head]; uniform: that of a head
    that attends uniformly.
    """

    found: tuple[FoundRule, ...]
    rules: RuleSet
    tested: int
    by_chance: int
    tested_by_chance: int
    explained: list[list[float]]
    uniform: list[list[float]]


def induced_rules(
    model: LoadedModel, texts: Sequence[str], rate: float = 0.05, most: int = 20, seed: int = 0
) -> InducedRules:
    """Rules at dial 0, the `most` surest of them ablated on the second half.

    Costs a hooked pass a text, and two passes a text of the second half for every rule ablated.
    RuleError on fewer than `LEAST_TEXTS` texts, or a rate outside (0, 1).
    """
    import torch

    from model.rules.ablation import ablation_bits
    from model.rules.induction import as_rules, explained, induce, readings, shuffled
    from model.rules.rule import RuleSet

    if not 0.0 < rate < 1.0:
        raise RuleError("Rate", rate, "must lie in (0, 1)", "Use 0.05")
    if most < 0 or seed < 0:
        raise RuleError("Seed or most", (seed, most), "must be at least 0", "Correct it")
    known = [each for each in sentences_of(model, texts) if len(each.ids) > 2]
    if len(known) < LEAST_TEXTS:
        raise RuleError(
            "Texts", len(known), f"must be at least {LEAST_TEXTS}", "Give more texts, one a line"
        )
    order = np.random.default_rng(seed).permutation(len(known)).tolist()
    documents = [
        (torch.tensor([*known[at].ids]), torch.tensor([*known[at].classes])) for at in order
    ]
    n, half = model.partition.n_classes, len(documents) // 2
    patterns = [_patterns(model, ids) for ids, _ in documents]
    classes = [each for _, each in documents]
    first, second = (readings(patterns[p], classes[p], n) for p in (slice(half), slice(half, None)))
    rules, tested = induce(first, second, rate)
    mixed = shuffled(classes, seed)
    by_chance, tested_by_chance = induce(
        readings(patterns[:half], mixed[:half], n), readings(patterns[half:], mixed[half:], n), rate
    )
    place = model.decoder.embed.weight.device
    rest = [(ids.to(place), known) for ids, known in documents[half:]]
    names, found = model.partition.class_names, []
    for number, rule in enumerate(rules):
        inside = outside = None
        if number < most:
            with one_at_a_time:
                inside, outside, _ = ablation_bits(model.decoder, rest, rule, n)
        bits, others = (None if x is None or math.isnan(x) else x for x in (inside, outside))
        found.append(FoundRule(rule, names[rule.query], names[rule.key], bits, others))
    own, uniform = explained(second, rules)
    named = str(model.provenance.get("name", "model"))[:64]
    return InducedRules(
        tuple(found),
        RuleSet(as_rules(rules, names)[:1_000], f"induced from {named}"),
        tested,
        len(by_chance),
        tested_by_chance,
        own.tolist(),
        uniform.tolist(),
    )


def _patterns(model: LoadedModel, ids: torch.Tensor) -> list[torch.Tensor]:
    """[head, query, key] a layer, at dial 0."""
    import torch

    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(model.config.n_layers)]
    place = model.decoder.embed.weight.device
    with one_at_a_time, torch.inference_mode():
        _, cache = model.decoder.run_with_cache(ids[None].to(place), names_filter=names)
    return [cache[name][0].cpu() for name in names]

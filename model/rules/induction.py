"""Rules found in attention: IF the query is of block A THEN head (l, h) reads block B.

A query **reads** B in a head if the mass on B's keys in sight, other than itself, the previous
token and the sink, is at least `threshold`. Over queries that have such a key in sight,

    support     share of them that are of A and read B
    confidence  share of those of A that read B
    lift        confidence over the share of all that read B

Candidates come from one set of documents, every number and test from another. Tokens of a document
are no independent trials: the test takes a document's rate at A less its rate elsewhere as one
observation, and asks if their mean is above 0 (normal, one-sided, so `LEAST_DOCUMENTS` are needed).
All candidates tested are in one Benjamini-Hochberg correction. Mass is no effect: see `ablation`.
Our own definitions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.errors import RuleError
from model.rules.rule import Condition, Rule

THRESHOLD = 0.25
LEAST_DOCUMENTS = 12
LEAST_CONFIDENCE = 0.3
LEAST_LIFT = 1.2


@dataclass(frozen=True)
class Readings:
    """Counts of documents, float32 but mass. n: classes, the last two NONE and begin-of-text.

    reads: [document, layer, head, query class, key class], queries that read. sight: [document,
    query class, key class], queries with such a key in sight. mass: float64 [layer, head, query
    class, key class], attention on those keys; keys: float64 [query class, key class], what a
    uniform head would give them. queries: how many, those of begin-of-text left out.
    """

    reads: Tensor
    sight: Tensor
    mass: Tensor
    keys: Tensor
    queries: int


@dataclass(frozen=True)
class Induced:
    """A rule found. query, key: class ids. support, confidence, lift as above, on the second set.

    documents: with A and not A, both with B in sight. p_value: of the test; q_value: after
    correction, the false discovery rate at which it passes.
    """

    layer: int
    head: int
    query: int
    key: int
    support: float
    confidence: float
    lift: float
    documents: int
    p_value: float
    q_value: float = math.nan


def readings(
    patterns: Sequence[Sequence[Tensor]],
    classes: Sequence[Tensor],
    n_classes: int,
    threshold: float = THRESHOLD,
) -> Readings:
    """patterns: for each document one [head, query, key] a layer; classes: int64 [position] each.

    RuleError without documents, or on a threshold outside (0, 1].
    """
    if not patterns or len(patterns) != len(classes):
        raise RuleError(
            "Documents", len(patterns), "must be at least one, with classes each", "Give some"
        )
    if not 0.0 < threshold <= 1.0:
        raise RuleError("Threshold", threshold, "must lie in (0, 1]", f"Use {THRESHOLD:g}")
    parts = [_document(p, c, n_classes, threshold) for p, c in zip(patterns, classes, strict=True)]
    reads, sight, mass, keys = zip(*parts, strict=True)
    queries = sum(len(each) - 1 for each in classes)
    return Readings(
        torch.stack(reads),
        torch.stack(sight),
        torch.stack(mass).sum(0),
        torch.stack(keys).sum(0),
        queries,
    )


def induce(
    first: Readings, second: Readings, rate: float = 0.05, names: int | None = None
) -> tuple[list[Induced], int]:
    """Rules whose q-value is at most `rate`, the surest first, and how many were tested.

    first: where candidates come from. second: other documents, where they are tested. names: how
    many classes may stand in a rule; all but NONE and begin-of-text by default.
    """
    count = first.sight.shape[-1] - 2 if names is None else names
    confidence, lift = _rates(first)
    chosen = (confidence >= LEAST_CONFIDENCE) & (lift >= LEAST_LIFT)
    chosen[:, :, count:] = chosen[..., count:] = False
    found = [_tested(second, *place) for place in chosen.nonzero().tolist()]
    tested = [each for each in found if each is not None]
    q_values = benjamini_hochberg([each.p_value for each in tested])
    passed = [
        replace(each, q_value=q)
        for each, q in zip(tested, q_values, strict=True)
        if q <= rate and each.lift > 1.0
    ]
    passed.sort(key=lambda rule: (rule.q_value, -rule.confidence, rule.layer, rule.head))
    return passed, len(tested)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """q-values in the order given: the smallest rate at which each is among the discoveries."""
    count = len(p_values)
    order = sorted(range(count), key=lambda index: p_values[index])
    found = [1.0] * count
    least = 1.0
    for rank in range(count, 0, -1):
        index = order[rank - 1]
        least = min(least, p_values[index] * count / rank)
        found[index] = least
    return found


def shuffled(classes: Sequence[Tensor], seed: int) -> list[Tensor]:
    """Classes permuted inside each document, begin-of-text kept: what chance alone would find."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.cat((each[:1], each[1:][torch.randperm(len(each) - 1, generator=generator)]))
        for each in classes
    ]


def explained(second: Readings, rules: Sequence[Induced]) -> tuple[Tensor, Tensor]:
    """How much of what a head does its rules say: two shares, [layer, head] each.

    The mass on what its rules name, of all its mass on ordinary keys (neither the query, the
    previous token nor the sink); and the same of a head that attends uniformly, to hold it against.
    """
    layers, heads = second.mass.shape[:2]
    covered = torch.zeros(second.mass.shape, dtype=torch.bool)
    for rule in rules:
        covered[rule.layer, rule.head, rule.query, rule.key] = True
    total = second.mass.sum((2, 3)).clamp(min=1e-30)
    uniform = (second.keys * covered).sum((2, 3)) / second.keys.sum().clamp(min=1e-30)
    return (second.mass * covered).sum((2, 3)) / total, uniform.view(layers, heads)


def as_rules(
    found: Sequence[Induced], class_names: Sequence[str], strength: float = 1.0
) -> tuple[Rule, ...]:
    """Rules to inject: one a head and query block with all that it reads, so that none conflict."""
    together: dict[tuple[int, int, int], list[Induced]] = {}
    for each in found:
        together.setdefault((each.layer, each.head, each.query), []).append(each)
    rules = []
    for (layer, head, query), parts in sorted(together.items()):
        name = class_names[query]
        said = "; ".join(
            f"{class_names[p.key]}: confidence {p.confidence:.2f}, lift {p.lift:.2f}, "
            f"q {p.q_value:.2g}"
            for p in parts
        )
        rules.append(
            Rule(
                f"induced-l{layer}-h{head}-{name.lower().replace('_', '-')}"[:64],
                Condition(blocks=(name,)),
                tuple(class_names[part.key] for part in parts),
                strength,
                layers=(layer,),
                heads=(head,),
                note=said[:2_000],
            )
        )
    return tuple(rules)


def _document(
    patterns: Sequence[Tensor], classes: Tensor, n: int, threshold: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    length = len(classes)
    one_hot = torch.nn.functional.one_hot(classes, n).double()  # [position, class]
    ordinary = torch.ones(length, length, dtype=torch.float64).tril(-2)
    ordinary[:, classes == n - 1] = 0.0  # the sink
    counts = ordinary @ one_hot  # [query, key class]
    visible = torch.arange(1, length + 1, dtype=torch.float64)
    stacked = torch.stack([each.double().cpu() for each in patterns])  # [layer, head, query, key]
    mass = (stacked * ordinary) @ one_hot  # [layer, head, query, key class]
    of_query = one_hot.clone()
    of_query[:, n - 1] = 0.0
    in_sight = (counts > 0).double()
    reads = (mass >= threshold) & (counts > 0)
    return (
        torch.einsum("qa,lhqb->lhab", of_query, reads.double()).float(),
        (of_query.T @ in_sight).float(),
        torch.einsum("qa,lhqb->lhab", of_query, mass),
        of_query.T @ (counts / visible[:, None]),
    )


def _rates(found: Readings) -> tuple[Tensor, Tensor]:
    """Confidence and lift of every head, query and key class; 0 where there are no queries."""
    reads, sight = found.reads.sum(0), found.sight.sum(0)
    confidence = reads / sight.clamp(min=1.0)
    base = reads.sum(2, keepdim=True) / sight.sum(0).clamp(min=1.0)
    return confidence, confidence / base.clamp(min=1e-30) * (base > 0)


def _tested(second: Readings, layer: int, head: int, query: int, key: int) -> Induced | None:
    reads, sight = second.reads[:, layer, head, :, key].double(), second.sight[:, :, key].double()
    inside, outside = sight[:, query], sight.sum(1) - sight[:, query]
    usable = (inside > 0) & (outside > 0)
    count = int(usable.sum())
    if count < LEAST_DOCUMENTS:
        return None
    own = reads[usable, query] / inside[usable]
    other = (reads[usable].sum(1) - reads[usable, query]) / outside[usable]
    difference = own - other
    deviation = float(difference.std()) / math.sqrt(count)
    mean = float(difference.mean())
    # Without any spread the normal law says nothing: the bound of Laplace's rule of succession.
    p_value = 0.5 * math.erfc(mean / deviation / math.sqrt(2.0)) if deviation > 0 else 1.0
    if deviation == 0 and mean > 0:
        p_value = 1.0 / (count + 2)
    confidence = float(reads[:, query].sum() / sight[:, query].sum())
    base = float(reads.sum() / sight.sum())
    support = float(reads[:, query].sum() / sight.sum())
    lift = confidence / base if base else 0.0
    return Induced(layer, head, query, key, support, confidence, lift, count, p_value)

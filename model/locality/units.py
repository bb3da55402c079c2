"""What single units say of the category of a token: hits, false alarms, d', AUC, and what misleads.

A unit is one number a token, a category a set of tokens: n⁺ of them, and n⁻ others.
Our own derivations and conventions, each stated:

    AUC        = P(a⁺ > a⁻) + P(a⁺ = a⁻) / 2            from the sum of ranks, ties at the mean
    threshold  = (mean a⁺ + mean a⁻) / 2                the unit fires where a > threshold
    d'         = z((N hit + 1) / (N + 2)) − z((N fa + 1) / (N + 2))     of rates, N = n⁺ + n⁻
    CCMAS      = (mu − mu_rest) / (mu + mu_rest)        of max(a, 0), means of categories
    precision  = share of the category among the unit's strongest tokens

d' is log-linearly corrected, so that it stays finite where a rate is 0 or 1: one token is added
above and one below the threshold, shared between n⁺ and n⁻ in proportion. Shared in halves, they
would credit a unit that never fires with d' = 1.6 on 30 tokens among 5,000. The rates beside it are
as counted. AUC and d' weigh every token; precision sees a few, and CCMAS only means, so that
neither says how well the unit tells the category from the others. They are here to show that.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.errors import UnitError

STRONGEST = 20  # tokens that precision looks at


@dataclass(frozen=True)
class UnitMeasures:
    """Every measure as float64 [unit, category], NaN where a category has no token or all tokens.

    threshold: in the activation's own unit. hit_rate, false_alarm_rate, precision, auc: fractions.
    d_prime: standard deviations. ccmas: [-1, 1], NaN where a unit is never above 0 on average.
    sizes: tokens of each category, int64 [category]. tokens: how many there are in all.
    """

    threshold: Tensor
    hit_rate: Tensor
    false_alarm_rate: Tensor
    d_prime: Tensor
    auc: Tensor
    ccmas: Tensor
    precision: Tensor
    sizes: Tensor
    tokens: int

    @property
    def best(self) -> Tensor:
        """The category with the largest AUC, the first of equals: int64 [unit]."""
        return self.auc.nan_to_num(nan=-1.0).argmax(dim=1)


def measure_units(
    activations: Tensor, classes: Tensor, n_categories: int, strongest: int = STRONGEST
) -> UnitMeasures:
    """All measures of activations [token, unit] against classes int64 [token].

    Classes from `n_categories` on belong to no category and count as others. `strongest` counts
    tokens, and is cut to as many as there are. UnitError on shapes that do not fit, NaN, or nothing
    to measure.
    """
    activations, member = _checked(activations, classes, n_categories)
    if strongest < 1:
        raise UnitError("Strongest tokens", strongest, "must be at least 1", "Choose 20, say")
    by_unit = activations.T.contiguous()  # [unit, token]
    ordered = by_unit.sort(dim=1).values
    sizes = member.sum(dim=0)
    others = len(member) - sizes
    on, off = _means(activations.double(), member)
    threshold = (on + off) / 2
    hits, false_alarms = _counts(by_unit, ordered, member, threshold)
    hit_rate, false_alarm_rate = hits / sizes, false_alarms / others
    measures = {
        "threshold": threshold,
        "hit_rate": hit_rate,
        "false_alarm_rate": false_alarm_rate,
        "d_prime": d_prime(hit_rate, false_alarm_rate, len(member)),
        "auc": _auc(by_unit, ordered, member),
        "ccmas": _ccmas_of(activations.double().clamp(min=0.0), member),
        "precision": _precision(by_unit, ordered, member, strongest),
    }
    undefined = (sizes == 0) | (others == 0)
    for value in measures.values():
        value[:, undefined] = float("nan")
    return UnitMeasures(**measures, sizes=sizes.long(), tokens=len(member))


def auc(activations: Tensor, classes: Tensor, n_categories: int) -> Tensor:
    """The AUC alone, [unit, category]: for controls with shuffled classes."""
    activations, member = _checked(activations, classes, n_categories)
    by_unit = activations.T.contiguous()
    return _auc(by_unit, by_unit.sort(dim=1).values, member)


def d_prime(hit_rate: Tensor, false_alarm_rate: Tensor, tokens: int) -> Tensor:
    """z(hit rate) − z(false-alarm rate), log-linearly corrected for `tokens` in all: finite.

    Equal rates give exactly 0, however few tokens the category has.
    """
    hit, false_alarm = (
        (rate.double() * tokens + 1.0) / (tokens + 2.0) for rate in (hit_rate, false_alarm_rate)
    )
    return torch.special.ndtri(hit) - torch.special.ndtri(false_alarm)


def ccmas(mean: Tensor, mean_rest: Tensor) -> Tensor:
    """Class-conditional mean activity selectivity of two means; NaN where they sum to 0.

    In [-1, 1] for means that are not negative; of signed means it has no bound.
    """
    return (mean - mean_rest) / (mean + mean_rest)


def orientation(activations: Tensor) -> Tensor:
    """+1 or −1 a unit of activations [token, unit]: sign * activation has its tail above 0.

    The sign of a gated unit means nothing: turning a row of `up` and a column of `down` round
    leaves the model as it is. The sum of cubes decides, +1 where it is 0.
    """
    cubes = activations.double().pow(3).sum(dim=0)
    return torch.where(cubes < 0, -1.0, 1.0).to(activations.dtype)


def _checked(activations: Tensor, classes: Tensor, n_categories: int) -> tuple[Tensor, Tensor]:
    """Activations, and membership as float64 [token, category]."""
    if activations.ndim != 2 or activations.numel() == 0 or n_categories < 1:
        raise UnitError(
            "Activations",
            (*activations.shape, n_categories),
            "must be [token, unit] with a token, a unit and a category",
            "Measure at least one of each",
        )
    if classes.shape != activations.shape[:1]:
        raise UnitError(
            "Classes",
            tuple(classes.shape),
            f"there are {len(activations)} tokens",
            "Give each token its class",
        )
    if int(classes.min()) < 0:
        raise UnitError("Class", int(classes.min()), "must be at least 0", "Use the partition's")
    if not bool(torch.isfinite(activations).all()):
        raise UnitError(
            "Activations", "NaN or infinity", "must be finite", "Check the model's weights"
        )
    known = torch.arange(n_categories, device=classes.device)
    return activations, (classes[:, None] == known).double()


def _means(activations: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
    """Mean on and off each category, [unit, category] each."""
    total = activations.sum(dim=0)[:, None]
    inside = activations.T @ member
    sizes = member.sum(dim=0)
    return inside / sizes, (total - inside) / (len(member) - sizes)


def _counts(
    by_unit: Tensor, ordered: Tensor, member: Tensor, threshold: Tensor
) -> tuple[Tensor, Tensor]:
    """How many tokens lie above the threshold in and outside each category: [unit, category].

    The total comes from the sorted activations; what lies inside, category by category.
    """
    # Compared in the activations' own precision, on both sides alike.
    limit = threshold.nan_to_num().to(by_unit.dtype)
    above = ordered.shape[1] - torch.searchsorted(ordered, limit.contiguous(), right=True)
    hits = torch.zeros_like(threshold)
    for category in range(member.shape[1]):
        inside = by_unit[:, member[:, category] > 0]
        hits[:, category] = (inside > limit[:, category, None]).sum(dim=1)
    return hits, above - hits


def _auc(by_unit: Tensor, ordered: Tensor, member: Tensor) -> Tensor:
    """(sum of ranks − n⁺ (n⁺ + 1) / 2) / (n⁺ n⁻): exact, as twice a mean rank is whole."""
    below = torch.searchsorted(ordered, by_unit)
    ranks = (below + torch.searchsorted(ordered, by_unit, right=True) + 1).double() / 2
    sizes = member.sum(dim=0)
    return (ranks @ member - sizes * (sizes + 1) / 2) / (sizes * (len(member) - sizes))


def _ccmas_of(rectified: Tensor, member: Tensor) -> Tensor:
    """CCMAS of each category's mean against the mean of the other categories' means."""
    present = member.sum(dim=0) > 0
    means = (rectified.T @ member) / member.sum(dim=0)
    count = int(present.sum())
    rest = (means[:, present].sum(dim=1, keepdim=True) - means) / (count - 1)
    return ccmas(means, rest.clamp(min=0.0))


def _precision(by_unit: Tensor, ordered: Tensor, member: Tensor, strongest: int) -> Tensor:
    """Share of each category among the strongest tokens; ties for the last seats share them."""
    seats = min(strongest, by_unit.shape[1])
    last = ordered[:, -seats, None]
    above, level = by_unit > last, by_unit == last
    left = seats - above.sum(dim=1, keepdim=True)
    share = above.double() + level.double() * left / level.sum(dim=1, keepdim=True)
    return share @ member / seats

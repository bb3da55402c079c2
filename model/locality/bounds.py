"""What the dial guarantees of one attention row: closed forms of a few numbers, without any model.

A row sees n keys, of which m are relevant (r_ij = R_i, the row's largest relevance). With Delta'
the smallest relevant score minus the largest other one, *after* the dial, in nats,

    off-block <= eps_bar = (n - m) e^-Delta' / (m + (n - m) e^-Delta')            any Delta'
    in-block  >= 1 - eps_bar                                                      any Delta'
    H         <= h2(eps_bar) + (1 - eps_bar) log2 m + eps_bar log2 (n - m)  bits, Delta' >= 0
    Delta'    >= ln((n - m)(1 - eps) / (m eps))             is enough for off-block <= eps

Why: replacing each relevant weight by the smallest and each other weight by the largest only moves
mass out of the block, and makes the first line an equality. For the entropy, a row with off-block
mass e has H <= h2(e) + (1 - e) log2 m + e log2 (n - m), which grows with e up to e = (n - m) / n;
eps_bar lies below that exactly where Delta' >= 0. Both are attained by two-valued scores.

Graded relevance. The dial takes strength * (R - r) from a key, so keys of different relevance lose
different amounts: with r in {0, rest, 1} the sink loses strength * (1 - rest) where other keys lose
all of it. Split the keys that are not relevant into classes k of c_k keys, with raw margin Delta_k
over that class and a gap g_k that is at most R - r of each of its keys. Then Delta'_k = Delta_k /
tau + strength * g_k holds for each class, and the off-block odds are at most the sum over k of
(c_k / m) e^-Delta'_k. That is the first line with

    Delta' = -ln sum_k c_k / (n - m) e^-Delta'_k                              `joint_margin`

so that every formula here serves graded relevance too; one class gives Delta' back. Two facts that
the formulas do not show: a row at rest (R = rest) is gathered with gap `rest` only, and a row
without any relevant key (m = 0) has no block to speak of.

Our own derivation (README, "What is ours"). All of it is float64 and holds for exact arithmetic;
who compares it with a pattern must allow for the pattern's rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from model.errors import BoundError

_LN2 = math.log(2.0)
_NEWTON_STEPS = 40
_NEGLIGIBLE = 1e-15  # of a strength: the last digit of float64
Number = Tensor | float


@dataclass(frozen=True)
class Bound:
    """A bound and where it applies, float64 and bool of one shape.

    Where `applies` is False the assumptions fail, and `value` is the vacuous bound: still true, and
    no guarantee (a mass in [0, 1], an entropy up to log2 n, a need without end).
    """

    value: Tensor
    applies: Tensor


def margin_after(margin: Number, strength: Number, tau: Number = 1.0, gap: Number = 1.0) -> Tensor:
    """Delta' = Delta_s / tau + strength * gap, nats: what the dial makes of a raw margin.

    strength: -gain * log(1 - lambda) >= 0, nats. tau > 0. gap: R - r > 0 of the keys that are not
    relevant, or less. An infinite margin stands for "no other key".
    """
    margin, strength, tau, gap = map(_float64, (margin, strength, tau, gap))
    _refuse("Strength", strength, ~(strength >= 0), "must be at least 0", "Take it from the dial")
    _refuse("Temperature", tau, ~(tau > 0), "must be positive", "Take it from the dial")
    _refuse("Gap", gap, ~(gap > 0), "must be positive", "Count keys of no gap as relevant")
    _refuse("Margin", margin, margin.isnan(), "must be a number", "Look for NaN in the scores")
    return margin / tau + strength * gap


def joint_margin(margins: Tensor, counts: Tensor) -> Tensor:
    """Delta' of classes of keys [..., class] with margins Delta'_k and c_k >= 0 keys each, nats.

    Infinite where there is no key; never below the smallest margin of a class that has one.
    """
    margins, counts = _float64(margins), _float64(counts)
    _refuse("Count of keys", counts, ~(counts >= 0), "must be at least 0", "Correct the counts")
    total = counts.sum(dim=-1)
    # A constant taken out keeps classes of infinite margin, which weigh nothing, out of 0 * inf.
    weighed = torch.where(counts > 0, counts.clamp(min=1e-300).log() - margins, -math.inf)
    joint = total.clamp(min=1e-300).log() - weighed.logsumexp(dim=-1)
    return torch.where(total > 0, joint, math.inf)


def off_mass(n: Number, m: Number, margin: Number) -> Bound:
    """eps_bar: the mass outside the m relevant of n visible keys is at most this fraction.

    margin: Delta' after the dial, nats, any sign. n = m gives 0; m = 0 does not apply (value 1).
    BoundError where m > n, a count is no whole number, or the margin is NaN.
    """
    odds, m = _log_odds(n, m, margin)
    return Bound(torch.sigmoid(odds), m > 0)


def in_mass(n: Number, m: Number, margin: Number) -> Bound:
    """1 - eps_bar: the mass on the relevant keys, the fidelity, is at least this fraction.

    Its own formula, so that a bound near 0 keeps its digits. As `off_mass`; value 0 for m = 0.
    """
    odds, m = _log_odds(n, m, margin)
    return Bound(torch.sigmoid(-odds), m > 0)


def entropy_bits(n: Number, m: Number, margin: Number) -> Bound:
    """The row's entropy is at most this many bits.

    Applies where m > 0 and Delta' >= 0, or n = m; elsewhere the value is log2 n, ever true.
    """
    odds, m = _log_odds(n, m, margin)
    n, margin = _float64(n), _float64(margin)
    outside, inside = torch.sigmoid(odds), torch.sigmoid(-odds)
    nats = (
        inside * torch.logaddexp(odds, torch.zeros_like(odds))  # -(1 - eps) log(1 - eps)
        - torch.special.xlogy(outside, outside)
        + inside * m.clamp(min=1).log()
        + torch.special.xlogy(outside, n - m)
    )
    applies = (m > 0) & ((margin >= 0) | (n == m))
    return Bound(torch.where(applies, nats, n.log().expand(applies.shape)) / _LN2, applies)


def needed_margin(n: Number, m: Number, off: Number) -> Bound:
    """The least Delta', nats, that bounds the off-block mass by `off` in [0, 1].

    -inf where every margin does (n = m, or off = 1), +inf for off = 0; m = 0 does not apply.
    """
    n, m = _counts(n, m)
    off = _float64(off)
    _refuse("Off-block mass", off, ~((off >= 0) & (off <= 1)), "must lie in [0, 1]", "Use 0.01")
    need = (n - m).clamp(min=1).log() - m.clamp(min=1).log() + torch.log1p(-off) - off.log()
    need = torch.where(n == m, -math.inf, need)
    none = m == 0
    return Bound(torch.where(none, math.inf, need), (~none).expand(need.shape))


def needed_strength(needed: Number, margin: Number, tau: Number = 1.0, gap: Number = 1.0) -> Tensor:
    """The least strength >= 0, nats, with Delta_s / tau + strength * gap >= needed.

    Closed form, for keys of one gap and a tau that is known; with a temperature other than 1, tau
    itself depends on the dial, and this is the answer for the tau given.
    """
    return needed_strength_jointly(
        needed, _float64(margin)[..., None], torch.ones(1), tau, _float64(gap)[..., None]
    )


def needed_strength_jointly(
    needed: Number, margins: Tensor, counts: Tensor, tau: Number, gaps: Tensor
) -> Tensor:
    """The least strength >= 0, nats, at which classes [..., class] have the joint margin `needed`.

    Raw margins Delta_k, counts c_k and gaps g_k, as in `joint_margin`. Each class alone gives a
    lower bound, which is the answer where there is one class. From there Newton's steps on
    ln sum_k share_k e^-(Delta_k / tau + strength g_k) + needed = 0, convex and falling in the
    strength, rise to its root and never pass it.
    """
    needed, margins, counts, gaps = map(_float64, (needed, margins, counts, gaps))
    tau = _float64(tau)[..., None]
    margin_after(margins, 0.0, tau, gaps)  # refuses what has no meaning
    total = counts.sum(dim=-1, keepdim=True)
    some = (counts > 0) & (margins < math.inf)
    start = torch.where(some, (counts / total.clamp(min=1)).log() - margins / tau, -math.inf)
    alone = torch.where(some, (start + needed[..., None]) / gaps, -math.inf)
    found = alone.amax(dim=-1)
    # Infinite needs are answered as they stand: nothing to do, or no strength is enough.
    found = torch.where(needed == -math.inf, 0.0, found).clamp(min=0.0)
    found = torch.where((needed == math.inf) & some.any(dim=-1), math.inf, found)
    open_ = found.isfinite() & needed.isfinite() & some.any(dim=-1)
    if start.shape[-1] == 1:
        return found
    for _ in range(_NEWTON_STEPS):
        now = torch.where(open_[..., None], start - found.clamp(max=1e300)[..., None] * gaps, 0.0)
        missing = (now.logsumexp(dim=-1) + needed).clamp(min=0.0)
        slope = (now.softmax(dim=-1) * gaps).sum(dim=-1)
        step = missing / slope
        if not bool((open_ & (step > _NEGLIGIBLE * found)).any()):
            break
        found = torch.where(open_, found + step, found)
    return found


def needed_turn(strength: Number, gain: float) -> Tensor:
    """-log(1 - lambda) of the least dial with at least this strength, nats: strength / gain.

    The dial itself rounds to 1 from a turn of 37 on; this number does not.
    """
    if not (math.isfinite(gain) and gain > 0):
        raise BoundError("Gain", gain, "must be a positive number", "Take it from the dial")
    return _float64(strength) / gain


def dial_of(turn: Number) -> Tensor:
    """lambda in [0, 1] of a turn -log(1 - lambda) >= 0."""
    return -torch.expm1(-_float64(turn))


def _log_odds(n: Number, m: Number, margin: Number) -> tuple[Tensor, Tensor]:
    """ln of the off-block odds (n - m) / m e^-margin, and m, both of the full shape."""
    n, m = _counts(n, m)
    margin = _float64(margin)
    _refuse("Margin", margin, margin.isnan(), "must be a number", "Look for NaN in the scores")
    odds = (n - m).clamp(min=1).log() - m.clamp(min=1).log() - margin
    odds = torch.where(n == m, -math.inf, odds)
    odds = torch.where(m == 0, math.inf, odds)
    return odds, m.expand(odds.shape)


def _counts(n: Number, m: Number) -> tuple[Tensor, Tensor]:
    """Both as float64 of one shape, once they can be counts of a row."""
    seen, relevant = torch.broadcast_tensors(_float64(n), _float64(m))
    for name, counts, least in (("n, visible keys,", seen, 1), ("m, relevant keys,", relevant, 0)):
        wrong = ~((counts >= least) & (counts == counts.round()))
        _refuse(name, counts, wrong, f"must be a whole number of at least {least}", "Count again")
    too_many = "cannot exceed n, the visible keys"
    _refuse("m, relevant keys,", relevant, relevant > seen, too_many, "Count again")
    return seen, relevant


def _float64(value: Number) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


def _refuse(subject: str, value: Tensor, wrong: Tensor, rule: str, remedy: str) -> None:
    """BoundError with the first value that is wrong."""
    if bool(wrong.any()):
        raise BoundError(subject, value[wrong].flatten()[0].item(), rule, remedy)

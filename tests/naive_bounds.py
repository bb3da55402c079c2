"""The bounds of a row a second time, one row at a time, in decimal arithmetic of 60 digits.

Written from the formulas in method terms, without a glance at the implementation that it checks.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal, localcontext

DIGITS = Context(prec=60, Emin=-(10**9), Emax=10**9)


def _exp(x: Decimal) -> Decimal:
    return Decimal(0) if x < -(10**8) else x.exp()


def _xlog2x(x: Decimal) -> Decimal:
    return Decimal(0) if x == 0 else x * x.ln() / Decimal(2).ln()


def margin_after(margin: float, strength: float, tau: float, gap: float) -> float:
    with localcontext(DIGITS):
        return float(Decimal(margin) / Decimal(tau) + Decimal(strength) * Decimal(gap))


def off_mass(n: int, m: int, margin: float) -> float | None:
    """eps_bar, None where m = 0."""
    if m == 0:
        return None
    if n == m:
        return 0.0
    with localcontext(DIGITS):
        weight = (n - m) * _exp(-Decimal(margin))
        return float(weight / (m + weight))


def entropy_bits(n: int, m: int, margin: float) -> float | None:
    """h2 + ..., None where it does not apply."""
    if m == 0 or (n > m and margin < 0):
        return None
    if n == m:
        return math.log2(n)
    with localcontext(DIGITS):
        weight = (n - m) * _exp(-Decimal(margin))
        eps = weight / (m + weight)
        bits = -_xlog2x(eps) - _xlog2x(1 - eps)
        bits += (1 - eps) * Decimal(m).ln() / Decimal(2).ln()
        return float(bits + eps * Decimal(n - m).ln() / Decimal(2).ln())


def needed_margin(n: int, m: int, off: float) -> float:
    with localcontext(DIGITS):
        eps = Decimal(off)
        return float(((n - m) * (1 - eps) / (m * eps)).ln())


def needed_dial(needed: float, margin: float, gain: float, tau: float) -> float:
    """lambda from -log(1 - lambda), at least 0; exact where lambda is no longer near 1."""
    with localcontext(DIGITS):
        turn = (Decimal(needed) - Decimal(margin) / Decimal(tau)) / Decimal(gain)
        return float(1 - (-max(turn, Decimal(0))).exp())

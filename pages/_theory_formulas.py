"""Formulas with their symbols filled in by the numbers on the screen, as Markdown without TeX.

TeX would bring scripts that delay the first paint. Every number comes from the objects that the
figures are drawn from; none is computed here but for the arithmetic that the line itself shows.
"""

from __future__ import annotations

import math

from workbench.lessons import Outcome, Sandbox
from workbench.regularisation import Point, RegularisationPath
from workbench.theory import NeededDial
from workbench.theory_row import WorkedRow

_ENDLESS = 1e15  # nats; the strength of dial 1 is a number of this kind


def strength(path: RegularisationPath, point: Point) -> str:
    """alpha_max, and alpha as a share of it."""
    return (
        f"α_max = max over groups of ‖∇f‖ / w = {path.alpha_max:.4g} nats per unit of weight, "
        f"taken where all groups are zero. α = {point.strength:.3g} · {path.alpha_max:.4g} = "
        f"**{point.alpha:.4g}**."
    )


def penalty(path: RegularisationPath, point: Point) -> str:
    """The objective at the point."""
    paid = path.penalty(point)
    return (
        f"F = f + α Σ w ‖W‖ = {point.objective_nats - paid:.4f} + {paid:.4f} = "
        f"**{point.objective_nats:.4f} nats**, w = √(r · d_head)."
    )


def group(path: RegularisationPath, point: Point, block: int, norm: float) -> list[str]:
    """Threshold and prox of a group of one block with that norm."""
    weight, limit = path.weight(block), path.threshold(point, block)
    lines = [
        f"Its weight: w = √(r · d_head) = √({path.ranks[block]} · {path.d_head}) = {weight:.3f}. "
        f"Its threshold: α w = {point.alpha:.4g} · {weight:.3f} = **{limit:.4g}** nats per unit of "
        "weight."
    ]
    if limit == 0.0:
        lines.append("Without a penalty nothing pulls it to zero.")
    elif norm == 0.0:
        lines.append(
            f"At zero it is stationary as long as ‖∇f‖ ≤ α w, that is ≤ {limit:.4g}. A group whose "
            f"gradient can nowhere exceed {limit:.4g} is zero at every stationary point."
        )
    else:
        lines += [
            f"Alive, it is stationary where the data pull as hard as the penalty: ∇f = −α w W / "
            f"‖W‖, so that ‖∇f‖ = {limit:.4g}.",
            f"A proximal step of size η turns W into (1 − η α w / ‖W‖)₊ W = (1 − η · {limit:.4g} / "
            f"{norm:.4g})₊ W: without a gradient against it, exactly zero from η = ‖W‖ / (α w) = "
            f"**{norm / limit:.4g}** on.",
        ]
    return lines


def worked(row: WorkedRow) -> list[str]:
    """Margin, fidelity and entropy of one row, each bound beside what was measured."""
    return [
        _margin(row),
        f"Fidelity ≥ {_inside(row.n, row.m, row.margin)} = **{row.fidelity_bound:.4f}**; measured "
        f"**{row.fidelity:.4f}**.",
        _entropy(row.n, row.m, row.off, row.entropy_bound, row.entropy_applies)
        + f"; measured **{row.entropy:.3f}**.",
    ]


def sandbox(row: Sandbox, now: Outcome) -> list[str]:
    """The same for the row to play with."""
    turn = _nats(-math.log1p(-now.dial) if now.dial < 1 else math.inf)
    outside = row.n - row.m
    return [
        f"Δ′ = Δ − gain · ln(1 − λ) = {row.margin:.3g} + {row.gain:g} · {turn} = "
        f"**{_nats(now.margin_after)} nats**.",
        f"Mass outside the block ≤ (n − m) e^−Δ′ / (m + (n − m) e^−Δ′) = {outside} · "
        f"{_power(now.margin_after)} / ({row.m} + {outside} · {_power(now.margin_after)}) = "
        f"**{now.off_bound:.4f}**; it is **{now.off_mass:.4f}**.",
        _entropy(row.n, row.m, now.off_bound, now.bits_bound, now.entropy_applies)
        + f"; it is **{now.bits:.3f}**.",
    ]


def needed(found: NeededDial, gain: float) -> list[str]:
    """The margin and the dial of the row that needs most."""
    off = 1 - found.fidelity
    lines = [
        f"Needed margin: Δ′ ≥ ln((n − m)(1 − ε) / (m ε)) = ln({found.n - found.m} · "
        f"{found.fidelity:g} / ({found.m} · {off:.3g})) = **{_nats(found.needed_margin)} nats**; "
        f"at dial 0 it is {_nats(found.margin)}."
    ]
    share = "" if found.weight == 1 else f" / {found.weight:g}"
    dial = f"λ = (1 − e^−{found.turn:.4f}){share} = **{found.every:.4f}**"
    if len(found.classes) == 1:
        [(_, margin, gap)] = found.classes
        lines.append(
            f"Needed dial: −ln(1 − λ) = (Δ′ − Δ) / (gain · g) = ({_nats(found.needed_margin)} − "
            f"{_nats(margin, True)}) / ({gain:g} · {gap:g}) → {found.turn:.4f}, at least 0; {dial}."
        )
    elif found.classes:
        total = sum(keys for keys, _, _ in found.classes)
        terms = " + ".join(
            f"{keys}/{total} · e^−({_nats(margin, True)} + {gain:g} · {gap:g} t)"
            for keys, margin, gap in found.classes
        )
        lines.append(
            f"Needed dial: the keys differ in relevance by g, so that t = −ln(1 − λ) solves "
            f"{terms} = e^−Δ′ = {_power(found.needed_margin)}: t = {found.turn:.4f}, at least 0; "
            f"{dial}."
        )
    return lines


def _margin(row: WorkedRow) -> str:
    """Delta' of a row, from its classes of keys."""
    if not row.classes:
        return "All its keys are relevant: Δ′ = ∞, and nothing is outside the block."
    turn = row.strength / row.gain
    parts = []
    for number, each in enumerate(row.classes, start=1):
        name = "Δ′" if len(row.classes) == 1 else f"Δ′{'₁₂'[number - 1]}"
        of = "" if len(row.classes) == 1 else f" ({each.keys} key{'s' * (each.keys != 1)})"
        parts.append(
            f"{name} = Δ / τ − gain · g · ln(1 − λ) = {_nats(each.margin)} / {row.tau:.4g} + "
            f"{row.gain:g} · {each.gap:g} · {_nats(turn)} = **{_nats(each.after)} nats**{of}"
        )
    if len(row.classes) == 1:
        return f"{parts[0]}."
    total = row.n - row.m
    terms = " + ".join(f"{each.keys}/{total} · {_power(each.after)}" for each in row.classes)
    return f"{'; '.join(parts)}. Together Δ′ = −ln({terms}) = **{_nats(row.margin)} nats**."


def _inside(n: int, m: int, margin: float) -> str:
    outside = f"{n - m} · {_power(margin)}" if n > m else "0"
    return f"m / (m + (n − m) e^−Δ′) = {m} / ({m} + {outside})"


def _entropy(n: int, m: int, off: float, bound: float, applies: bool) -> str:
    if not applies:
        return (
            f"Entropy: the bound needs Δ′ ≥ 0 and is not applicable; log₂ n = log₂ {n} = "
            f"{math.log2(n):.3f} bits always holds"
        )
    inside, outside = math.log2(m), math.log2(n - m) if n > m else 0.0
    return (
        f"Entropy ≤ h₂(ε̄) + (1 − ε̄) log₂ m + ε̄ log₂(n − m) = h₂({off:.4f}) + {1 - off:.4f} · "
        f"{inside:.3f} + {off:.4f} · {outside:.3f} = **{bound:.3f} bits**"
    )


def _power(nats: float) -> str:
    """e to the minus that, as it is read aloud."""
    if nats > _ENDLESS:
        return "0"
    return f"e^−({_nats(nats)})" if nats < 0 else f"e^−{_nats(nats)}"


def _nats(value: float, bracket: bool = False) -> str:
    """Three decimals, with a minus sign that is one; in brackets below 0 where asked."""
    if abs(value) > _ENDLESS:
        return "∞" if value > 0 else "−∞"
    told = f"{value:.3f}".replace("-", "−")
    return f"({told})" if bracket and value < 0 else told

"""Formulas with their symbols filled in by the numbers on the screen, as Markdown without TeX.

TeX would bring scripts that delay the first paint. Every number comes from the objects that the
figures are drawn from; none is computed here but for the arithmetic that the line itself shows.
"""

from __future__ import annotations

from workbench.regularisation import Point, RegularisationPath


def strength(path: RegularisationPath, point: Point) -> str:
    """alpha_max, and alpha as a share of it."""
    return (
        f"α_max = max over groups of ‖∇f‖ / w = {path.alpha_max:.4g} nats per unit of weight, at "
        f"the model fitted with all groups zero. α = {point.strength:.3g} · {path.alpha_max:.4g} = "
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

"""A figure of the report: bars of attention mass and of effect, block by block, as plain SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workbench.audit_effects import AGREE

_ROW, _LABEL, _WIDTH = 30, 150, 420


def effect_figure(
    effects: Sequence[Mapping[str, Any]], title: str, text: Callable[[object], str]
) -> str:
    """Share of mass above share of effect of each block, in percent of the prompt's sum.

    text: makes any value safe to stand in markup.
    """
    scale = _WIDTH / max(
        [0.01, *(each[key] or 0.0 for each in effects for key in ("mass_share", "effect_share"))]
    )
    height = _ROW * len(effects) + 28
    parts = [
        f'<figure><svg role="img" width="{_LABEL + _WIDTH + 90}" height="{height}" '
        f'viewBox="0 0 {_LABEL + _WIDTH + 90} {height}">',
        f"<title>{text(title)}: share of attention mass and share of effect, by block</title>",
        '<rect x="0" y="4" width="12" height="10" fill="var(--mass)"/>',
        '<text x="18" y="13">share of attention mass</text>',
        f'<rect x="{_LABEL + 40}" y="4" width="12" height="10" fill="var(--effect)"/>',
        f'<text x="{_LABEL + 58}" y="13">share of effect</text>',
    ]
    for index, each in enumerate(effects):
        top = 28 + _ROW * index
        mark = "" if each["verdict"] == AGREE else " ≠"
        name = str(each["block"])
        name = name if len(name) <= 16 else name[:15] + "…"
        parts.append(f'<text x="0" y="{top + 14}">{text(name)}{mark}</text>')
        for key, offset, colour in (("mass_share", 0, "mass"), ("effect_share", 11, "effect")):
            value = each[key]
            if value is None:
                continue
            parts.append(
                f'<rect x="{_LABEL}" y="{top + offset}" width="{value * scale:.2f}" height="9" '
                f'fill="var(--{colour})"/>'
                f'<text x="{_LABEL + 4 + value * scale:.2f}" y="{top + offset + 9}">'
                f"{100 * value:.1f} %</text>"
            )
    caption = f"{text(title)}. Marked ≠ where the two shares lie far apart."
    return "".join(parts) + f"</svg><figcaption>{caption}</figcaption></figure>"

"""The audit of one prompt: what fires, what it matters, and which bounds hold, at one dial.

The audit is a function of model, prompt and dial alone; two runs on one machine give equal numbers.
Rules join at one place: `block_effects` makes rows of removals, and whatever makes a bias of rows
can stand beside them (`model.locality.removal.effects_of`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.errors import AuditError
from workbench.audit_effects import BlockEffect, block_effects
from workbench.audit_firing import Firing, firing
from workbench.inference import NextToken, Prompt, next_tokens, prepare, run

if TYPE_CHECKING:
    from model.locality.dial import Dial
    from model.transformer.checkpoint import LoadedModel
    from workbench.checks import Check


@dataclass(frozen=True)
class BoundSummary:
    """One bound over all heads. holds, fails, not_applicable: heads. slack: the least, in `unit`.

    tightness: mean of bound over measurement, 1 where they meet. None where nothing applies, and
    for rounding.
    failing: heads that fail, as (layer, head).
    """

    name: str
    unit: str
    holds: int
    fails: int
    not_applicable: int
    slack: float | None
    tightness: float | None
    failing: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class PromptAudit:
    """All of it. surprisal_bits: [T], of each token given those before it, None for the first.

    next_tokens: the likeliest after the prompt. effects: one a removal.
    """

    prompt: Prompt
    dial: Dial
    firing: Firing
    effects: tuple[BlockEffect, ...]
    bounds: tuple[BoundSummary, ...]
    next_tokens: tuple[NextToken, ...]
    surprisal_bits: tuple[float | None, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values in the stated units, ready for JSON."""
        return {
            "text": self.prompt.text,
            "coverage": self.firing.coverage,
            "theta": self.firing.theta,
            "delta": self.firing.delta,
            "tokens": [
                {**asdict(token), "surprisal_bits": bits}
                for token, bits in zip(self.firing.tokens, self.surprisal_bits, strict=True)
            ],
            "blocks": [asdict(each) for each in self.firing.blocks],
            "effects": [asdict(each) for each in self.effects],
            "bounds": [asdict(each) for each in self.bounds],
            "next_tokens": [asdict(each) for each in self.next_tokens],
        }


def audit_text(model: LoadedModel, text: str, dial: Dial) -> PromptAudit:
    """As `audit_prompt`, for a text; TextError when it is empty or beyond a stated limit."""
    return audit_prompt(model, prepare(model, text), dial)


def audit_prompt(model: LoadedModel, prompt: Prompt, dial: Dial) -> PromptAudit:
    """The audit of a prompt at a dial of one value; AuditError on a dial of several."""
    if isinstance(dial.value, tuple):
        raise AuditError("Dial", dial.value, "an audit is of one value", "Choose one number")
    found = run(model, prompt, dial)
    return PromptAudit(
        prompt,
        dial,
        firing(model, prompt),
        block_effects(model, prompt, dial, found.pattern),
        bound_summaries(model, prompt, dial),
        next_tokens(model, prompt, dial),
        tuple(None if np.isnan(bits) else float(bits) for bits in found.surprisal_bits),
    )


def bound_summaries(model: LoadedModel, prompt: Prompt, dial: Dial) -> tuple[BoundSummary, ...]:
    """Every bound of `workbench.checks` on this prompt, over all heads."""
    from workbench.checks import check_windows
    from workbench.sweep import Window

    window = Window(np.array(prompt.ids, dtype=np.int64), prompt.classes.copy())
    checks = check_windows(model, [window], [dial])
    names = dict.fromkeys(check.name for check in checks)
    return tuple(_summary([each for each in checks if each.name == name]) for name in names)


def _summary(checks: Sequence[Check]) -> BoundSummary:
    from workbench.checks import FAILS, HOLDS, NOT_APPLICABLE

    counts = {
        status: sum(check.status == status for check in checks)
        for status in (HOLDS, FAILS, NOT_APPLICABLE)
    }
    # How far rounding really goes differs from one processor to the next: no number to compare.
    tight = [c.tightness for c in checks if c.tightness is not None and c.name != "rounding"]
    return BoundSummary(
        checks[0].name,
        checks[0].unit,
        counts[HOLDS],
        counts[FAILS],
        counts[NOT_APPLICABLE],
        min((check.slack for check in checks if check.slack is not None), default=None),
        float(np.mean(tight)) if tight else None,
        tuple((check.layer, check.head) for check in checks if check.status == FAILS),
    )

"""One row of a prompt with all numbers that its bounds are made of, at one dial.

It takes the way of the curves (`workbench.theory`), so that a row's bound is the number that went
into them: the least of the rows is the least that the table says.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from workbench.choices import Choices
from workbench.inference import Prompt, dial_of
from workbench.theory import no_row

if TYPE_CHECKING:
    from model.transformer.checkpoint import LoadedModel


@dataclass(frozen=True)
class KeyClass:
    """Keys that are not relevant and of one gap: how many, their raw margin in nats, R - r.

    margin: least relevant score minus the largest of theirs. after: Delta'_k, with the dial.
    """

    keys: int
    margin: float
    gap: float
    after: float


@dataclass(frozen=True)
class WorkedRow:
    """A query at position `row` that sees n keys, m of them relevant.

    dial: as the head takes it, schedule included. strength: -gain ln(1 - dial), nats; tau: the
    temperature there. margin: Delta', nats. Fidelities and off, eps_bar, are fractions, entropies
    bits; entropy_applies: whether that bound has its assumption.
    """

    row: int
    n: int
    m: int
    dial: float
    gain: float
    strength: float
    tau: float
    classes: tuple[KeyClass, ...]
    margin: float
    off: float
    fidelity_bound: float
    fidelity: float
    entropy_bound: float
    entropy: float
    entropy_applies: bool


def worked_rows(
    model: LoadedModel, prompt: Prompt, choices: Choices, layer: int, head: int, dial: float
) -> tuple[WorkedRow, ...]:
    """Every row that sees two keys or more and a relevant one, in its order; BoundError if none."""
    import torch

    from model.locality import bounds
    from model.locality.margins import row_margins
    from workbench.check_rows import row_checks
    from workbench.checks import attention
    from workbench.sweep import Window

    window = Window(np.array(prompt.ids), prompt.classes.copy())
    none = torch.zeros(model.config.n_layers, model.config.n_heads)  # of bounds not looked at
    passes = attention(model, [window], dial_of(dial, choices), (none, none))
    found, _ = next(islice(passes, layer, None))
    checks = list(islice(row_checks(found), 2))
    rows = row_margins(found.scores, found.relevance.raw(layer))
    strength, tau = float(found.strength[0, head]), float(found.tau[0, head])
    after = bounds.margin_after(rows.margins, strength, tau, rows.gaps)
    joint = bounds.joint_margin(after, rows.counts)
    off = bounds.off_mass(rows.n, rows.m, joint).value
    lambdas = dial_of(dial, choices).lambdas(model.config.n_layers, model.config.n_heads)
    worked = []
    for row in range(1, prompt.n_tokens):
        at = 0, head, row
        if not bool(checks[0].applies[at]):
            continue
        classes = tuple(
            KeyClass(int(count), *map(float, rest))
            for count, *rest in zip(
                rows.counts[at], rows.margins[at], rows.gaps[at], after[at], strict=True
            )
            if count
        )
        fidelity, entropy = checks
        worked.append(
            WorkedRow(
                row, int(rows.n[at]), int(rows.m[at]), float(lambdas[layer, 0, head]), choices.gain,
                strength, tau, classes, float(joint[at]), float(off[at]),
                float(fidelity.bound[at]), float(fidelity.measured[at]),
                float(entropy.bound[at]), float(entropy.measured[at]), bool(entropy.applies[at]),
            )
        )  # fmt: skip
    if not worked:
        raise no_row(layer, head)
    return tuple(worked)

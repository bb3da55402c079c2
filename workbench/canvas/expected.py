"""What Python says of a view at another dial, with the scores that the view holds.

For the first layer that is the model's own answer; deeper layers' scores move with the dial, so
there it is what the canvas may show until Python has run the model again. Imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from model.locality.bias import dial_bias
from model.locality.dial import strength, temperature_at
from model.locality.measures import entropy_bits
from model.transformer.layers import edited
from workbench.canvas.view import DialView


@dataclass(frozen=True)
class ExpectedFrame:
    """pattern [H, T, T], rows sum to 1; entropy_bits and fidelity [H], means over rows n >= 2."""

    pattern: np.ndarray
    entropy_bits: np.ndarray
    fidelity: np.ndarray


def expected_frame(view: DialView, dial: float) -> ExpectedFrame:
    """The view's layer at `dial`, in float64, by the model's own functions."""
    count = view.n_tokens
    visible = torch.ones(count, count, dtype=torch.bool).tril()
    scores = torch.from_numpy(view.scores.astype(np.float64))
    raw = torch.from_numpy(view.relevance.astype(np.float64)) * visible
    largest = raw.amax(dim=-1, keepdim=True)
    own = torch.eye(count, dtype=torch.bool) & (largest == 0)
    gap = torch.where(own, 1.0, raw)
    gap = gap.amax(dim=-1, keepdim=True) - gap
    lambdas = dial * torch.from_numpy(view.weights.astype(np.float64))
    causal = torch.zeros(count, count, dtype=torch.float64).masked_fill(~visible, -torch.inf)
    bias = dial_bias(gap[None], strength(lambdas, view.gain)[None], causal)
    tau = temperature_at(lambdas, view.temperature)[None]
    pattern = edited(scores[None], bias, tau).softmax(dim=-1)[0]
    fidelity = (pattern * ((raw == largest) & (raw > 0))).sum(dim=-1)
    means = [rows[:, 1:].mean(dim=-1) if count > 1 else rows[:, 0] * 0.0 for rows in (
        entropy_bits(pattern), fidelity
    )]  # fmt: skip
    return ExpectedFrame(pattern.numpy(), means[0].numpy(), means[1].numpy())

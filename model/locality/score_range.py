"""How large a raw score can be, from a head's weights alone: for any text, dial and position.

With x the normalised residual stream before the norm's gain, W' = diag(gain) W, and R_d the
rotation of RoPE over an offset d = i - j,

    s_ij = x_i^T W'_Q R_d^T W'_K^T x_j / sqrt(d_head)      and     ||x|| <= sqrt(d_model)

since RMSNorm divides by sqrt(mean(x^2) + eps). So, in nats,

    |s_ij| <= max over offsets of ||W'_Q R_d^T W'_K^T||_2 * d_model / sqrt(d_head)     score_range
           <= ||W'_Q||_2 ||W'_K||_2 * d_model / sqrt(d_head)                     loose_score_range

The norm of W'_Q W'_K^T itself bounds offset 0 only: it can be zero while another offset scores 1,
since rotation turns what is orthogonal. The margin of a row is at least -2 times its range, so that
the bounds of a row follow from weights alone, weak as they are then.

Live subspaces. Where the head reads only the span of orthonormal columns U on a side (all other
groups of that side exactly zero), W' = U U^T W', and `restricted` gives U^T W', of the same norm
and fewer rows. Where the other groups are not zero, the range of the restricted weights bounds only
the part of the score that passes through U on both sides.

Our own derivation (README, "What is ours"), in exact arithmetic; the norms are float64.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from model.errors import BoundError

_ORTHONORMAL = 1e-9
_MATRICES_AT_ONCE = 4096


def folded(weight: Tensor, gain: Tensor) -> Tensor:
    """W' = diag(gain) W, float64: weight [.., d_model, d_head], gain [d_model] of the norm."""
    return gain.double()[:, None] * weight.double()


def restricted(weight: Tensor, basis: Tensor) -> Tensor:
    """U^T W', what a side reads of the span of U: [.., d_model, d_head] -> [.., rank, d_head].

    basis: U, [d_model, rank], orthonormal columns; BoundError where they are not.
    """
    basis = basis.double()
    defect = basis.T @ basis - torch.eye(basis.shape[1], dtype=basis.dtype, device=basis.device)
    worst = float(defect.abs().max()) if defect.numel() else 0.0
    if not worst <= _ORTHONORMAL:
        raise BoundError(
            "Basis", worst, "its columns must be orthonormal", "Take it from the model's subspaces"
        )
    return basis.T @ weight.double()


def rotations(offsets: Tensor, d_head: int, theta: float) -> Tensor:
    """R_d of RoPE as float64 [offset, d_head, d_head]; the two halves of d_head are paired."""
    half = d_head // 2
    speed = theta ** (-2.0 * torch.arange(half, dtype=torch.float64) / d_head)
    angle = offsets.double()[:, None] * speed.to(offsets.device)
    low, high = torch.arange(half), torch.arange(half) + half
    turned = torch.zeros(len(offsets), d_head, d_head, dtype=torch.float64, device=offsets.device)
    turned[:, low, low] = turned[:, high, high] = angle.cos()
    turned[:, low, high] = -angle.sin()
    turned[:, high, low] = angle.sin()
    return turned


def score_range(w_q: Tensor, w_k: Tensor, turns: Tensor, largest_norm: float) -> Tensor:
    """The largest |s_ij| over the offsets of `turns`, nats: [..], float64.

    w_q, w_k: W'_Q and W'_K, [.., d_model or rank, d_head] each, ranks of their own. turns: R_d,
    [offset, d_head, d_head]. largest_norm: of x, sqrt(d_model) after RMSNorm.
    """
    w_q, w_k = _checked("W_Q", w_q, largest_norm), _checked("W_K", w_k, largest_norm)
    # ||A R B^T||_2 depends on A and B through their triangular factors only, which are small.
    a, b = torch.linalg.qr(w_q, mode="r").R, torch.linalg.qr(w_k, mode="r").R
    shape, scale = w_q.shape[:-2], largest_norm**2 / math.sqrt(w_q.shape[-1])
    a, b = a.flatten(0, -3) if shape else a[None], b.flatten(0, -3) if shape else b[None]
    found = torch.zeros(len(a), dtype=torch.float64, device=a.device)
    if min(w_q.shape[-2], w_k.shape[-2]) == 0:  # nothing is read, so every score is 0
        return found.view(shape)
    step = max(1, _MATRICES_AT_ONCE // max(1, len(a)))
    for some in turns.double().split(step):
        product = a[:, None] @ some.mT @ b[:, None].mT  # [head, offset, .., ..]
        found = torch.maximum(found, torch.linalg.svdvals(product)[..., 0].amax(dim=1))
    return found.view(shape) * scale


def loose_score_range(w_q: Tensor, w_k: Tensor, largest_norm: float) -> Tensor:
    """The same for every offset there could be, from two norms only, nats: [..], float64."""
    w_q, w_k = _checked("W_Q", w_q, largest_norm), _checked("W_K", w_k, largest_norm)
    if min(w_q.shape[-2], w_k.shape[-2]) == 0:
        return torch.zeros(w_q.shape[:-2], dtype=torch.float64, device=w_q.device)
    norms = torch.linalg.matrix_norm(w_q, 2) * torch.linalg.matrix_norm(w_k, 2)
    return norms * largest_norm**2 / math.sqrt(w_q.shape[-1])


def _checked(name: str, weight: Tensor, largest_norm: float) -> Tensor:
    if not bool(torch.isfinite(weight).all()):
        raise BoundError(name, "NaN or infinity", "must be finite", "Restore the weights")
    if not (math.isfinite(largest_norm) and largest_norm >= 0):
        raise BoundError(
            "Largest norm", largest_norm, "must be a finite length", "Use sqrt(d_model)"
        )
    return weight.double()

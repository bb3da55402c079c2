"""Cross-entropy of the tied output layer, computed in chunks that stay in the cache.

The logits of 2,048 tokens over 4,096 words are 33 MB; written, read and written again they cost as
much as the whole transformer. Here each chunk's logits become its gradient in place.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_CHUNK = 256


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype
    ) -> Tensor:
        n = hidden.shape[0]
        w = weight.to(dtype)
        total = torch.zeros((), device=hidden.device)
        d_hidden, d_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        for start in range(0, n, _CHUNK):
            rows = slice(start, start + _CHUNK)
            h, target = hidden[rows].to(dtype), targets[rows, None]
            logits = (h @ w.T).float()
            log_norm = logits.logsumexp(dim=-1, keepdim=True)
            total += (log_norm - logits.gather(1, target)).sum()
            grad = logits.sub_(log_norm).exp_()
            grad.scatter_add_(1, target, grad.new_full((1, 1), -1.0).expand_as(target))
            grad = grad.to(dtype)
            d_hidden[rows] = grad @ w
            d_weight += grad.T @ h
        ctx.save_for_backward(d_hidden.div_(n), d_weight.div_(n))
        return total / n

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        d_hidden, d_weight = ctx.saved_tensors
        return d_hidden * grads[0], d_weight * grads[0], None, None


def cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Mean of -log softmax(hidden @ weight.T)[target], nats per token, with its gradient.

    hidden [token, d_model]; weight [d_vocab, d_model]; targets int64 [token]. `dtype` is that of
    the matrix products; sums and exponentials stay in float32 (products in bfloat16 put an error
    of about 0.01 nats on a single logit; the evaluation never uses them).
    """
    loss: Tensor = _ChunkedCrossEntropy.apply(hidden, weight, targets, dtype)  # pyright: ignore
    return loss

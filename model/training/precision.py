"""Training precision: matrix products in bfloat16, everything else in float32.

On a CPU with AMX tiles such products are several times faster, while autocast as a whole is slower
(it also casts the cheap operations); on CUDA autocast is the right tool.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Precision = Literal["fp32", "bf16"]


class _Bfloat16Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        rows, w = x.flatten(0, -2).bfloat16(), weight.bfloat16()
        ctx.save_for_backward(rows, w)
        ctx.shape = x.shape
        return (rows @ w.T).float().view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        rows, w = ctx.saved_tensors
        grad = grads[0].flatten(0, -2).bfloat16()
        return (grad @ w).float().view(ctx.shape), (grad.T @ rows).float()


class _Bfloat16Products(TorchFunctionMode):
    """Within this mode every bias-free `F.linear` multiplies in bfloat16."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.linear and all(extra is None for extra in args[2:]):
            return _Bfloat16Linear.apply(args[0], args[1])
        return func(*args, **(kwargs or {}))


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 products are worth it here: CUDA, or a CPU with AMX tiles."""
    return device.type == "cuda" or bool(torch.cpu._is_amx_tile_supported())


def products(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """The context in which a training step runs its forward pass."""
    if precision == "fp32":
        return contextlib.nullcontext()
    if device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16)
    return _Bfloat16Products()

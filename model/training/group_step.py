"""A stochastic step on the penalised groups whose proximal step is exact.

Adam has one step size a number, and the prox that matches such a metric has no closed form; the
closed form after Adam minimises nothing in particular. So the second moment is kept a group, not a
number: the metric of the step is then one number a group, and the shrink is its exact prox.

    v_g <- beta2 v_g + (1 - beta2) mean(grad_g^2)         eta_g = rate / (sqrt(v_g / bias) + eps)
    z_g <- prox of eta_g alpha w_g ||.|| at  z_g - eta_g m_g / bias

The pool's columns carry no penalty, which is a loophole: heads move their scores there, and zeros
mean nothing. So a unit's pool part is held to at most `cap` times the norm of its blocks' part.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from model.locality.penalties import Groups
from model.locality.prox import shrink, thresholds
from model.training.adamw import BETAS
from model.transformer.decoder import Decoder
from model.transformer.rotation import layers_of

_EPS = 1e-8


class GroupStep:
    """Moments of the groups' gradients: first float32 of z's shape, second [layer, unit, block].

    groups: those of all dimensions, the pool's as the last block. cap: no unit.
    """

    def __init__(self, groups: Groups, device: torch.device, cap: float) -> None:
        self._groups, self._cap = groups, cap
        self._penalised = torch.ones(len(groups.ranks), dtype=torch.float64, device=device)
        self._penalised[-1] = 0.0
        self.first = torch.zeros(groups.shape, device=device)
        self.second = torch.zeros(
            groups.n_layers, groups.units, len(groups.ranks), dtype=torch.float64, device=device
        )
        self.count = 0
        self._sizes = torch.tensor(groups.ranks, dtype=torch.float64, device=device) * groups.d_head

    def take_gradients(self, decoder: Decoder) -> Tensor:
        """The groups' gradients, copied out of the decoder's, where they become 0."""
        rows = []
        for layer in layers_of(decoder):
            for linear in (layer.attn.q, layer.attn.k):
                gradient = linear.weight.grad
                assert gradient is not None
                rows.append(gradient[:, : self._groups.committed].clone())
                gradient[:, : self._groups.committed] = 0.0
        return torch.cat(rows).view(self._groups.shape)

    @torch.no_grad()
    def apply(self, decoder: Decoder, gradient: Tensor, rate: float, alpha: float) -> Tensor:
        """One step in place; rate: as Adam's; alpha: nats per unit of weight. Returns z."""
        groups, (beta1, beta2) = self._groups, BETAS
        self.count += 1
        self.first.lerp_(gradient, 1.0 - beta1)
        self.second.lerp_(groups.norms(gradient).square() / self._sizes, 1.0 - beta2)
        scale = (self.second / (1.0 - beta2**self.count)).sqrt() + _EPS
        steps = rate / scale
        moved = (
            groups.read(decoder)
            - groups.spread(steps / (1.0 - beta1**self.count)).to(gradient.dtype) * self.first
        )
        limits = thresholds(groups, alpha, steps) * self._penalised
        z = self._capped(shrink(moved, groups, limits))
        groups.write(decoder, z)
        return z

    def _capped(self, z: Tensor) -> Tensor:
        norms = self._groups.norms(z)
        most = self._cap * norms[..., :-1].square().sum(dim=-1).sqrt()
        scale = torch.ones_like(norms)
        scale[..., -1] = torch.where(norms[..., -1] > most, most / norms[..., -1], 1.0)
        return z * self._groups.spread(scale).to(z.dtype)

    def tensors(self) -> dict[str, Tensor]:
        """Copies of the state, on the CPU."""
        return {
            "groups.first": self.first.to("cpu", copy=True),
            "groups.second": self.second.to("cpu", copy=True),
            "groups.count": torch.tensor(self.count),
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `tensors`."""
        self.first.copy_(tensors["groups.first"])
        self.second.copy_(tensors["groups.second"])
        self.count = int(tensors["groups.count"])

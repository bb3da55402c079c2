"""AdamW as this project uses it: decay on matrices, none on gains; its state as named tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from model.training.presets import Preset
from model.transformer.decoder import Decoder

if TYPE_CHECKING:
    from model.training.loop import Snapshot

BETAS = (0.9, 0.98)


def adamw(decoder: Decoder, recipe: Preset) -> torch.optim.Optimizer:
    """On every parameter of the decoder."""
    matrices = [p for p in decoder.parameters() if p.ndim == 2]
    vectors = [p for p in decoder.parameters() if p.ndim != 2]
    return adamw_of([(matrices, recipe.weight_decay), (vectors, 0.0)], recipe)


def adamw_of(
    groups: list[tuple[list[nn.Parameter], float]], recipe: Preset
) -> torch.optim.Optimizer:
    """groups: parameters, each list with its decay."""
    return torch.optim.AdamW(
        [{"params": parameters, "weight_decay": decay} for parameters, decay in groups],
        lr=recipe.learning_rate,
        betas=BETAS,
        fused=True,
    )


def stepped(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """One step at that rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Copies on the CPU, by "optimizer.<index>.<name>"."""
    return {
        f"optimizer.{index}.{name}": value.detach().to("cpu", copy=True)
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, snapshot: Snapshot) -> None:
    """The inverse of `optimizer_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in snapshot.tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimizer":
            index, _, key = rest.partition(".")
            state.setdefault(int(index), {})[key] = value.clone()
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})

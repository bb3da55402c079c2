"""Learning under the group penalty: AdamW on all weights but those of queries and keys.

Those take proximal steps whose zeros are exact (`group_step`); the reads follow the support. The
objective whose stationarity is certified is solved afterwards, with the pool and all else frozen
(`proximal`).

Gains stay as they are: 1 before attention and MLP, so that groups are slices of weights, and one
number at the end, so that input and output embeddings stay one matrix in any basis.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.blocks.directions import block_subspaces
from model.blocks.subspaces import Subspaces
from model.errors import SubspaceError
from model.locality.penalties import Groups
from model.locality.reads import Reads
from model.locality.support import reads_of_support
from model.training.adamw import adamw_of, optimizer_tensors, restore_optimizer, stepped
from model.training.batches import Documents
from model.training.group_step import GroupStep
from model.training.loop import Snapshot
from model.training.presets import Preset
from model.transformer.decoder import Decoder
from model.transformer.rotation import rotated

READS_EVERY = 25  # steps between two looks at the support
_ROWS = 64


def subspaces_of(
    decoder: Decoder,
    documents: Documents,
    class_names: tuple[str, ...],
    rank: int,
    tokens: int,
    length: int,
    seed: int,
) -> Subspaces:
    """Subspaces of the blocks that occur in training text (every class but NONE and BOS may)."""
    ids, classes = documents.packed(length + 1, seed)
    rows = min(len(ids), -(-tokens // length))
    blocks = classes[:rows, :-1].flatten().numpy()
    member = blocks < len(class_names) - 2
    there, blocks = np.unique(blocks[member], return_inverse=True)
    inputs = [x[member] for x in layer_inputs(decoder, ids[:rows, :-1])]
    return block_subspaces(inputs, blocks, tuple(class_names[b] for b in there), rank)


@torch.no_grad()
def layer_inputs(decoder: Decoder, ids: Tensor) -> list[NDArray[np.float64]]:
    """What each layer's first norm hands on, without its gain: [token, d_model] a layer."""
    names = [f"blocks.{layer}.hook_resid_pre" for layer in range(decoder.config.n_layers)]
    parts: list[list[Tensor]] = [[] for _ in names]
    for start in range(0, len(ids), _ROWS):
        rows = ids[start : start + _ROWS].to(decoder.embed.weight.device)
        _, cache = decoder.run_with_cache(rows, names_filter=names)
        for part, name in zip(parts, names, strict=True):
            x = cache[name].flatten(0, 1).double()
            scale = (x.square().mean(dim=-1, keepdim=True) + decoder.config.norm_eps).rsqrt()
            part.append((x * scale).cpu())
    return [torch.cat(part).numpy() for part in parts]


def prepared(decoder: Decoder, subspaces: Subspaces) -> Decoder:
    """A decoder in the subspaces' basis to go on training: its last gain is one number, the mean.

    That changes its logits a little, which training makes good; nothing else does. Its gains take
    no gradient.
    """
    flat = Decoder(decoder.config).to(decoder.embed.weight)
    flat.load_state_dict(decoder.state_dict())
    with torch.no_grad():
        flat.ln_final.weight.fill_(float(decoder.ln_final.weight.double().mean()))
    found = rotated(flat, subspaces.basis).train().requires_grad_(True)
    for parameter in found.parameters():
        if parameter.ndim == 1:
            parameter.requires_grad_(False)
    return found


class Sparsifying:
    """A `Learner` under alpha (nats per unit of weight), risen after the share `ramp` of steps.

    decoder: from `prepared`. pool_cap: as `GroupStep`.
    """

    def __init__(
        self,
        decoder: Decoder,
        subspaces: Subspaces,
        recipe: Preset,
        class_names: tuple[str, ...],
        alpha: float,
        ramp: float,
        pool_cap: float,
    ) -> None:
        if not subspaces.pool_size:
            raise SubspaceError(
                "Pool", 0, "must have a dimension: it carries the scores where all else is zero",
                "Lower the rank of the blocks",
            )  # fmt: skip
        config = decoder.config
        self._decoder, self._recipe = decoder, recipe
        self._blocks, self._class_names = subspaces.names, class_names
        self._groups = Groups.of(config, subspaces.ranks)
        everything = Groups.of(config, (*subspaces.ranks, subspaces.pool_size))
        self._step = GroupStep(everything, decoder.embed.weight.device, pool_cap)
        scores = {id(p) for name, p in decoder.named_parameters() if _is_score(name)}
        learned = [p for p in decoder.parameters() if p.requires_grad and id(p) not in scores]
        self._optimizer = adamw_of([(learned, recipe.weight_decay)], recipe)
        self._alpha, self._rise = alpha, max(1.0, ramp * recipe.steps)
        self._reads: Reads | None = None

    def reads(self, step: int) -> Reads:
        if self._reads is None or step % READS_EVERY == 1:
            self._reads = self.final_reads()
        return self._reads

    def update(self, step: int, rate: float) -> None:
        gradient = self._step.take_gradients(self._decoder)
        stepped(self._optimizer, rate)
        alpha = self._alpha * min(1.0, step / self._rise)
        self._step.apply(self._decoder, gradient, rate, alpha)

    def final_reads(self) -> Reads:
        alive = self._groups.alive(self._groups.read(self._decoder))
        return reads_of_support(alive, self._groups, self._blocks, self._class_names)

    def tensors(self) -> dict[str, Tensor]:
        return {**optimizer_tensors(self._optimizer), **self._step.tensors()}

    def restore(self, snapshot: Snapshot) -> None:
        restore_optimizer(self._optimizer, snapshot)
        self._step.restore(snapshot.tensors)
        self._reads = snapshot.reads


def _is_score(name: str) -> bool:
    return name.endswith((".attn.q.weight", ".attn.k.weight"))

"""The smooth part of the group-sparse objective: a mean loss on a fixed set, at fixed dials.

    f(z) = sum_k c_k * mean over the set of -log p(next token; dial lambda_k)        nats per token

The set, the dials lambda_k and their weights c_k are stated, and hashed, so that a KKT residual
can be computed again from weights and data alone. All parameters but the groups' columns of
`q.weight` and `k.weight` stay as they are.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from model.errors import PenaltyError
from model.locality.dial import DEFAULT_GAIN, Dial
from model.locality.penalties import Groups, require_folded
from model.locality.reads import Reads
from model.locality.relevance import Relevance
from model.training.batches import Documents
from model.transformer.decoder import Decoder
from model.transformer.rotation import layers_of


@dataclass(frozen=True)
class Quadrature:
    """Dials in [0, 1] and positive weights that sum to 1; gain as in `Dial`."""

    dials: tuple[float, ...]
    weights: tuple[float, ...]
    gain: float = DEFAULT_GAIN

    def __post_init__(self) -> None:
        for value in self.dials:
            Dial(value, gain=self.gain)
        ok = len(self.dials) == len(self.weights) > 0 and min(self.weights) > 0
        if not ok or abs(math.fsum(self.weights) - 1.0) > 1e-12:
            raise PenaltyError(
                "Weights of the dials",
                self.weights,
                f"must be positive, sum to 1, and be one for each of {self.dials}",
                "Divide them by their sum",
            )

    @classmethod
    def of_mixture(
        cls, share_zero: float, share_one: float, nodes: int = 2, gain: float = DEFAULT_GAIN
    ) -> Quadrature:
        """For the dials that training samples: atoms at 0 and 1, the rest uniform between.

        The atoms are exact; the uniform part is Gauss-Legendre with 1 or 2 nodes, exact for losses
        that are polynomials of degree 1 or 3 in the dial.
        """
        between = 1.0 - share_zero - share_one
        if nodes not in (1, 2):
            raise PenaltyError("Nodes", nodes, "must be 1 or 2", "Choose 2")
        half = 0.5 / math.sqrt(3.0)
        places = (0.5,) if nodes == 1 else (0.5 - half, 0.5 + half)
        pairs = [(0.0, share_zero), *((place, between / nodes) for place in places)]
        kept = [(dial, weight) for dial, weight in (*pairs, (1.0, share_one)) if weight > 1e-12]
        return cls(tuple(d for d, _ in kept), tuple(w for _, w in kept), gain)


@dataclass(frozen=True, eq=False)
class FixedSet:
    """Packed windows. ids and classes: int64 [row, length + 1]; targets are ids[:, 1:]."""

    ids: Tensor
    classes: Tensor

    @classmethod
    def draw(cls, documents: Documents, tokens: int, length: int, seed: int) -> FixedSet:
        """The first windows of a packing drawn from `seed`, of at least `tokens` targets together.

        PenaltyError where the documents are too few.
        """
        ids, classes = documents.packed(length + 1, seed)
        rows = -(-tokens // length)
        if not 1 <= rows <= len(ids):
            raise PenaltyError(
                "Tokens of the objective set",
                tokens,
                f"these documents fill {len(ids) * length}",
                "Ask for fewer, at least one window",
            )
        return cls(ids[:rows].clone(), classes[:rows].clone())

    @property
    def tokens(self) -> int:
        """Number of targets."""
        return self.ids[:, 1:].numel()

    def sha256(self, quadrature: Quadrature, reads: Reads | None = None) -> str:
        """Hex hash of ids, classes, dials, weights, gain and reads: what f depends on but z."""
        digest = hashlib.sha256()
        settings = [list(self.ids.shape), quadrature.dials, quadrature.weights, quadrature.gain]
        settings.append(None if reads is None else reads.to_dict())
        digest.update(json.dumps(settings, allow_nan=False).encode())
        for tensor in (self.ids, self.classes):
            digest.update(tensor.contiguous().cpu().numpy().astype("<i8").tobytes())
        return digest.hexdigest()


class PenalisedLoss:
    """f as a function of z: call it with z, get (nats per token, gradient); float64 outside.

    decoder: rotated, its gains folded (PenaltyError otherwise); a call writes z into it, rounded to
    its dtype, so that it always holds the point that was last evaluated. Sums over chunks and
    gradients of chunks are kept in float64. reads: None only where all dials are 0. chunk: rows
    at a time; it changes results by rounding only.
    """

    def __init__(
        self,
        decoder: Decoder,
        groups: Groups,
        data: FixedSet,
        quadrature: Quadrature,
        reads: Reads | None = None,
        chunk: int = 32,
    ) -> None:
        require_folded(decoder)
        if reads is None and any(quadrature.dials):
            raise PenaltyError(
                "Reads", None, "are needed for dials above 0", "Give the reads of the model"
            )
        self.decoder, self.groups, self.data = decoder, groups, data
        self.quadrature, self.reads, self._chunk = quadrature, reads, chunk
        self.evaluations = 0

    @property
    def sha256(self) -> str:
        return self.data.sha256(self.quadrature, self.reads)

    def __call__(self, z: Tensor) -> tuple[float, Tensor]:
        """f and its gradient by z, float64 [layer, unit, d_head, committed]."""
        self.groups.write(self.decoder, z)
        self.evaluations += 1
        weights = [w for layer in layers_of(self.decoder) for w in (layer.attn.q, layer.attn.k)]
        matrices = [linear.weight for linear in weights]
        gradients = [torch.zeros_like(matrix, dtype=torch.float64) for matrix in matrices]
        asked = [matrix.requires_grad for matrix in matrices]
        frozen = [p for p in self.decoder.parameters() if p.requires_grad]
        total = 0.0
        try:
            self.decoder.requires_grad_(False)
            for matrix in matrices:
                matrix.requires_grad_(True)
            for loss, share in self._losses():
                for kept, part in zip(gradients, torch.autograd.grad(loss, matrices), strict=True):
                    kept.add_(part, alpha=share)
                total += share * float(loss.detach())
        finally:
            for matrix, wanted in zip(matrices, asked, strict=True):
                matrix.requires_grad_(wanted)
            for parameter in frozen:
                parameter.requires_grad_(True)
        return total, self._stacked(gradients)

    @torch.no_grad()
    def value(self, z: Tensor) -> float:
        """f alone, nats per token."""
        self.groups.write(self.decoder, z)
        return math.fsum(share * float(loss) for loss, share in self._losses())

    def _losses(self) -> Iterable[tuple[Tensor, float]]:
        """Mean loss of each chunk at each dial, and its share of f."""
        device = self.decoder.embed.weight.device
        rows = len(self.data.ids)
        for start in range(0, rows, self._chunk):
            ids = self.data.ids[start : start + self._chunk].to(device)
            relevance = None
            if self.reads is not None:
                classes = self.data.classes[start : start + self._chunk, :-1].to(device)
                relevance = Relevance.compile(classes, self.reads, self.decoder.embed.weight.dtype)
            for dial, weight in zip(self.quadrature.dials, self.quadrature.weights, strict=True):
                setting = Dial(dial, gain=self.quadrature.gain)
                logits = self.decoder(ids[:, :-1], setting, relevance).flatten(0, 1)
                # A mean in float32 would round f by more than a step near the end changes it.
                tokens = F.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none")
                yield tokens.double().mean(), weight * len(ids) / rows

    def _stacked(self, gradients: list[Tensor]) -> Tensor:
        """Gradients of q and k, layer by layer, as one tensor of z's shape."""
        groups = self.groups
        pairs = zip(gradients[::2], gradients[1::2], strict=True)
        rows = [torch.cat(pair)[:, : groups.committed] for pair in pairs]
        return torch.stack(rows).view(groups.shape)

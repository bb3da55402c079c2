"""The penalised objective of a model, by its stated specification: set, dials, seed.

A certificate carries the specification; weights and data then give every number again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from model.errors import PenaltyError

if TYPE_CHECKING:
    from model.locality.penalties import Groups
    from model.locality.reads import Reads
    from model.training.batches import Documents
    from model.training.penalised import PenalisedLoss
    from model.transformer.decoder import Decoder


@dataclass(frozen=True)
class ObjectiveSpec:
    """Which text, and at which dials.

    tokens: least number of targets; length: of a window, tokens; seed: of the packing of the
    training split; dials and weights as in `Quadrature`.
    """

    tokens: int
    length: int
    seed: int
    dials: tuple[float, ...]
    weights: tuple[float, ...]
    gain: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ObjectiveSpec:
        """The inverse of `to_dict`; PenaltyError on anything missing or unknown."""
        names = set(cls.__dataclass_fields__)
        if set(data) != names:
            raise PenaltyError(
                "Objective",
                sorted(set(data) ^ names),
                f"must have exactly {', '.join(sorted(names))}",
                "Restore the certificate",
            )
        return cls(
            int(data["tokens"]),
            int(data["length"]),
            int(data["seed"]),
            tuple(data["dials"]),
            tuple(data["weights"]),
            float(data["gain"]),
        )

    def loss(
        self, decoder: Decoder, groups: Groups, training: Documents, reads: Reads
    ) -> PenalisedLoss:
        """f of that decoder, which it will write to; reads stay as given whatever the groups do."""
        from model.training.penalised import FixedSet, PenalisedLoss, Quadrature

        data = FixedSet.draw(training, self.tokens, self.length, self.seed)
        quadrature = Quadrature(self.dials, self.weights, self.gain)
        return PenalisedLoss(decoder, groups, data, quadrature, reads)


def copied(decoder: Decoder) -> Decoder:
    """The same decoder with weights of its own: an objective writes to the one it is given."""
    from model.transformer.decoder import Decoder as Kind

    found = Kind(decoder.config).to(decoder.embed.weight)
    found.load_state_dict(decoder.state_dict())
    return found.eval().requires_grad_(False)

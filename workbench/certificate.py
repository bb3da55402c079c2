"""The certificate of a group-sparse model: what it claims, from weights and data alone.

Made once when the model is, stored with it, and computed again by `certify`: the claims name the
objective (which text, which dials, which seed), the penalty's strength and the tolerance; every
other number follows from weights and data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model.errors import CheckpointError
from workbench.objective import ObjectiveSpec, copied

if TYPE_CHECKING:
    from model.blocks.subspaces import Subspaces
    from model.locality.penalties import Groups
    from model.locality.reads import Reads
    from model.training.batches import Documents
    from model.transformer.checkpoint import LoadedModel
    from model.transformer.decoder import Decoder

FORMAT = 1
POOL_TOKENS = 16_384
BOUND_TEXTS = 64
BOUND_DIALS = (0.0, 0.5, 1.0)
# What a second computation may differ by: other threads add in another order.
CLOSE = {"kkt_residual": 5e-5, "alpha_over_alpha_max": 1e-5, "pool_score_share": 1e-5}


@dataclass(frozen=True)
class Claim:
    """What cannot be computed from weights and data. alpha: nats per unit of weight."""

    objective: ObjectiveSpec
    alpha: float
    tolerance: float
    seed: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "objective": self.objective.to_dict(),
            "alpha": self.alpha,
            "tolerance": self.tolerance,
            "seed": self.seed,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Claim:
        """The claim in a certificate; CheckpointError where it has none."""
        try:
            objective = ObjectiveSpec.from_dict(data["objective"])
            alpha, tolerance = float(data["alpha"]), float(data["tolerance"])
            return cls(objective, alpha, tolerance, int(data["seed"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                "Certificate",
                type(error).__name__,
                "must name objective, alpha, tolerance and seed",
                "Restore the model directory",
            ) from error


def stationarity(
    decoder: Decoder, subspaces: Subspaces, reads: Reads, training: Documents, claim: Claim
) -> dict[str, Any]:
    """Residual, zeros, alpha_max and pool of a rotated decoder, as the certificate holds them.

    Three passes: f and its gradient at the model, and with all groups at zero (which, with all else
    frozen, *is* the model fitted with its groups at zero), and the pool's share of the scores.
    """
    from model.locality.penalties import Groups
    from model.locality.pool_share import pool_share
    from model.locality.stationarity import alpha_max, dial_of, kkt_residual

    groups = Groups.of(decoder.config, subspaces.ranks)
    z = groups.read(decoder).double()
    loss = claim.objective.loss(copied(decoder), groups, training, reads)
    value, gradient = loss(z)
    residual = kkt_residual(gradient, z, groups, claim.alpha)
    value_at_zero, gradient_at_zero = loss(z * 0.0)
    largest = alpha_max(gradient_at_zero, groups)
    zeros = groups.zeros(z)
    rows = -(-POOL_TOKENS // claim.objective.length)
    pool = pool_share(decoder, groups, loss.data.ids[:rows, :-1])
    layer, unit, block = residual.worst
    return {
        "kkt_residual": residual.value,
        "kkt_worst": _place(groups, subspaces, layer, unit, block),
        "kkt_of_zero_groups": residual.of_zero,
        "kkt_of_living_groups": residual.of_alive,
        "stationary": residual.value <= claim.tolerance,
        "groups": zeros.groups,
        "zero_groups": zeros.exact,
        "zero_group_share": zeros.exact_share,
        "small_group_share": zeros.small_share,
        "zero_share_by_block": dict(zip(subspaces.names, zeros.by_block, strict=True)),
        "alpha": claim.alpha,
        "alpha_max": largest,
        "alpha_over_alpha_max": dial_of(claim.alpha, largest),
        "threshold": {
            name: claim.alpha * float(weight)
            for name, weight in zip(subspaces.names, groups.weights, strict=True)
        },
        "objective_nats": value + groups.penalty(z, claim.alpha),
        "loss_nats": value,
        "loss_nats_without_groups": value_at_zero,
        "pool_score_share": pool.overall,
        "pool_score_share_of_variance": pool.of_variance,
        "committed_dimensions": subspaces.committed,
        "d_model": subspaces.d_model,
        "objective_sha256": loss.sha256,
    }


def _place(groups: Groups, subspaces: Subspaces, layer: int, unit: int, block: int) -> str:
    side, head = ("query", unit) if unit < groups.n_heads else ("key", unit - groups.n_heads)
    return f"layer {layer}, {side} head {head}, {subspaces.names[block]}"


def worst_slacks(model: LoadedModel) -> list[dict[str, Any]]:
    """Least slack of each bound a layer and head over the first test glosses, with its status."""
    from model.training.corpus import load_glosses, split_texts
    from workbench.checks import FAILS, check_texts

    texts = split_texts(load_glosses())["test"][:BOUND_TEXTS]
    worst: dict[tuple[str, int, int], Any] = {}
    for check in check_texts(model, texts, BOUND_DIALS):
        key = (check.name, check.layer, check.head)
        old = worst.get(key)
        slack = math.inf if check.slack is None else check.slack
        if old is None or check.status == FAILS or slack < old[0]:
            worst[key] = (slack, check)
    return [
        {
            "name": check.name,
            "layer": check.layer,
            "head": check.head,
            "dial": check.dial,
            "status": check.status,
            "slack": check.slack,
            "unit": check.unit,
        }
        for _, check in worst.values()
    ]


def differences(stored: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What a second computation found otherwise, in sentences; empty where they agree.

    Counts, zeros and hashes must be equal; residual and shares within `CLOSE`.
    """
    said = []
    for name in ("groups", "zero_groups", "zero_group_share", "objective_sha256", "stationary"):
        if stored.get(name) != found[name]:
            said.append(f"{name}: stored {stored.get(name)}, found {found[name]}")
    for name, most in CLOSE.items():
        value = stored.get(name)
        if not isinstance(value, (int, float)) or not abs(value - found[name]) <= most:
            said.append(f"{name}: stored {value}, found {found[name]} (may differ by {most:g})")
    return said

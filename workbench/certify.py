"""A certificate held against weights and data."""

from __future__ import annotations

from typing import Any

from model.errors import CheckpointError
from workbench.certificate import FORMAT, Claim, differences, stationarity, worst_slacks
from workbench.models import open_model


def certify(name: str) -> tuple[dict[str, Any], list[str]]:
    """What weights and data give, and where it differs from what the model's certificate says.

    CheckpointError for a model that has none, or that was made with other data.
    """
    model = open_model(name, "cpu")
    if model.certificate is None or model.subspaces is None:
        raise CheckpointError(
            "Model",
            name,
            "has no certificate: it was not trained under the group penalty",
            "Use bundled-sparse, or make one with `python -m workbench sparsify bundled-sparse`",
        )
    if model.certificate.get("format") != FORMAT:
        raise CheckpointError(
            "Certificate", model.certificate.get("format"), f"must have format {FORMAT}",
            "Use a model written by this version",
        )  # fmt: skip
    claim = Claim.from_dict(model.certificate)
    from workbench.sources import load_sources

    sources = load_sources()
    if model.certificate.get("data_sha256") != sources.data_sha256:
        raise CheckpointError(
            "Data of the certificate",
            model.certificate.get("data_sha256"),
            f"is not the data here ({sources.data_sha256})",
            "Restore sample_data/",
        )
    found = {
        "model": name,
        "content_hash": model.content_hash,
        "format": FORMAT,
        **claim.to_dict(),
        "data_sha256": sources.data_sha256,
        **stationarity(model.decoder, model.subspaces, model.reads, sources.training, claim),
        "worst_slack": worst_slacks(model),
    }
    said = differences(model.certificate, found)
    return found | {"agrees": not said, "differences": said}, said

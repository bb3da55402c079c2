"""What a checkpoint says of its making; nothing in it depends on the hour or the place."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.paths import PROJECT


def code_version() -> str:
    """sha256 over the name and content of every module in model/, hex."""
    digest = hashlib.sha256()
    for path in sorted((PROJECT / "model").rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(PROJECT).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def provenance(
    name: str,
    identity: Mapping[str, Any],
    counts: Mapping[str, int],
    curve: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The content of provenance.json.

    `identity`: recipe, device, code_sha256 and data_sha256, as the run began. `counts`: parameters,
    training tokens and the like. `curve`: one entry a report, losses in nats per token. No clock:
    two equal runs write equal files.
    """
    import torch

    recipe = identity["recipe"]
    return {
        "format": 1,
        "name": name,
        "title": f"{recipe['name']}, seed {recipe['seed']}",
        "description": recipe["description"],
        "preset": dict(recipe),
        "seed": recipe["seed"],
        "threads": recipe["threads"],
        "device": identity["device"],
        "precision": recipe["precision"],
        "data_sha256": identity["data_sha256"],
        "code_sha256": identity["code_sha256"],
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        **counts,
        "curve": [dict(entry) for entry in curve],
    }

"""Small files, written whole or not at all, and JSON that is read with suspicion."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from model.errors import CheckpointError

_LARGEST_JSON = 64 * 2**20


def write_atomic(path: Path, content: bytes) -> None:
    """Replace `path` by `content`; a kill at any moment leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def to_json(data: Any) -> str:
    """Readable JSON with a final newline; a ValueError on NaN and infinity."""
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def plain(data: dict[str, Any]) -> dict[str, Any]:
    """The data as it comes back from JSON: lists for tuples."""
    return json.loads(to_json(data))


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file of at most 64 MiB, else CheckpointError."""
    try:
        size = path.stat().st_size
        if size > _LARGEST_JSON:
            raise CheckpointError(
                "File", path.name, f"must have at most {_LARGEST_JSON} bytes", "Restore the file"
            )
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            "Model file", f"{path.parent.name}/{path.name}", "is missing", "Restore the directory"
        ) from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(
            "File", path.name, f"cannot be read as JSON ({type(error).__name__})", "Restore it"
        ) from error
    if not isinstance(data, dict):
        raise CheckpointError("File", path.name, "must hold a JSON object", "Restore the file")
    return data

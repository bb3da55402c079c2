"""Where things lie: what ships with the project, and what a person makes with it.

A name never becomes a path before `check_name` has seen it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from model.errors import ModelNotFoundError

PROJECT = Path(__file__).resolve().parents[1]
SAMPLE_DATA = PROJECT / "sample_data"
SHIPPED_MODELS = SAMPLE_DATA / "models"
STORE_VARIABLE = "LOCALIST_STORE"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")


def store() -> Path:
    """The person's own folder: `runs/`, or where LOCALIST_STORE points; nothing is created here."""
    named = os.environ.get(STORE_VARIABLE, "").strip()
    return Path(named).expanduser().resolve() if named else PROJECT / "runs"


def own_models() -> Path:
    """Folder of the models that this person trained."""
    return store() / "models"


def training_runs() -> Path:
    """Folder of unfinished training runs, one directory a run."""
    return store() / "training"


def model_folders() -> tuple[Path, ...]:
    """Folders that hold model directories, those that ship first."""
    return SHIPPED_MODELS, own_models()


def check_name(name: object, subject: str = "Model name") -> str:
    """The name itself if it is one, else ModelNotFoundError: a name is never a path."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise ModelNotFoundError(
            subject,
            name,
            "must be lower-case letters, digits, '.', '_' or '-', at most 64 and no path",
            "Use a name that `python -m workbench models` lists",
        )
    return name

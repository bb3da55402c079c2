"""The evidence bundle: an audit as a folder that another person can check without a network.

    manifest.json   what was audited, with what, and the hash of every other file
    results.json    every number, as canonical JSON
    *.csv           the same as tables
    report.html     the same for people, in one file

The content hash covers all of this but the time, which stands apart in the manifest: the same audit
on the same machine gives the same hash. A hash guards against accidents; who alters a number can
write the hashes anew. What holds a bundle to the truth is `evidence_verify`, which audits again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.errors import EvidenceError, TextError
from workbench.audit import audit_text
from workbench.audit_log import canonical
from workbench.evidence_redaction import check_salt, redacted, redacted_audit
from workbench.evidence_report import report
from workbench.evidence_tables import tables
from workbench.files import read_object, write_atomic
from workbench.paths import PROJECT, model_folders

if TYPE_CHECKING:
    from model.locality.dial import Dial
    from model.transformer.checkpoint import LoadedModel

KIND, FORMAT = "localist-evidence", 1
MANIFEST, RESULTS, REPORT = "manifest.json", "results.json", "report.html"
MOST_PROMPTS = 1000
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Settings:
    """What an audit is asked for. device: where it ran. salt: hex, "" where nothing is redacted."""

    model: str
    dial: float
    gain: float
    temperature: float = 1.0
    schedule: str = "uniform"
    beta: float = 1.0
    device: str = "cpu"
    salt: str = ""

    def to_dial(self) -> Dial:
        """The dial of the science; DialError on values that are none."""
        from model.locality.dial import Dial, Schedule

        schedule = Schedule(self.schedule, self.beta)  # pyright: ignore[reportArgumentType]
        return Dial(self.dial, self.gain, self.temperature, schedule)


def results(
    model: LoadedModel,
    texts: Sequence[str],
    settings: Settings,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The content of results.json; TextError names what is wrong with a prompt.

    EvidenceError beyond `MOST_PROMPTS`, or on a salt that is none.
    """
    if not 1 <= len(texts) <= MOST_PROMPTS:
        raise EvidenceError(
            "Prompts",
            len(texts),
            f"must be 1 to {MOST_PROMPTS}",
            "Use `python -m workbench audit-batch` for more",
        )
    salt, dial, audits = check_salt(settings.salt), settings.to_dial(), []
    for number, text in enumerate(texts, start=1):
        try:
            found = audit_text(model, text, dial).to_dict()
        except TextError as error:
            named = f"{error.subject} {number}"
            raise TextError(named, error.value, error.rule, error.remedy) from error
        audits.append(redacted_audit(found, redacted(text, salt)) if salt else found)
        if progress is not None:
            progress(number, len(texts))
    return json.loads(canonical({"kind": "localist-audit", "format": FORMAT, "audits": audits}))


def subject(model: LoadedModel, settings: Settings, n_prompts: int) -> dict[str, Any]:
    """What the numbers depend on, apart from the prompts: the hashed part of the manifest."""
    import platform

    import numpy
    import tokenizers
    import torch

    return {
        "model": {
            "name": settings.model,
            "content_hash": model.content_hash,
            "files": model_files(settings.model),
        },
        "rules": None,
        "code_sha256": code_hash(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": numpy.__version__,
            "tokenizers": tokenizers.__version__,
        },
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "seed": None,  # nothing in an audit is drawn
        "settings": asdict(settings),
        "prompts": n_prompts,
    }


def bundle_files(found: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, bytes]:
    """Every file but the manifest, from results and subject alone."""
    files = {RESULTS: canonical(found) + "\n"}
    files |= {f"{table.name}.csv": table.to_csv() for table in tables(found, about)}
    files[REPORT] = report(found, about)
    return {name: text.encode() for name, text in files.items()}


def manifest(files: Mapping[str, bytes], about: Mapping[str, Any]) -> dict[str, Any]:
    """The hashed part of the manifest, with its hash."""
    content = {
        "kind": KIND,
        "format": FORMAT,
        "subject": dict(about),
        "files": {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)},
    }
    return {**content, "content_hash": content_hash(content)}


def content_hash(content: Mapping[str, Any]) -> str:
    """sha256 of a manifest without its own hash and its time."""
    hashed = {key: content[key] for key in ("kind", "format", "subject", "files")}
    return hashlib.sha256(canonical(hashed).encode()).hexdigest()


def write_bundle(
    folder: Path,
    model: LoadedModel,
    texts: Sequence[str],
    settings: Settings,
    progress: Progress | None = None,
) -> str:
    """Audit the texts and write the bundle, whole or not at all; its content hash.

    EvidenceError where the folder exists and is not empty: nothing is ever overwritten.
    """
    check_folder(folder)
    found = results(model, texts, settings, progress)
    about = subject(model, settings, len(texts))
    files = bundle_files(found, about)
    written = manifest(files, about)
    made = {"time": datetime.now(UTC).isoformat(timespec="seconds")}
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.draft-", dir=folder.parent))
    try:
        for name, content in files.items():
            write_atomic(draft / name, content)
        text = json.dumps({**written, "made": made}, indent=1, ensure_ascii=False) + "\n"
        write_atomic(draft / MANIFEST, text.encode())
        for path in draft.iterdir():
            path.chmod(0o644)
        draft.chmod(0o755)
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return written["content_hash"]


def check_folder(folder: Path) -> None:
    """EvidenceError unless a bundle can be written there."""
    check_parent(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise EvidenceError(
            "Output folder", str(folder), "exists already", "Name a new one: nothing is overwritten"
        )


def check_parent(folder: Path) -> None:
    """EvidenceError unless the folder can be made."""
    if not folder.parent.is_dir():
        raise EvidenceError(
            "Output folder", str(folder), "must lie in a folder that exists", "Create that first"
        )


def model_files(name: str) -> dict[str, str]:
    """sha256 of every file of a listed model, checkpoint, tokenizer and blocks among them."""
    for folder in model_folders():
        if (folder / name).is_dir():
            files = read_object(folder / name / "manifest.json").get("files")
            return dict(files) if isinstance(files, dict) else {}
    return {}


def code_hash() -> str:
    """sha256 over the name and content of every module that an audit can run."""
    digest = hashlib.sha256()
    for part in ("model", "workbench"):
        for path in sorted((PROJECT / part).rglob("*.py")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(PROJECT).as_posix()} {content}\n".encode())
    return digest.hexdigest()

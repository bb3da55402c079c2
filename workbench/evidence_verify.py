"""Verification of an evidence bundle: the audit is run again, and every number compared.

agree: everything that can be checked is as recorded. differ: a file is not the one of the manifest,
a number is not what the model gives, or a table or the report does not say what results.json says.
cannot: a file is missing, the model is not here, the prompts are redacted and not at hand, or
another version wrote the bundle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from model.errors import EvidenceError, LocalistError
from workbench.audit_log import canonical
from workbench.evidence import (
    FORMAT,
    KIND,
    MANIFEST,
    RESULTS,
    Progress,
    Settings,
    bundle_files,
    content_hash,
    results,
    subject,
)
from workbench.evidence_compare import ABSOLUTE, RELATIVE, Comparison
from workbench.evidence_redaction import redacted
from workbench.models import list_models, open_model

if TYPE_CHECKING:
    from model.transformer.checkpoint import LoadedModel

Status = Literal["agree", "differ", "cannot"]
AGREE, DIFFER, CANNOT = "agree", "differ", "cannot"
EXIT = {AGREE: 0, DIFFER: 1, CANNOT: 2}
MOST_SHOWN = 20
_LARGEST_FILE = 512 * 2**20
_MANIFEST_KEYS = {"kind", "format", "subject", "files", "content_hash", "made"}


@dataclass(frozen=True)
class Verification:
    """The answer.

    reasons: where it differs and how much, or why it cannot be told. notes: what else a reader
    should know. numbers: compared; largest: their largest difference.
    """

    status: Status
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    content_hash: str = ""
    numbers: int = 0
    largest: float = 0.0


def verify_bundle(
    folder: Path,
    texts: Sequence[str] | None = None,
    device: str = "",
    progress: Progress | None = None,
) -> Verification:
    """Hold a bundle to its model. texts: the prompts, for a bundle that redacts them.

    device: another one than that of the bundle. Never raises on what a bundle holds.
    """
    try:
        return _verify(folder, texts, device, progress)
    except EvidenceError as error:
        return Verification(CANNOT, (str(error),))


def _verify(
    folder: Path, texts: Sequence[str] | None, device: str, progress: Progress | None
) -> Verification:
    written = _manifest(folder)
    about, told = written["subject"], str(written["content_hash"])
    altered = list(_altered(folder, written))
    if altered:
        return Verification(DIFFER, tuple(altered), content_hash=told)
    recorded = _results(folder)
    try:
        settings = Settings(**about["settings"])
        settings.to_dial()
        asked = _texts(recorded, settings, texts)
        name, model = _model(about, device or settings.device)
        found = results(model, asked, settings, progress)
    except EvidenceError:
        raise
    except (LocalistError, TypeError, KeyError, AttributeError) as error:
        raise _cannot("Audit", type(error).__name__, f"cannot be run again ({error})") from error
    now = subject(model, replace(settings, model=name), len(asked))
    comparison = Comparison()
    different = [
        *comparison.differences(recorded, found),
        *_subject_differences(about, now),
    ]
    reasons = [str(each) for each in different[:MOST_SHOWN]]
    if len(different) > MOST_SHOWN:
        reasons.append(f"… and {len(different) - MOST_SHOWN} more")
    notes = list(_notes(folder, written, now))
    stale = [] if different else list(_derived(folder, written, recorded))
    same_code = about.get("code_sha256") == now["code_sha256"]
    status: Status = DIFFER if different or (stale and same_code) else CANNOT if stale else AGREE
    if stale and not same_code:
        reasons.append("every number agrees, but other code writes these files otherwise:")
    return Verification(
        status,
        (*reasons, *stale),
        tuple(notes),
        told,
        comparison.numbers,
        comparison.largest,
    )


def tolerance() -> str:
    """What counts as the same number, as a sentence."""
    return (
        f"Numbers agree within {ABSOLUTE:g} plus {RELATIVE:g} of their value; smaller alterations "
        "are not found."
    )


def _manifest(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise _cannot("Bundle", folder.name, "is no folder")
    written = _json(folder / MANIFEST)
    version = written.get("format")
    if written.get("kind") != KIND:
        raise _cannot(MANIFEST, written.get("kind"), f"must be of the kind {KIND}")
    if type(version) is int and version > FORMAT:
        raise _cannot(
            "Format of the bundle",
            version,
            f"was written by a newer version; this one reads format {FORMAT}",
            "Verify it with that version",
        )
    shapes = {"subject": dict, "files": dict, "content_hash": str, "made": dict}
    right = set(written) == _MANIFEST_KEYS and all(
        isinstance(written[key], shape) for key, shape in shapes.items()
    )
    if version != FORMAT or not right or not isinstance(written["subject"].get("model"), dict):
        raise _cannot(MANIFEST, version, "is not in the format of a bundle")
    return written


def _altered(folder: Path, written: Mapping[str, Any]) -> Iterator[str]:
    """Files that are not those of the manifest, and a manifest that is not that of its hash."""
    if RESULTS not in written["files"]:
        raise _cannot(MANIFEST, RESULTS, "is not among its files")
    for name, expected in written["files"].items():
        path = folder / name
        if Path(name).name != name or name in ("", ".", "..") or path.is_symlink():
            raise _cannot("File of the bundle", name, "must be a plain name in its folder")
        if not path.is_file():
            raise _cannot("File of the bundle", name, "is missing", "Restore the bundle")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                yield f"{name!a} was altered: its hash is not the one in {MANIFEST}"
    if content_hash(written) != written["content_hash"]:
        yield f"{MANIFEST} was altered: its content hash is not that of its content"


def _results(folder: Path) -> dict[str, Any]:
    found = _json(folder / RESULTS)
    audits = found.get("audits")
    if not isinstance(audits, list) or not all(isinstance(each, dict) for each in audits):
        raise _cannot(RESULTS, found.get("kind"), "must hold a list of audits")
    return found


def _texts(
    recorded: Mapping[str, Any], settings: Settings, texts: Sequence[str] | None
) -> list[str]:
    audits = recorded["audits"]
    if not settings.salt:
        return [str(each.get("text", "")) for each in audits]
    if texts is None:
        raise _cannot(
            "Prompts", "redacted", "are needed to run the audit again", "Give their --text-file"
        )
    if len(texts) != len(audits):
        raise _cannot("Prompts", len(texts), f"must be the {len(audits)} of the bundle")
    for number, (text, each) in enumerate(zip(texts, audits, strict=True), start=1):
        if redacted(text, settings.salt) != each.get("text_hash"):
            raise _cannot("Prompt", number, "is not the one that was audited, by its salted hash")
    return list(texts)


def _model(about: Mapping[str, Any], device: str) -> tuple[str, LoadedModel]:
    """The model of the bundle's content hash, and the name under which it is listed here."""
    wanted = about["model"].get("content_hash")
    cards = [card for card in list_models() if card.content_hash == wanted and not card.error]
    if not cards:
        raise _cannot(
            "Model",
            about["model"].get("name"),
            f"is not here with the content hash {wanted}",
            "Put the model's directory into the store",
        )
    return cards[0].name, open_model(cards[0].name, device)


def _subject_differences(about: Mapping[str, Any], now: Mapping[str, Any]) -> list[Any]:
    """What the manifest says of model, rules and prompts; versions and device are only noted."""
    keys = ("rules", "seed", "prompts")
    old = {key: about.get(key) for key in keys} | {"files": about["model"].get("files")}
    new = {key: now[key] for key in keys} | {"files": now["model"]["files"]}
    return list(Comparison().differences(old, new, MANIFEST))


def _notes(folder: Path, written: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    about = written["subject"]
    for key in ("code_sha256", "versions", "machine", "threads"):
        if about.get(key) != now[key]:
            yield f"{key}: the bundle was made with {about.get(key)!r}, here is {now[key]!r}"
    names = sorted(path.name for path in islice(folder.iterdir(), 10_000))
    extra = [name for name in names if name not in {*written["files"], MANIFEST}]
    if extra:
        yield f"files that no hash covers: {', '.join(map(ascii, extra[:MOST_SHOWN]))}"


def _derived(
    folder: Path, written: Mapping[str, Any], recorded: Mapping[str, Any]
) -> Iterator[str]:
    """Files that do not say what results.json and manifest say."""
    try:
        made = bundle_files(recorded, written["subject"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        yield f"{MANIFEST} does not say all that a bundle says ({type(error).__name__}: {error})"
        return
    for name in sorted(made.keys() | written["files"].keys()):
        if name not in made or name not in written["files"]:
            yield f"{name!a} does not belong to a bundle, or is missing from the manifest"
        elif (folder / name).read_bytes() != made[name]:
            yield f"{name} does not say what {RESULTS} says"


def _json(path: Path) -> dict[str, Any]:
    def refuse(name: str) -> Any:
        raise ValueError(f"holds {name}")

    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise _cannot("File", path.name, f"has more than {_LARGEST_FILE} bytes")
        found = json.loads(path.read_text("utf-8"), parse_constant=refuse)
        canonical(found).encode()  # refuses halves of characters
    except FileNotFoundError as error:
        raise _cannot(
            "File of the bundle", path.name, "is missing", "Restore the bundle"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, LocalistError):
            raise
        raise _cannot("File", path.name, f"cannot be read as JSON ({error})") from error
    if not isinstance(found, dict):
        raise _cannot("File", path.name, "must hold a JSON object")
    return found


def _cannot(
    subject: str, value: object, rule: str, remedy: str = "Ask who made the bundle for a whole one"
) -> EvidenceError:
    return EvidenceError(subject, value, rule, remedy)

"""Bundles for tests, and what a forger does with them: alter, then write every hash anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workbench.audit_log import canonical
from workbench.cli import main
from workbench.evidence import MANIFEST, RESULTS, bundle_files, content_hash

PROMPTS = (
    "the cat ate a red apple in the tree",
    '=1+1" <script>alert(1)</script> dog',
    "\u202e bread and 'fruit' & pear",
)


def audit(store: Path, out: str, *more: str) -> int:
    asked = ["--model", "tiny", "--text-file", str(store / "texts.txt"), "--out", str(store / out)]
    return main(["audit", *asked, "--dial", "0.8", "--device", "cpu", *more])


def read(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / name).read_text("utf-8"))


def reseal(folder: Path, derive: bool = True) -> None:
    """Write every hash anew, as a forger would; `derive`: and all that follows from the results."""
    written = read(folder, MANIFEST)
    if derive:
        for name, content in bundle_files(read(folder, RESULTS), written["subject"]).items():
            (folder / name).write_bytes(content)
    written["files"] = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in written["files"]
    }
    written["content_hash"] = content_hash(written)
    (folder / MANIFEST).write_text(json.dumps(written), "utf-8")


def forge(folder: Path, change: Callable[[dict[str, Any]], None], name: str = RESULTS) -> None:
    found = read(folder, name)
    change(found)
    (folder / name).write_text(canonical(found) + "\n", "utf-8")
    reseal(folder)

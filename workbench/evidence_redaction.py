"""An audit without its prompts: each is named by a salted hash, and no text of it is kept.

What goes: the text, its tokens and words, every reason that quotes them, predicted tokens, and all
numbers of single tokens. What stays: the block and status of each token, and numbers of whole
prompts. Redaction keeps a reader from reading. It is no secret-keeping: the salt stands in the
bundle, so that a guessed prompt can be tried, and who has the model can search for prompts that
give these numbers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from model.errors import EvidenceError

_SALT = re.compile(r"(?:[0-9a-f]{2}){16,64}\Z")
_BLOCK = ("block", "status")
_EFFECT_TEXTS = ("changes", "moved")


def check_salt(salt: str) -> str:
    """The salt itself: hex of 16 to 64 bytes, or "" for no redaction; else EvidenceError."""
    if salt and not _SALT.match(salt):
        raise EvidenceError(
            "Salt", salt, "must be 32 to 128 lower-case hex digits", "Leave it out to draw one"
        )
    return salt


def redacted(text: str, salt: str) -> str:
    """sha256 of salt and text, hex: what names a prompt without showing it."""
    return hashlib.sha256(bytes.fromhex(salt) + text.encode()).hexdigest()


def redacted_audit(audit: Mapping[str, Any], text_hash: str) -> dict[str, Any]:
    """An audit as `PromptAudit.to_dict` gives it, without its texts."""
    return {
        "text_hash": text_hash,
        "coverage": audit["coverage"],
        "theta": audit["theta"],
        "delta": audit["delta"],
        "tokens": [
            {key: token[key] for key in ("position", "status", "block")}
            for token in audit["tokens"]
        ],
        "blocks": [
            {
                **{key: block[key] for key in _BLOCK},
                "fired": block["fired"],
                "near": block["near"],
                "without": block["without"],
                "smallest": block["smallest"],
            }
            for block in audit["blocks"]
        ],
        "effects": [
            {key: value for key, value in effect.items() if key not in _EFFECT_TEXTS}
            for effect in audit["effects"]
        ],
        "bounds": audit["bounds"],
    }

"""A batch audit as a folder: rows as they come, and a summary and a matrix of blocks at the end.

    batch.json    what was asked, of which model and file; a folder is resumed only for the same
    rows.jsonl    one line a prompt, appended chunk by chunk
    summary.json  sums over all prompts    matrix.csv  prompts × blocks, tokens that fire

An interruption, a kill too, loses at most one chunk: the rest of it is cut off and done again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.errors import AuditError
from workbench.audit_batch import CHUNK, batch_rows
from workbench.audit_batch_input import read_asked
from workbench.audit_log import locked
from workbench.files import read_object, to_json, write_atomic
from workbench.tables import Column, Table

if TYPE_CHECKING:
    from model.locality.dial import Dial
    from model.transformer.checkpoint import LoadedModel

FORMAT = 1
BATCH, ROWS, SUMMARY, MATRIX = "batch.json", "rows.jsonl", "summary.json", "matrix.csv"


def run_batch(
    folder: Path, prompts: Path, model: LoadedModel, dials: Sequence[Dial]
) -> Iterator[int]:
    """Audit a file of prompts into a folder, going on where an earlier call stopped.

    Yields how many prompts are done, after every chunk; the summary is there once it ends.
    AuditError when the folder holds something else, or the file cannot be read.
    """
    asked = {
        "format": FORMAT,
        "model": model.content_hash,
        "prompts_sha256": _sha256(prompts),
        "dials": [{"value": d.value, "gain": d.gain, "temperature": d.temperature} for d in dials],
        "schedule": [{"kind": d.schedule.kind, "beta": d.schedule.beta} for d in dials],
    }
    _begin(folder, asked)
    path = folder / ROWS
    with locked(path):
        done = _resume(path)
        yield done
        rest = islice(read_asked(prompts), done, None)
        with path.open("ab") as file:
            for rows in batch_rows(model, rest, dials):
                text = "".join(f"{_line(row)}\n" for row in rows)
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
                done += len(rows)
                yield done
        if not done:
            raise AuditError("File of prompts", prompts.name, "holds no prompt", "Write some")
        _finish(folder, model.partition.names, [float(str(dial.value)) for dial in dials])


def read_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of a folder, one at a time."""
    with (folder / ROWS).open("rb") as file:
        for line in file:
            yield json.loads(line)


def _begin(folder: Path, asked: Mapping[str, Any]) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / BATCH).is_file() or read_object(folder / BATCH) != asked:
            raise AuditError(
                "Output folder",
                folder.name,
                "holds something else than this audit of this file",
                "Name a new folder, or ask for the same model, dials and file to go on",
            )
        return
    if folder.exists() and not folder.is_dir():
        raise AuditError("Output folder", folder.name, "is a file", "Name a new folder")
    folder.mkdir(exist_ok=True)
    write_atomic(folder / BATCH, to_json(asked).encode())


def _resume(path: Path) -> int:
    """How many rows stand once the file is cut after its last whole chunk."""
    if not path.exists():
        return 0
    whole, end, count, place = 0, 0, 0, 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            count, place = count + 1, place + len(line)
            if count % CHUNK == 0:
                whole, end = count, place
    os.truncate(path, end)
    return whole


def _finish(folder: Path, names: Sequence[str], dials: Sequence[float]) -> None:
    draft = folder / f".{MATRIX}.draft"
    sums = _Sums(names, dials)
    with draft.open("w", encoding="utf-8", newline="") as file:
        rows, first = read_rows(folder), True
        while part := list(islice(rows, CHUNK)):
            for row in part:
                sums.add(row)
            text = _matrix(part, names, dials).to_csv()
            file.write(text if first else text.partition("\n")[2])
            first = False
    draft.replace(folder / MATRIX)
    write_atomic(folder / SUMMARY, to_json(sums.to_dict()).encode())


class _Sums:
    """What is summed over rows: means over prompts unless a name says otherwise."""

    def __init__(self, names: Sequence[str], dials: Sequence[float]) -> None:
        self.dials = dials
        self.prompts = self.errors = self.tokens = self.pairs = 0
        self.covered, self.overlap, self.change = 0.0, 0.0, 0.0
        self.blocks = {name: {"prompts": 0, "tokens": 0} for name in names}
        self.bits = [0.0] * len(dials)
        self.steady = [0.0] * len(dials)

    def add(self, row: Mapping[str, Any]) -> None:
        if "error" in row:
            self.errors += 1
            return
        self.prompts += 1
        self.tokens += row["tokens"]
        self.covered += row["coverage"] * row["tokens"]
        for name, count in row["blocks"].items():
            self.blocks[name]["prompts"] += 1
            self.blocks[name]["tokens"] += count
        for index, bits in enumerate(row["bits"]):
            self.bits[index] += bits * row["tokens"]
            self.steady[index] += row.get("steady", [1.0])[index]
        if "paraphrase" in row:
            self.pairs += 1
            self.overlap += row["paraphrase"]["overlap"]
            self.change += abs(row["paraphrase"]["bits_change"])

    def to_dict(self) -> dict[str, Any]:
        """bits a token over all tokens; coverage and steadiness as fractions."""
        tokens, prompts, pairs = max(1, self.tokens), max(1, self.prompts), max(1, self.pairs)
        return {
            "format": FORMAT,
            "prompts": self.prompts,
            "errors": self.errors,
            "tokens": self.tokens,
            "coverage": self.covered / tokens,
            "blocks": self.blocks,
            "dials": [
                {"dial": dial, "bits_per_token": bits / tokens, "same_prediction": steady / prompts}
                for dial, bits, steady in zip(self.dials, self.bits, self.steady, strict=True)
            ],
            "paraphrases": {
                "pairs": self.pairs,
                "overlap_of_blocks": self.overlap / pairs if self.pairs else None,
                "absolute_change_bits_per_token": self.change / pairs if self.pairs else None,
            },
        }


def _matrix(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], dials: Sequence[float]
) -> Table:
    """Part of the matrix: a prompt a row, a block a column."""
    empty = [None] * len(dials)
    columns = [
        Column("number", "number", "", [row["number"] for row in rows]),
        Column("id", "id", "", [row["id"] for row in rows]),
        Column("error", "error", "", [row.get("error") for row in rows]),
        Column("tokens", "tokens", "count", [row.get("tokens") for row in rows]),
        Column("coverage", "coverage", "fraction", [row.get("coverage") for row in rows]),
    ]
    for index, dial in enumerate(dials):
        bits = [row.get("bits", empty)[index] for row in rows]
        columns.append(Column(f"bits_at_{dial:g}", "bits a token", "bits", bits))
    for index, dial in enumerate(dials[1:], start=1):
        same = [row.get("steady", empty)[index] for row in rows]
        columns.append(Column(f"same_prediction_at_{dial:g}", "as before", "fraction", same))
    for key, unit in (("overlap", "fraction"), ("bits_change", "bits")):
        pairs = [row.get("paraphrase", {}).get(key) for row in rows]
        columns.append(Column(f"paraphrase_{key}", f"paraphrase {key}", unit, pairs))
    for name in names:
        counts = [row["blocks"].get(name, 0) if "blocks" in row else None for row in rows]
        columns.append(Column(name, name, "tokens", counts))
    return Table("matrix", "Prompts and blocks", tuple(columns))


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AuditError(
            "File of prompts", str(path), f"cannot be read ({error.strerror})", "Check the path"
        ) from error

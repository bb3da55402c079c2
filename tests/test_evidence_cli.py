"""The commands `audit` and `verify`: their output, their exit codes, redaction, bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from model.errors import EvidenceError
from tests.evidence_bundles import PROMPTS, audit, forge, read
from tests.model_dirs import store_of_one
from workbench.audit_log import log_file
from workbench.audit_log_check import read_entries
from workbench.cli import main
from workbench.evidence import MANIFEST, Settings, write_bundle
from workbench.evidence_redaction import redacted
from workbench.evidence_verify import AGREE, CANNOT, DIFFER
from workbench.models import open_model

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return store_of_one(tmp_path, monkeypatch, "\n".join(PROMPTS) + "\n")


def add_to_an_effect(found: dict[str, Any]) -> None:
    found["audits"][1]["effects"][0]["kl_bits"] += 0.001


def change_a_count(found: dict[str, Any]) -> None:
    found["audits"][0]["effects"][0]["tokens"] = 9


def test_redacted_bundles_hold_no_prompt_and_verify_with_it(store: Path, capsys: Captured) -> None:
    salt = "ab" * 16
    assert audit(store, "hidden", "--redact", "--salt", salt) == 0
    everything = b"".join(path.read_bytes() for path in (store / "hidden").iterdir()).decode()
    for word in ("apple", "script>alert", "bread", "cat"):
        assert word not in everything
    assert redacted(PROMPTS[0], salt) in everything
    hidden, texts = str(store / "hidden"), str(store / "texts.txt")
    assert main(["verify", hidden]) == 2
    assert "redacted" in capsys.readouterr().out
    assert main(["verify", hidden, "--text-file", texts]) == 0
    (store / "other.txt").write_text("\n".join([*PROMPTS[:2], "another"]), "utf-8")
    assert main(["verify", hidden, "--text-file", str(store / "other.txt")]) == 2
    assert "Prompt is 3" in capsys.readouterr().out
    forge(store / "hidden", add_to_an_effect)
    assert main(["verify", hidden, "--text-file", texts]) == 1
    with pytest.raises(EvidenceError, match="hex digits"):
        write_bundle(store / "x", open_model("tiny"), PROMPTS, Settings("tiny", 0, 4, salt="xy"))


def test_commands_write_verify_and_log(store: Path, capsys: Captured) -> None:
    assert audit(store, "one") == 0
    told = capsys.readouterr().out.strip()
    assert told == read(store / "one", MANIFEST)["content_hash"]
    assert main(["verify", str(store / "one")]) == 0
    out, err = capsys.readouterr()
    assert out == "agree\n" and "numbers compared" in err
    forge(store / "one", change_a_count)
    assert main(["verify", str(store / "one")]) == 1
    assert "effects[0].tokens: recorded 9" in capsys.readouterr().out
    assert main(["verify", str(store)]) == 2
    events = [(each.event, each.details.get("status")) for each in read_entries(log_file())]
    assert events == [
        ("model loaded", None), ("audit run", None), ("export", None),
        ("verification", AGREE), ("verification", DIFFER), ("verification", CANNOT),
    ]  # fmt: skip
    assert "apple" not in log_file().read_text("utf-8")


def test_bad_input_is_refused_before_anything_is_written(store: Path, capsys: Captured) -> None:
    (store / "full").mkdir()
    (store / "full" / "a").write_text("mine")
    for out, more, message in (
        ("full", [], "nothing is overwritten"),
        ("texts.txt", [], "nothing is overwritten"),
        ("a/b", [], "folder that exists"),
        ("new", ["--dial", "2"], "must lie in [0, 1]"),
        ("new", ["--model", "../tiny"], "no path"),
        ("new", ["--redact", "--salt", "zz"], "hex digits"),
        ("new", ["--text-file", str(store / "nowhere")], "cannot be read"),
    ):
        assert audit(store, out, *more) == 2
        assert message in capsys.readouterr().err
    (store / "texts.txt").write_text("cat\n" + "cat " * 400, "utf-8")
    assert audit(store, "new") == 2 and "Shorten it" in capsys.readouterr().err
    assert not (store / "new").exists() and (store / "full" / "a").read_text() == "mine"
    assert not list(store.glob(".*draft*"))

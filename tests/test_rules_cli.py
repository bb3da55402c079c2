"""The command line of rules: checks, comparisons and text, and refusals that name a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.model_dirs import TEXTS, store_of_one
from workbench import paths, rules
from workbench.cli import main
from workbench.models import open_model

PROMPT = "the cat ate a red apple in the garden"
Captured = pytest.CaptureFixture[str]
FILE = """format = 1
[[rule]]
id = "food"
reads = ["FOOD"]
effect = "only"
note = "<script>alert(1)</script>"
[rule.when]
blocks = ["FUNCTION"]
[[rule]]
id = "animal"
reads = ["ANIMAL"]
priority = 3
[rule.when]
regex = '[aeiou]$'
[rule.checker]
kind = "length"
at_least = 1
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with one model, `tiny`, and a file of rules."""
    folder = store_of_one(tmp_path, monkeypatch, "\n".join(TEXTS) + "\n")
    (folder / "rules.toml").write_text(FILE, "utf-8")
    return folder


def test_the_command_line_writes_compares_and_checks(store: Path, capsys: Captured) -> None:
    file = str(store / "rules.toml")
    arguments = ["--model", "tiny", "--rules", file, "--prompt", PROMPT, "--dial", "0.7"]
    assert main(["rules", "generate", *arguments, "--tokens", "5", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert data["text"] == "".join(each["text"] for each in data["tokens_written"])
    assert data["checks"][0]["rule_id"] == "animal" and data["fired"][0]["token"]
    assert "tokens, " in err
    assert main(["rules", "generate", *arguments, "--tokens", "5"]) == 0
    out, err = capsys.readouterr()
    assert out.rstrip("\n").startswith(data["text"].rstrip("\n")[:1])
    assert "Rules fired at each token" in err and "animal" in err
    texts = ["--text-file", str(store / "texts.txt")]
    assert main(["rules", "check", file, "--model", "tiny", *texts]) == 0
    out, err = capsys.readouterr()
    assert "1 conflicts, all with a winner" in err and "animal | food | animal" in out
    (store / "b.toml").write_text(FILE.replace("priority = 3", "priority = 4"), "utf-8")
    both = [file, str(store / "b.toml")]
    assert main(["rules", "compare", *both, "--model", "tiny", *texts, "--dial", "0.8"]) == 0
    out, err = capsys.readouterr()
    assert "animal | changed | priority | 3 | 4" in out and "0 of 6 texts" in err
    assert main(["rules", "compare", file, file]) == 0
    assert "say the same" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('["FOOD"]', '["UNICORN"]', "Line 2: reads of rule food is 'UNICORN'"),
        ("priority = 3", "priority = 0", "is the same, yet both can fire"),
        ("priority = 3", 'over = ["animal"]', "circle"),
        ("[aeiou]$", "(", "Line 14: rule 'animal', when.regex"),
    ],
)
def test_the_command_line_refuses_with_a_line(
    store: Path, capsys: Captured, old: str, new: str, said: str
) -> None:
    (store / "bad.toml").write_text(FILE.replace(old, new), "utf-8")
    assert main(["rules", "check", str(store / "bad.toml"), "--model", "tiny"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and "Traceback" not in err


def test_text_cannot_steer_the_terminal(
    store: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.generation.display_token", lambda piece: piece)
    planned = iter(open_model("tiny", "cpu").tokenizer.encode("\x1b[2J"))
    monkeypatch.setattr("workbench.generation._Draw.__call__", lambda *_: next(planned))
    arguments = ["--model", "tiny", "--prompt", PROMPT, "--tokens", "4"]
    assert main(["rules", "generate", *arguments]) == 0
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err and "\\x1b[2J" in out


def test_what_ships_fits_the_bundled_model() -> None:
    from model.rules.toml_file import load_rules

    model = open_model("bundled", "cpu")
    found = rules.bind_rules(model, load_rules(paths.SAMPLE_DATA / "rules" / "kitchen.toml"))
    assert len(found) == 4

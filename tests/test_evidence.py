"""Evidence bundles: what they hold, that they repeat, and that forgeries are found."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.evidence_bundles import PROMPTS, forge, read, reseal
from tests.model_dirs import store_of_one, write_tiny_model
from workbench.audit_log import canonical
from workbench.evidence import MANIFEST, RESULTS, Settings, write_bundle
from workbench.evidence_compare import Comparison
from workbench.evidence_verify import AGREE, CANNOT, DIFFER, verify_bundle
from workbench.models import forget_models, open_model

FILES = [
    "blocks.csv", "bounds.csv", "effects.csv", MANIFEST, "report.html", RESULTS, "tokens.csv",
]  # fmt: skip
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return store_of_one(tmp_path, monkeypatch, "\n".join(PROMPTS) + "\n")


@pytest.fixture
def bundle(store: Path) -> Path:
    folder = store / "bundle"
    write_bundle(folder, open_model("tiny", "cpu"), PROMPTS, Settings("tiny", 0.8, 4.0))
    return folder


def test_a_bundle_is_whole_and_its_hash_repeats(store: Path, bundle: Path) -> None:
    assert sorted(path.name for path in bundle.iterdir()) == FILES
    written = read(bundle, MANIFEST)
    about = written["subject"]
    assert about["model"]["files"].keys() >= {"weights.safetensors", "tokenizer.json"}
    assert about["rules"] is None and about["prompts"] == 3
    assert about["settings"]["dial"] == 0.8 and "torch" in about["versions"]
    assert "time" in written["made"] and "time" not in json.dumps(about)
    text = (bundle / RESULTS).read_text("utf-8")
    assert canonical(json.loads(text)) + "\n" == text
    again = store / "again"
    write_bundle(again, open_model("tiny", "cpu"), PROMPTS, Settings("tiny", 0.8, 4.0))
    for name in FILES:
        if name != MANIFEST:
            assert (again / name).read_bytes() == (bundle / name).read_bytes()
    assert read(again, MANIFEST)["content_hash"] == written["content_hash"]
    other = store / "other"
    write_bundle(other, open_model("tiny", "cpu"), PROMPTS, Settings("tiny", 0.81, 4.0))
    assert read(other, MANIFEST)["content_hash"] != written["content_hash"]


class Page(HTMLParser):
    """Tags, what they point at, and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_shows_text_as_text_and_asks_for_nothing(bundle: Path) -> None:
    text = (bundle / "report.html").read_text("utf-8")
    page = Page(text)
    assert not page.tags & {"script", "img", "link", "iframe", "object", "a", "base", "form"}
    names = {name for name, _ in page.attributes}
    assert not {name for name in names if name.startswith("on")} | names & {"src", "href"}
    assert "<script>alert(1)</script>" in page.text and "\u202e" not in text
    assert "Attention is not causal effect" in page.text and "<svg" in text
    assert "http" not in text.replace("http-equiv", "") and "url(" not in text
    assert "default-src 'none'" in text
    assert {"svg", "table", "title"} <= page.tags


def test_no_cell_of_a_table_is_a_formula(bundle: Path) -> None:
    for name in ("tokens.csv", "blocks.csv", "effects.csv", "bounds.csv"):
        rows = list(csv.reader(io.StringIO((bundle / name).read_text("utf-8"))))
        assert len({len(row) for row in rows}) == 1
        for cell in (cell for row in rows[1:] for cell in row):
            number = re.fullmatch(r"-?\d.*", cell) and float(cell) is not None
            assert number or not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    effects = list(csv.DictReader(io.StringIO((bundle / "effects.csv").read_text("utf-8"))))
    recorded = [each for audit in read(bundle, RESULTS)["audits"] for each in audit["effects"]]
    assert [float(row["effect [bits]"]) if "effect [bits]" in row else float(row["kl_bits [bits]"])
            for row in effects] == [each["kl_bits"] for each in recorded]  # fmt: skip


def test_what_was_not_altered_agrees(bundle: Path) -> None:
    found = verify_bundle(bundle)
    assert (found.status, found.reasons, found.largest) == (AGREE, (), 0.0)
    assert found.numbers > 300
    (bundle / "extra.txt").write_text("x")
    assert "extra.txt" in "".join(verify_bundle(bundle).notes)


FORGERIES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "an effect": (
        lambda d: d["audits"][1]["effects"][0].update(
            kl_bits=d["audits"][1]["effects"][0]["kl_bits"] + 0.001
        ),
        "audits[1].effects[0].kl_bits",
    ),
    "a count": (lambda d: d["audits"][0]["effects"][0].update(tokens=9), "effects[0].tokens"),
    "a verdict": (lambda d: d["audits"][0]["effects"][0].update(verdict="fine"), ".verdict"),
    "a block": (lambda d: d["audits"][0]["tokens"][2].update(block="FOOD"), "tokens[2].block"),
    "a bound": (lambda d: d["audits"][0]["bounds"][0].update(holds=9), "bounds[0].holds"),
    "true for 1": (lambda d: d["audits"][0]["tokens"][1].update(position=True), "position"),
    "a text": (lambda d: d["audits"][0].update(text="the dog ate"), "audits[0]"),
    "a missing row": (lambda d: d["audits"][0]["effects"].pop(), "entries"),
    "a new key": (lambda d: d["audits"][0].update(note="all is well"), "audits[0].note"),
    "a key gone": (lambda d: d["audits"][0].pop("next_tokens"), "audits[0].next_tokens"),
    "huge": (lambda d: d["audits"][0].update(coverage=10**400), "audits[0].coverage"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_numbers_altered_with_every_hash_written_anew_are_found(bundle: Path, name: str) -> None:
    change, where = FORGERIES[name]
    try:
        forge(bundle, change)
    except (KeyError, OverflowError):
        reseal(bundle, derive=False)  # no table can be made of it: only the hashes are forged
    found = verify_bundle(bundle)
    assert found.status == DIFFER
    assert where in "\n".join(found.reasons), found.reasons


def test_how_much_a_number_differs_is_said(bundle: Path) -> None:
    forge(bundle, FORGERIES["an effect"][0])
    assert "by 0.001" in verify_bundle(bundle).reasons[0]


@pytest.mark.parametrize("name", ["effects.csv", "report.html"])
def test_a_table_or_report_that_says_something_else_is_found(bundle: Path, name: str) -> None:
    path = bundle / name
    path.write_text(path.read_text("utf-8").replace("FOOD", "WOOD"), "utf-8")
    assert "was altered" in verify_bundle(bundle).reasons[0]
    reseal(bundle, derive=False)
    found = verify_bundle(bundle)
    assert found.status == DIFFER and f"{name} does not say" in found.reasons[0]


def test_the_manifest_is_held_to_the_model_and_to_its_own_hash(bundle: Path) -> None:
    written = read(bundle, MANIFEST)
    kept = (bundle / MANIFEST).read_bytes()
    written["subject"]["settings"]["dial"] = 0.7
    (bundle / MANIFEST).write_text(json.dumps(written), "utf-8")
    assert "content hash" in verify_bundle(bundle).reasons[0]
    reseal(bundle)
    found = verify_bundle(bundle)
    assert found.status == DIFFER and "audits[0]" in found.reasons[0]
    (bundle / MANIFEST).write_bytes(kept)
    forge(bundle, lambda d: d["subject"]["model"]["files"].update({"blocks.json": "0"}), MANIFEST)
    found = verify_bundle(bundle)
    assert found.status == DIFFER and "blocks.json" in found.reasons[0]


def test_where_it_cannot_be_told_the_reason_is_said(store: Path, bundle: Path) -> None:
    def told(change: Callable[[dict[str, Any]], object], name: str = MANIFEST) -> str:
        kept = (bundle / name).read_bytes()
        found = read(bundle, name)
        change(found)
        (bundle / name).write_text(json.dumps(found), "utf-8")
        verification = verify_bundle(bundle)
        (bundle / name).write_bytes(kept)
        assert verification.status == CANNOT, verification
        return verification.reasons[0]

    assert "newer version" in told(lambda d: d.update(format=2))
    assert "kind" in told(lambda d: d.update(kind="x"))
    assert "format of a bundle" in told(lambda d: d.pop("subject"))
    assert "plain name" in told(lambda d: d["files"].update({"../texts.txt": "0"}))
    assert "is missing" in told(lambda d: d["files"].update({"nowhere": "0"}))
    (bundle / "effects.csv").rename(bundle / "moved")
    assert "'effects.csv': is missing" in verify_bundle(bundle).reasons[0]
    (bundle / "moved").rename(bundle / "effects.csv")
    for content in (b"{", b"[1]", b'{"a":NaN}', b"\xff", b'{"a":"\\ud800"}', b"[" * 100_000):
        kept = (bundle / MANIFEST).read_bytes()
        (bundle / MANIFEST).write_bytes(content)
        assert verify_bundle(bundle).status == CANNOT
        (bundle / MANIFEST).write_bytes(kept)
    assert verify_bundle(store / "nowhere").status == CANNOT
    write_tiny_model(store / "models" / "tiny", seed=1)
    forget_models()
    assert "not here with the content hash" in verify_bundle(bundle).reasons[0]
    write_tiny_model(store / "models" / "other")
    forget_models()
    assert verify_bundle(bundle).status == AGREE  # found by its hash, not by its name


def test_settings_and_subjects_of_any_shape_are_answered(bundle: Path) -> None:
    for change in (
        lambda d: d["subject"].update(settings=None),
        lambda d: d["subject"]["settings"].update(dial=2),
        lambda d: d["subject"]["settings"].update(dial="x"),
        lambda d: d["subject"]["settings"].update(more=1),
        lambda d: d["subject"]["settings"].update(device="moon"),
        lambda d: d["subject"].pop("versions"),
        lambda d: d["subject"].update(prompts="3"),
    ):
        kept = (bundle / MANIFEST).read_bytes()
        written = read(bundle, MANIFEST)
        change(written)
        (bundle / MANIFEST).write_text(json.dumps(written), "utf-8")
        reseal(bundle, derive=False)
        found = verify_bundle(bundle)
        assert found.status in (DIFFER, CANNOT) and found.reasons
        (bundle / MANIFEST).write_bytes(kept)


def test_a_comparison_tolerates_rounding_and_nothing_else() -> None:
    def differ(recorded: Any, found: Any) -> list[str]:
        return [each.path for each in Comparison().differences(recorded, found)]

    assert differ({"a": [1.0, 2]}, {"a": [1.0 + 1e-5, 2]}) == []
    assert differ({"a": [1.0, 2]}, {"a": [1.001, 3]}) == ["a[0]", "a[1]"]
    assert differ({"a": 1}, {"a": 1.0}) == [] and differ({"a": 1}, {"a": True}) == ["a"]
    assert differ({"a": None}, {"a": 0.0}) == ["a"] and differ({"a": "x"}, {"a": ["x"]}) == ["a"]
    assert differ({"a": 1, "b": 2}, {"a": 1, "c": 2}) == ["b", "c"]
    assert differ([1, 2], [1]) == [""]
    comparison = Comparison()
    assert not list(comparison.differences([0.5, 2], [0.500001, 2]))
    assert comparison.numbers == 2 and comparison.largest == pytest.approx(1e-6)


def test_the_forger_s_tools_leave_a_true_bundle_true(bundle: Path) -> None:
    shutil.copytree(bundle, bundle.with_name("copy"))
    reseal(bundle.with_name("copy"))
    assert verify_bundle(bundle.with_name("copy")).status == AGREE

"""The committed data are what the build makes of WordNet, and the manifest says so."""

from __future__ import annotations

import hashlib
import json
import lzma
from pathlib import Path

import pytest

from model.blocks.partition import Partition
from model.training.corpus import GLOSSES_PATH, MANIFEST_PATH, SAMPLE_DATA, data_hash
from sample_data import build
from sample_data.word_shares import WordShares
from sample_data.wordnet_source import WORDNET_DIR, Sense, read_senses, read_synsets

needs_wordnet = pytest.mark.skipif(
    not (WORDNET_DIR / "data.noun").exists(),
    reason=f"needs Debian's package wordnet-base (nothing in {WORDNET_DIR})",
)


def test_manifest_has_the_hash_of_every_file():
    files = json.loads(MANIFEST_PATH.read_text("utf-8"))["files"]
    assert set(build.FILES) < set(files)
    for name in build.FILES:
        data = (SAMPLE_DATA / name).read_bytes()
        assert files[name] == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}, name
    plain = lzma.decompress(GLOSSES_PATH.read_bytes())
    assert files["wordnet/glosses.tsv"]["sha256"] == hashlib.sha256(plain).hexdigest()
    assert data_hash() == hashlib.sha256(MANIFEST_PATH.read_bytes()).hexdigest()


def test_one_changed_byte_changes_the_manifest(tmp_path):
    for name in build.FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((SAMPLE_DATA / name).read_bytes())
    assert build.manifest(tmp_path) == MANIFEST_PATH.read_text("utf-8")
    changed = bytearray((tmp_path / "lexicon.tsv").read_bytes())
    changed[-2] ^= 1
    (tmp_path / "lexicon.tsv").write_bytes(bytes(changed))
    assert build.manifest(tmp_path) != MANIFEST_PATH.read_text("utf-8")


def test_the_notice_of_wordnet_is_beside_the_data():
    notice = (GLOSSES_PATH.parent / "LICENSE").read_text("utf-8")
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in notice
    assert 'PROVIDED "AS IS"' in notice
    assert "LICENSEE agrees to preserve same" in notice


@needs_wordnet
@pytest.mark.slow
def test_rebuilding_gives_the_committed_bytes(tmp_path: Path):
    build.build(tmp_path)
    for name in build.GENERATED:
        made, kept = (tmp_path / name).read_bytes(), (SAMPLE_DATA / name).read_bytes()
        if name.endswith(".xz"):  # liblzma decides how the same text is compressed
            made, kept = lzma.decompress(made), lzma.decompress(kept)
        assert made == kept, name


@needs_wordnet
def test_a_person_an_animal_and_a_plant_are_of_their_own_kind():
    tops = [s for s in read_synsets() if s.category == "noun.Tops"]
    assert len(tops) == 51
    senses = read_senses()
    for word, category in (
        ("person", "noun.person"),
        ("animal", "noun.animal"),
        ("plant", "noun.plant"),
    ):
        tagged = {s.category: s.tagged for s in senses if s.word == word}
        assert tagged[category] > 0
        assert "noun.Tops" not in tagged


SENSES = [
    Sense("apple", "noun.food", 2),
    Sense("apple", "noun.plant", 0),
    Sense("leaf", "noun.plant", 10),
    Sense("leave", "verb.motion", 10),
    Sense("los angeles", "noun.location", 5),
    Sense("the", "noun.food", 100),
    Sense("run", "verb.motion", 9),
    Sense("run", "noun.act", 0),
]


@pytest.fixture
def shares() -> tuple[WordShares, Partition]:
    partition = Partition.load(SAMPLE_DATA / "blocks.json")
    exceptions = {pos: {} for pos in ("noun", "verb", "adj", "adv")}
    exceptions["noun"] = {"loaves": ("loaf",), "leafs": ("leaf",)}
    exceptions["verb"] = {"ran": ("run",)}
    return WordShares(SENSES, exceptions, partition), partition


def named(shares: tuple[WordShares, Partition], word: str) -> dict[str, float]:
    table, partition = shares
    return {partition.names[block]: share for block, share in table.of(word).items()}


def test_tag_counts_and_smoothing_weigh_the_senses(shares):
    assert named(shares, "apple") == pytest.approx({"FOOD": 2.5 / 3, "PLANT": 0.5 / 3})
    assert named(shares, "apples") == named(shares, "apple")
    assert named(shares, "appl") == {}


def test_inflections_closed_words_and_parts_of_names(shares):
    assert named(shares, "ran") == {"ACTION": 1.0}
    assert named(shares, "running") == {}  # morphy does not undo a doubled consonant
    assert named(shares, "leafs") == {"PLANT": 1.0}
    assert named(shares, "the") == {"DETERMINER": 1.0}
    assert named(shares, "angeles") == {"PLACE": 1.0}


def test_glosses_speak_inside_a_part_of_speech_only(shares):
    table, _ = shares
    before = named(shares, "run")
    table.hear([("noun.act", "a run in a park")] * 100)
    assert named(shares, "run") == pytest.approx(before)
    table.hear([("noun.plant", "An apple tree")] * 100)
    assert named(shares, "apple") == pytest.approx({"FOOD": 2.5 / 13, "PLANT": 10.5 / 13})

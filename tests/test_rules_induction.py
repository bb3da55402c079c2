"""Induced rules: what is planted is found and nothing else, and what ablation says of it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from model.errors import RuleError
from model.rules.ablation import ablation_bits, barred_pairs
from model.rules.binding import bind
from model.rules.induction import (
    Induced,
    as_rules,
    benjamini_hochberg,
    explained,
    induce,
    readings,
    shuffled,
)
from model.rules.rule import RuleSet
from tests.factories import N_CLASSES, TINY, lively_decoder, random_text
from tests.model_dirs import BLOCKS, TEXTS, store_of_one
from tests.rule_models import tiny_vocabulary
from workbench.cli import main
from workbench.models import open_model
from workbench.rules_induced import induced_rules

LENGTH, HEADS = 24, 2


def planted(rng: np.random.Generator, count: int) -> tuple[list, list[torch.Tensor]]:
    """Documents of one layer: head 0 of queries of class 1 reads class 2; head 1 is at random."""
    patterns, classes = [], []
    for _ in range(count):
        known = torch.from_numpy(rng.integers(0, N_CLASSES - 1, LENGTH))
        known[0] = N_CLASSES - 1
        scores = torch.from_numpy(rng.normal(size=(HEADS, LENGTH, LENGTH)))
        scores[0] += 4.0 * ((known == 1)[:, None] & (known == 2)[None, :])
        later = torch.full((LENGTH, LENGTH), float("-inf"), dtype=torch.float64).triu(1)
        patterns.append([(scores + later).softmax(-1)])
        classes.append(known)
    return patterns, classes


def test_readings_count_what_a_loop_counts(rng: np.random.Generator) -> None:
    patterns, classes = planted(rng, 2)
    found = readings(patterns, classes, N_CLASSES, 0.2)
    for d, (layers, known) in enumerate(zip(patterns, classes, strict=True)):
        reads, sight = np.zeros((HEADS, N_CLASSES, N_CLASSES)), np.zeros((N_CLASSES, N_CLASSES))
        for i in range(1, LENGTH):
            for b in range(N_CLASSES - 1):
                keys = [j for j in range(1, i - 1) if int(known[j]) == b]
                sight[int(known[i]), b] += bool(keys)
                for head in range(HEADS):
                    mass = sum(float(layers[0][head, i, j]) for j in keys)
                    reads[head, int(known[i]), b] += bool(keys) and mass >= 0.2
        assert found.reads[d, 0].numpy() == pytest.approx(reads)
        assert found.sight[d].numpy() == pytest.approx(sight)
    assert found.queries == 2 * (LENGTH - 1)


def test_what_is_planted_is_found_and_chance_finds_nothing(rng: np.random.Generator) -> None:
    (p1, c1), (p2, c2) = planted(rng, 60), planted(rng, 60)
    first, second = readings(p1, c1, N_CLASSES), readings(p2, c2, N_CLASSES)
    found, tested = induce(first, second)
    assert [(r.layer, r.head, r.query, r.key) for r in found] == [(0, 0, 1, 2)]
    assert tested >= 1 and found[0].q_value < 1e-6
    assert found[0].confidence > 0.7 and found[0].lift > 2
    share, uniform = explained(second, found)
    assert share[0, 0] > uniform[0, 0] > 0 and share[0, 1] == 0
    for turn in range(3):
        mixed = [readings(p, shuffled(c, turn), N_CLASSES) for p, c in ((p1, c1), (p2, c2))]
        assert induce(*mixed)[0] == []


def test_few_documents_prove_nothing(rng: np.random.Generator) -> None:
    (p1, c1), (p2, c2) = planted(rng, 60), planted(rng, 8)
    assert induce(readings(p1, c1, N_CLASSES), readings(p2, c2, N_CLASSES)) == ([], 0)


def test_benjamini_hochberg_by_hand() -> None:
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.5]) == pytest.approx(
        [0.04, 0.16 / 3, 0.16 / 3, 0.5]
    )
    assert benjamini_hochberg([]) == []
    assert benjamini_hochberg([0.9, 1.0]) == pytest.approx([1.0, 1.0])


def test_the_false_discovery_rate_is_held_on_null_p_values(rng: np.random.Generator) -> None:
    runs = [min(benjamini_hochberg(rng.random(50).tolist())) <= 0.05 for _ in range(400)]
    assert 0.01 < np.mean(runs) < 0.1


def test_shuffling_keeps_the_counts_and_the_sink(rng: np.random.Generator) -> None:
    _, classes = planted(rng, 3)
    for before, after in zip(classes, shuffled(classes, 1), strict=True):
        assert after[0] == N_CLASSES - 1 and not torch.equal(before, after)
        assert torch.equal(before.sort().values, after.sort().values)
    assert all(map(torch.equal, shuffled(classes, 1), shuffled(classes, 1)))


@torch.inference_mode()
def test_ablation_is_the_attention_without_those_keys() -> None:
    """The same answer as patterns that are set to zero there and made to sum to one again."""
    decoder = lively_decoder()
    ids, classes = random_text(1, 30, 5)
    rule = Induced(1, 2, int(classes[0, 20]), int(classes[0, 5]), 0.1, 0.5, 2.0, 20, 0.0)
    barred = barred_pairs(classes[0], rule.query, rule.key, N_CLASSES)
    assert barred.any() and not barred.all() and not barred.diagonal().any()

    def renormed(pattern: torch.Tensor, hook: object) -> torch.Tensor:
        pattern = pattern.clone()
        pattern[0, rule.head][barred] = 0.0
        return pattern / pattern.sum(-1, keepdim=True)

    plain = decoder(ids)[0, :-1].double()
    without = decoder.run_with_hooks(ids, fwd_hooks=[("blocks.1.attn.hook_pattern", renormed)])
    assert isinstance(without, torch.Tensor)
    change = F.cross_entropy(without[0, :-1].double(), ids[0, 1:], reduction="none")
    change = (change - F.cross_entropy(plain, ids[0, 1:], reduction="none")) / math.log(2)
    where = barred.any(-1)[:-1]
    inside, outside, count = ablation_bits(decoder, [(ids[0], classes[0])], rule, N_CLASSES)
    assert count == int(where.sum()) > 0
    assert inside == pytest.approx(float(change[where].mean()), abs=1e-4)
    assert outside == pytest.approx(float(change[~where].mean()), abs=1e-4)
    assert abs(inside) > 1e-3
    nobody = Induced(TINY.n_layers - 1, 0, N_CLASSES - 1, 0, 0.0, 0.0, 0.0, 0, 1.0)
    none = ablation_bits(decoder, [(ids[0], classes[0])], nobody, N_CLASSES)
    assert math.isnan(none[0]) and none[1:] == (0.0, 0)


def test_induced_rules_can_be_injected_without_conflict() -> None:
    found = [Induced(0, 1, 1, key, 0.1, 0.5, 2.0, 20, 0.0, 0.01) for key in (0, 2, 3)]
    rules = as_rules(found, BLOCKS.class_names)
    assert [(each.id, each.reads) for each in rules] == [
        ("induced-l0-h1-animal", ("FOOD", "FUNCTION", "SIGN"))
    ]
    assert len(bind(RuleSet(rules), tiny_vocabulary())) == 1


def test_readings_refuse() -> None:
    with pytest.raises(RuleError, match="at least one"):
        readings([], [], 3)
    with pytest.raises(RuleError, match="Threshold"):
        readings([[torch.ones(1, 1, 1)]], [torch.zeros(1).long()], 3, 0.0)


def test_the_service_and_the_command_are_repeatable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store_of_one(tmp_path, monkeypatch, "\n".join(TEXTS * 10) + "\n")
    model = open_model("tiny", "cpu")
    one, other = (induced_rules(model, TEXTS * 10, 0.5, 2, 3) for _ in range(2))
    assert one == other
    assert one.tested >= len(one.found) and len(one.explained) == model.config.n_layers
    with pytest.raises(RuleError, match="at least 40"):
        induced_rules(model, TEXTS)
    arguments = ["rules", "induce", "--model", "tiny", "--text-file", str(tmp_path / "texts.txt")]
    assert main([*arguments, "--out", str(tmp_path / "found.toml"), "--most", "1"]) == 0
    assert "with shuffled classes" in capsys.readouterr().err
    assert main(["rules", "check", str(tmp_path / "found.toml"), "--model", "tiny"]) == 0

"""The audit of a prompt: what fires and why, counterfactuals, and effect beside attention."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from model.blocks.membership import MembershipTable
from model.errors import AuditError, TextError
from model.locality.dial import Dial
from model.transformer.checkpoint import LoadedModel, load_model
from tests.model_dirs import TEXTS, write_tiny_model
from workbench import audit_effects
from workbench.audit import PromptAudit, audit_text
from workbench.audit_effects import AGREE, MORE_EFFECT, MORE_MASS, masses, verdict
from workbench.audit_firing import FIRED, NEAR_MISS, NOT_COVERED, NOT_FIRED, Firing, firing
from workbench.inference import prepare, run

HOSTILE = "<script>alert(1)</script> the cat =1+1 \u202e tree"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    directory = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(directory)
    return load_model(directory)


def fired(model: LoadedModel, text: str) -> Firing:
    return firing(model, prepare(model, text))


def block(found: Firing, name: str):
    return next(each for each in found.blocks if each.block == name)


def test_each_token_says_what_fires_and_why(model: LoadedModel) -> None:
    prompt = prepare(model, "the cat sat in a tree")
    found = firing(model, prompt)
    assert [each.token for each in found.tokens] == list(prompt.tokens)
    for token in found.tokens[1:]:
        assert token.reason == prompt.reasons[token.position]
        assert (token.status == FIRED) == (token.block != "")
    by_word = {token.word: token for token in found.tokens}
    assert (by_word["cat"].block, by_word["cat"].score, by_word["cat"].margin) == ("ANIMAL", 1, 1)
    # "tree" is FOOD by 0.30 and ANIMAL by 0.20: theta 0.35 is missed by 0.05, and 0.13 or more.
    tree = by_word["tree"]
    assert (tree.status, tree.score, tree.margin) == (NEAR_MISS, 0.3, 0.1)
    assert [(near.block, round(near.shortfall, 9)) for near in tree.near] == [("FOOD", 0.05)]
    assert block(found, "FOOD").status == NEAR_MISS
    assert block(found, "FOOD").near == (tree.position,)
    assert block(found, "SIGN").status == NOT_FIRED
    assert by_word["sat"].status == NOT_COVERED
    n_covered = sum(token.status == FIRED for token in found.tokens)
    assert found.coverage == pytest.approx(n_covered / (prompt.n_tokens - 1))


def fires_without(model: LoadedModel, ids: tuple[int, ...], gone, class_id: int) -> bool:
    table = MembershipTable(model.tokenizer.token_bytes, model.partition, model.lexicon)
    rest = np.array([each for position, each in enumerate(ids) if position not in gone])
    return bool((table.classes_for_ids(rest) == class_id).any())


@pytest.mark.parametrize("text", [*TEXTS, "cat, cat; apple pear (bread)", HOSTILE])
def test_the_counterfactual_is_the_smallest_by_trying_all(model: LoadedModel, text: str) -> None:
    prompt = prepare(model, text)
    for class_id, each in enumerate(firing(model, prompt).blocks):
        assert (each.status == FIRED) == bool(each.fired)
        if not each.fired:
            assert each.without == () and not each.smallest
            continue
        if not each.without:
            continue
        assert not fires_without(model, prompt.ids, each.without, class_id)
        if each.smallest:
            positions = range(1, prompt.n_tokens)
            for gone in itertools.combinations(positions, len(each.without) - 1):
                assert fires_without(model, prompt.ids, gone, class_id)
        for gone in itertools.combinations(each.without, len(each.without) - 1):
            assert fires_without(model, prompt.ids, gone, class_id)  # none of them is idle


def test_a_single_word_is_its_own_counterfactual(model: LoadedModel) -> None:
    found = fired(model, "a small cat ran")
    animal = block(found, "ANIMAL")
    assert len(animal.without) == 1 and animal.smallest
    many = block(fired(model, "the cat or " * 15), "FUNCTION")
    assert many.without == () and not many.smallest  # beyond what is searched for


def test_later_pieces_of_a_word_depend_on_the_earlier_ones(model: LoadedModel) -> None:
    for text in ("the garden bread", "some pears and dogs", "fruitier breads"):
        prompt = prepare(model, text)
        table = MembershipTable(model.tokenizer.token_bytes, model.partition, model.lexicon)
        for token in firing(model, prompt).tokens:
            for earlier in token.depends_on:
                ids = np.delete(np.array(prompt.ids[: token.position + 1]), earlier)
                now = int(table.classes_for_ids(ids)[-1])
                assert now != prompt.classes[token.position] and earlier < token.position


def audit(model: LoadedModel, dial: float = 0.8, text: str = TEXTS[0]) -> PromptAudit:
    return audit_text(model, text, Dial(dial))


def test_effects_stand_beside_the_mass_that_the_pattern_has(model: LoadedModel) -> None:
    found = audit(model)
    prompt, names = found.prompt, model.partition.names
    present = sorted(set(prompt.classes.tolist()) & set(range(len(names))))
    told = [(each.block, each.intervention) for each in found.effects]
    kinds = ("relevance", "attention")
    assert told == [(names[b], kind) for kind in kinds for b in present]
    pattern = run(model, prompt, found.dial).pattern
    for each in found.effects:
        keys = [j for j in range(prompt.n_tokens) if prompt.classes[j] == names.index(each.block)]
        rows = range(1, prompt.n_tokens)
        by_hand = [sum(pattern[..., i, j].mean() for j in keys if j != i) for i in rows]
        assert each.mass == pytest.approx(float(np.mean(by_hand)), abs=1e-6)
        assert each.mass_last == pytest.approx(float(by_hand[-1]), abs=1e-6)
        assert each.tokens == len(keys)
        assert 0 <= each.kl_bits <= each.kl_bits_most
        assert each.changed >= len(each.changes)
        assert all(change.before != change.after for change in each.changes)
    for kind in kinds:
        shares = [each.effect_share for each in found.effects if each.intervention == kind]
        assert sum(share for share in shares if share is not None) == pytest.approx(1.0)
    total, last = masses(prompt, pattern)
    own = pattern[:, :, range(prompt.n_tokens), range(prompt.n_tokens)].mean(axis=(0, 1))
    assert total.sum() == pytest.approx(1 - own[1:].mean(), abs=1e-6)
    assert last.sum() == pytest.approx(1 - own[-1], abs=1e-6)


def test_at_dial_0_relevance_is_not_removed(model: LoadedModel) -> None:
    assert {each.intervention for each in audit(model, 0.0).effects} == {"attention"}
    assert "dial 0" in audit_effects.MEANINGS["relevance"]
    assert "not causal effect" in audit_effects.NOT_CAUSAL


@pytest.mark.parametrize(
    ("mass", "effect", "expected"),
    [
        (0.61, 0.2, MORE_MASS),
        (0.6, 0.21, AGREE),
        (0.2, 0.61, MORE_EFFECT),
        (0.04, 0.0, AGREE),
        (0.05, 0.0, MORE_MASS),
        (0.0, 0.05, MORE_EFFECT),
        (0.0, 0.0, AGREE),
        (None, 0.9, AGREE),
    ],
)
def test_where_mass_and_effect_disagree(mass, effect, expected: str) -> None:
    assert verdict(mass, effect) == expected


def test_bounds_are_told_over_all_heads(model: LoadedModel) -> None:
    heads = model.config.n_layers * model.config.n_heads
    found = audit(model, 1.0)
    assert [each.name for each in found.bounds][:3] == ["fidelity", "entropy", "score range"]
    for each in found.bounds:
        assert each.holds + each.fails + each.not_applicable == heads
        assert each.fails == len(each.failing) == 0
        assert (each.slack is None) == (each.holds == 0)


def test_an_audit_is_plain_data_and_repeats_itself(model: LoadedModel) -> None:
    first, second = (audit(model, 0.7, HOSTILE).to_dict() for _ in range(2))
    text = json.dumps(first, allow_nan=False)
    assert text == json.dumps(second, allow_nan=False)
    assert json.loads(text)["tokens"][0]["surprisal_bits"] is None
    other = audit(model, 0.71, HOSTILE).to_dict()
    assert other["effects"] != first["effects"] and other["blocks"] == first["blocks"]


def test_short_long_and_impossible_prompts(model: LoadedModel) -> None:
    only = audit(model, 0.5, "\u00e9")
    assert only.firing.coverage == 0.0 and only.effects == ()
    assert audit(model, 0.5, "cat").effects[0].actual_bits is not None
    with pytest.raises(TextError, match="nothing to read"):
        audit(model, 0.5, "")
    with pytest.raises(TextError, match="Shorten it"):
        audit(model, 0.5, "cat " * 200)
    with pytest.raises(AuditError, match="one value"):
        audit_text(model, "cat", Dial((0.5, 0.6)))


def test_the_audit_loads_no_torch_when_it_is_imported() -> None:
    import subprocess
    import sys

    from tests.serving import ROOT

    code = "import sys, workbench.audit, workbench.audit_log; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0

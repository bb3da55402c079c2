"""The service behind the Coding page: texts, measures and lesions against one pass a text."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from model.errors import DialError, TextError, UnitError
from model.locality.dial import Dial
from tests import page_models
from workbench import coding_passes
from workbench.choices import GAIN
from workbench.coding import MEASURES, coding_of, forget_codings, lesions_of
from workbench.coding_passes import Asked, texts_within
from workbench.coding_texts import held_out_texts, text_set
from workbench.inference import prepare, relevance_of
from workbench.models import open_model

FEW = 12  # of the held-out glosses
OWN = "the apple is a fruit of the tree"


@pytest.fixture(scope="module", autouse=True)
def models(own_store):
    with pytest.MonkeyPatch.context() as patch:
        forget_codings()
        patch.setattr("workbench.coding_texts.held_out_texts", lambda: held_out_texts()[:FEW])
        for seed, name in enumerate(("small", "other")):
            page_models.add_model(name, seed)
        yield
        for name in ("small", "other"):
            page_models.remove(name)
        forget_codings()


@pytest.fixture
def small():
    return open_model("small", "cpu")


def by_hand(model, text: str, hook: str, dial: float, unit: int | None = None, value: float = 0.0):
    """Activations at a hook and surprisal in bits of one text by itself, one unit replaced."""
    prompt = prepare(model, text)
    seen = {}

    def edit(activation, hook):
        activation = activation.clone()
        if unit is not None:
            activation[:, 1:, unit] = value
        seen["found"] = activation[0]
        return activation

    ids = torch.tensor(prompt.ids)[None]
    logits = model.decoder.run_with_hooks(
        ids, Dial(dial, GAIN), relevance_of(model, prompt), fwd_hooks=[(hook, edit)]
    )
    log_p = logits[0, :-1].double().log_softmax(dim=-1)
    bits = -log_p.gather(1, ids[0, 1:, None])[:, 0] / math.log(2.0)
    return seen["found"].numpy(), bits.numpy()


def test_the_held_out_texts_hold_every_category():
    assert len(held_out_texts()) >= 200
    assert len(set(held_out_texts())) == len(held_out_texts())


def test_texts_know_their_tokens_and_categories(small):
    texts = text_set(small, OWN)
    assert len(texts.ids) == FEW + 1
    assert texts.own == FEW
    prompt = prepare(small, OWN)
    assert texts.ids[-1] == prompt.ids
    at = np.flatnonzero(texts.place[:, 0] == FEW)
    assert texts.place[at, 1].tolist() == list(range(1, prompt.n_tokens))
    assert texts.category[at].tolist() == prompt.classes[1:].tolist()
    assert texts.sizes.sum() == (texts.category < len(texts.names)).sum()
    before, token, after = texts.context(int(at[1]))
    assert before == "the"
    assert (token + after).startswith("apple is a fruit")
    assert text_set(small, OWN) is texts
    assert text_set(small).own is None
    assert text_set(small).key != texts.key


@pytest.mark.parametrize(
    ("kind", "hook"), [("mlp", "mlp.hook_post"), ("residual", "hook_resid_post")]
)
@pytest.mark.parametrize("dial", [0.0, 0.75])
def test_batches_of_texts_are_one_pass_a_text(small, kind, hook, dial, monkeypatch):
    monkeypatch.setattr(coding_passes, "_BATCH", 100)
    forget_codings()
    texts = text_set(small, OWN)
    coding = coding_of(small, "small", texts, Asked(0, kind, dial))
    hook, unit = f"blocks.0.{hook}", 5
    alone = [by_hand(small, text, hook, dial)[0][1:] for text in texts.texts]
    raw = np.concatenate(alone)
    signs = np.where((raw.astype(np.float64) ** 3).sum(axis=0) < 0, -1.0, 1.0)
    assert np.abs(coding.activations - raw * signs).max() < 1e-4
    assert np.abs(coding.means - raw.mean(axis=0)).max() < 1e-4
    category = int(coding.best[unit])
    found = lesions_of(small, coding, [unit], [category])[0]
    change, own = [], []
    for number, text in enumerate(texts.texts):
        plain = by_hand(small, text, hook, dial)[1]
        without = by_hand(small, text, hook, dial, unit, float(coding.means[unit]))[1]
        change += (without - plain)[1:].tolist()
        own += (texts.categories[number][1:-1] == category).tolist()
    change, own = np.array(change), np.array(own)
    assert (found.n_own, found.n_others) == (own.sum(), (~own).sum())
    assert found.own == pytest.approx(change[own].mean(), abs=1e-5)
    assert found.others == pytest.approx(change[~own].mean(), abs=1e-5)
    assert np.abs(change).max() > 1e-3  # the lesion does something


def test_measures_are_of_the_tokens_that_are_shown(small):
    texts = text_set(small)
    coding = coding_of(small, "small", texts, Asked(1))
    assert coding_of(small, "small", texts, Asked(1)) is coding
    category = int(texts.category[texts.category < len(texts.names)][0])
    on = texts.category == category
    above = coding.activations[:, 3] > coding.measures["threshold"][3, category]
    assert coding.measures["hit_rate"][3, category] == pytest.approx(above[on].mean())
    assert coding.measures["false_alarm_rate"][3, category] == pytest.approx(above[~on].mean())
    assert coding.best[3] == np.nan_to_num(coding.measures["auc"][3], nan=-1).argmax()
    for name in MEASURES:
        assert coding.measures[name].shape == (32, len(texts.names))
        assert np.isnan(coding.measures[name][:, texts.sizes == 0]).all()


def test_what_depends_on_the_dial_does(small):
    texts = text_set(small)
    plain, dialled = (coding_of(small, "small", texts, Asked(1, "mlp", d)) for d in (0.0, 1.0))
    assert np.abs(plain.activations - dialled.activations).max() > 1e-3
    assert plain.about["dial"] == 0.0
    assert plain.about["model_hash"] == small.content_hash


def test_fewer_tokens_for_many_units(small):
    texts = text_set(small)
    coding = coding_of(small, "small", texts, Asked(1))
    units = list(range(coding.n_units))
    some = lesions_of(small, coding, units, coding.best.tolist(), 60)
    counted = {each.n_own + each.n_others for each in some}
    held = sum(len(ids) - 2 for ids in texts.ids[: texts_within(texts, 60)])
    assert counted == {held}
    assert held <= 60 < texts.n_tokens
    again = lesions_of(small, coding, [4, 4], [int(coding.best[4]), 0], 60)
    assert again[0].own == some[4].own or math.isnan(again[0].own)
    assert texts_within(texts, 1) == 1
    assert texts_within(texts, None) == FEW


def test_two_models_read_the_same_tokens(small):
    texts = text_set(small)
    other = coding_of(open_model("other", "cpu"), "other", texts, Asked(0))
    ours = coding_of(small, "small", texts, Asked(0))
    assert other.activations.shape == ours.activations.shape
    assert not np.allclose(other.activations, ours.activations)


def test_bad_questions_say_so(small):
    with pytest.raises(DialError, match="Dial"):
        Asked(0, "mlp", 1.5)
    texts = text_set(small)
    with pytest.raises(UnitError, match="Layer"):
        coding_of(small, "small", texts, Asked(9))
    with pytest.raises(UnitError, match="Kind"):
        coding_of(small, "small", texts, Asked(0, "head"))
    with pytest.raises(TextError, match="reads at most"):
        text_set(small, "apple " * 200)


def test_a_model_with_another_tokenizer_is_refused(small, tmp_path):
    from model.transformer.checkpoint import load_model
    from tests.model_dirs import write_tiny_model

    write_tiny_model(tmp_path / "tiny")
    with pytest.raises(TextError, match="same tokenizer"):
        coding_of(load_model(tmp_path / "tiny"), "tiny", text_set(small), Asked(0))

"""Inference for pages: equal to the plain calls beneath it, remembered, and safe in threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from model.blocks.membership import MembershipTable
from model.errors import DialError, TextError
from model.locality.dial import Dial, Schedule
from model.locality.measures import MEASURES, Masks, row_measures
from model.locality.relevance import Relevance
from model.transformer.checkpoint import LoadedModel, load_model
from tests.model_dirs import write_tiny_model
from workbench import inference
from workbench.choices import Choices
from workbench.inference import dial_of, forget_passes, next_tokens, prepare, run, subject_of
from workbench.memo import Memo
from workbench.views import GRID, dial_view, head_summary

TEXT = "the cat ate a red apple; the dog ran"
DIALS = [
    Dial(0.0),
    Dial(0.6),
    Dial(1.0, gain=2.0, temperature=0.7),
    Dial(0.8, schedule=Schedule("progressive", 2.0)),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    directory = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(directory)
    return load_model(directory)


@pytest.fixture(autouse=True)
def empty_memo() -> Iterator[None]:
    forget_passes()
    yield
    forget_passes()


def plain(model: LoadedModel, text: str) -> tuple[torch.Tensor, Relevance]:
    """Ids [1, T] and relevance, by the model's own parts."""
    ids = model.tokenizer.encode_with_bos(text)
    table = MembershipTable(model.tokenizer.token_bytes, model.partition, model.lexicon)
    classes = table.classes_for_ids(np.asarray(ids))
    return torch.tensor(ids)[None], Relevance.compile(torch.tensor(classes)[None], model.reads)


def test_a_prompt_begins_with_bos_and_says_why(model: LoadedModel) -> None:
    prompt = prepare(model, "the cat; é\n")
    assert prompt.ids[0] == model.tokenizer.bos_id
    assert model.tokenizer.decode(prompt.ids) == "the cat; é\n"
    count = prompt.n_tokens
    for values in (prompt.tokens, prompt.reasons, prompt.classes, prompt.scores, prompt.margins):
        assert len(values) == count
    names = [model.partition.class_names[c] for c in prompt.classes]
    assert names[0] == "BOS" and {"FUNCTION", "ANIMAL", "SIGN", "NONE"} <= set(names)
    where = names.index("ANIMAL")
    assert "'cat' is ANIMAL" in prompt.reasons[where] and prompt.scores[where] == 1.0
    assert prompt.tokens[-1] == "\\n"
    with pytest.raises(ValueError, match="read-only"):
        prompt.classes[0] = 1


@pytest.mark.parametrize("dial", DIALS)
def test_a_pass_equals_the_plain_calls(model: LoadedModel, dial: Dial) -> None:
    ids, relevance = plain(model, TEXT)
    found = run(model, prepare(model, TEXT), dial)
    with torch.inference_mode():
        logits = model.decoder(ids, dial, relevance)
        _, cache = model.decoder.run_with_cache(ids, dial, relevance)
    log_p = logits[0].double().log_softmax(-1)
    np.testing.assert_allclose(found.log_probabilities, log_p[-1], atol=2e-5)
    bits = -log_p[:-1].gather(1, ids[0, 1:, None])[:, 0] / np.log(2)
    np.testing.assert_allclose(found.surprisal_bits[1:], bits, atol=5e-5)
    assert np.isnan(found.surprisal_bits[0])
    for layer in range(model.config.n_layers):
        scores = cache[f"blocks.{layer}.attn.hook_attn_scores"][0]
        pattern = cache[f"blocks.{layer}.attn.hook_pattern"]
        seen = torch.isfinite(scores)
        assert np.array_equal(found.scores[layer][seen], scores[seen])
        assert not found.scores[layer][~seen].any()
        assert np.array_equal(found.pattern[layer], pattern[0])
        measured = row_measures(pattern, Masks.of(relevance, layer))
        for name in MEASURES:
            assert np.array_equal(found.measures[name][layer], measured[name][0])


def test_a_pass_is_remembered_by_model_text_and_dial(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = prepare(model, TEXT)
    first = run(model, prompt, Dial(0.5))
    assert run(model, prepare(model, TEXT), Dial(0.5)) is first
    assert run(model, prompt, Dial(0.25)) is not first
    assert run(model, prepare(model, TEXT + "!"), Dial(0.5)) is not first
    assert run(model, prompt, Dial(0.5, schedule=Schedule("progressive"))) is not first
    monkeypatch.setattr(inference, "_passes", Memo(first.nbytes, lambda each: each.nbytes))
    again = run(model, prompt, Dial(0.5))
    run(model, prompt, Dial(0.75))
    assert len(inference._passes) == 1
    assert run(model, prompt, Dial(0.5)) is not again
    assert not again.pattern.flags.writeable


def test_a_memo_forgets_the_least_recently_used_first() -> None:
    memo: Memo[str] = Memo(6, len)
    for key in "abc":
        memo.put(key, key * 2)
    assert memo.get("a") == "aa"
    memo.put("d", "dd")
    assert (memo.get("b"), memo.get("a"), memo.get("c"), len(memo)) == (None, "aa", "cc", 3)
    memo.put("a", "a" * 10)  # alone beyond the budget: kept, and nothing else is
    assert (memo.get("a"), len(memo)) == ("a" * 10, 1)
    memo.put("a", "a")
    memo.put("e", "e" * 5)
    assert len(memo) == 2
    memo.clear()
    assert (memo.get("a"), len(memo)) == (None, 0)


def test_threads_do_not_mix_their_passes(model: LoadedModel) -> None:
    texts = [TEXT[:n] for n in range(3, 36, 3)]
    alone = {text: run(model, prepare(model, text), Dial(0.7)).pattern for text in texts}
    forget_passes()
    found: dict[str, np.ndarray] = {}

    def work(text: str) -> None:
        found[text] = run(model, prepare(model, text), Dial(0.7)).pattern

    threads = [threading.Thread(target=work, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.keys() == alone.keys()
    for text in texts:
        assert np.array_equal(found[text], alone[text])


def test_next_tokens_are_the_likeliest(model: LoadedModel) -> None:
    ids, relevance = plain(model, TEXT)
    with torch.inference_mode():
        p = model.decoder(ids, Dial(0.6), relevance)[0, -1].double().softmax(-1)
    rows = next_tokens(model, prepare(model, TEXT), Dial(0.6), k=5)
    assert [row.rank for row in rows] == [1, 2, 3, 4, 5]
    assert [row.token_id for row in rows] == p.topk(5).indices.tolist()
    for row in rows:
        assert row.probability == pytest.approx(float(p[row.token_id]), rel=1e-4)
        assert row.surprisal_bits == pytest.approx(-np.log2(row.probability), rel=1e-6)
    everything = next_tokens(model, prepare(model, TEXT), Dial(0.6), k=10**6)
    assert len(everything) == model.config.d_vocab
    assert sum(row.probability for row in everything) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("layer", [0, 1])
def test_a_view_holds_what_was_measured(model: LoadedModel, layer: int) -> None:
    dial = Dial(0.8, gain=3.0, temperature=0.9, schedule=Schedule("progressive", 2.0))
    prompt = prepare(model, TEXT)
    _, relevance = plain(model, TEXT)
    view, found = dial_view(model, prompt, dial, layer, "shown"), run(model, prompt, dial)
    assert (view.model_name, view.model_hash) == ("shown", model.content_hash)
    assert (view.exact, view.layer, view.n_layers, view.n_heads) == (layer == 0, layer, 2, 4)
    assert (view.dial, view.gain, view.temperature, view.schedule) == (0.8, 3.0, 0.9, "progressive")
    assert view.weights.tolist() == [float(layer)] * 4
    assert view.tokens == prompt.tokens and view.class_names == model.partition.class_names
    assert len(view.class_titles) == len(view.class_names)
    assert np.array_equal(view.relevance, relevance.raw(layer)[0])
    assert np.array_equal(view.relation, relevance.relation[0])
    assert np.array_equal(view.pattern, found.pattern[layer])
    entropy = found.measures["entropy_bits"][layer][:, 1:].astype(np.float64).mean(-1)
    np.testing.assert_allclose(view.entropy_bits, entropy)
    assert list(view.grid) == list(GRID)
    for metric, measure in GRID.items():
        rows = found.measures[measure][:, :, 1:].astype(np.float64)
        np.testing.assert_allclose(view.grid[metric], rows.mean(-1))
    assert view.head_notes == tuple(model.reads.describe(layer, h) for h in range(4))
    assert dial_view(model, prompt, dial, layer).model_name == "tiny"


@pytest.mark.parametrize("layer", [-1, 2, 99])
def test_a_layer_that_is_not_there_is_refused(model: LoadedModel, layer: int) -> None:
    with pytest.raises(DialError, match=r"Layer .*\[0, 1\]"):
        dial_view(model, prepare(model, TEXT), Dial(0.5), layer)
    with pytest.raises(DialError, match="one value"):
        dial_view(model, prepare(model, TEXT), Dial((0.1, 0.2)), 0)


def test_a_subject_changes_with_text_and_model(model: LoadedModel, tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "other", seed=4)
    other = load_model(tmp_path / "other")
    one = subject_of(model, prepare(model, TEXT))
    assert one == subject_of(model, prepare(model, TEXT))
    assert (
        len({one, subject_of(model, prepare(model, "a")), subject_of(other, prepare(other, TEXT))})
        == 3
    )


def test_heads_are_summed_up(model: LoadedModel) -> None:
    prompt, dial = prepare(model, TEXT), Dial(1.0)
    heads, found = head_summary(model, prompt, dial), run(model, prompt, dial)
    assert [(head.layer, head.head) for head in heads] == [(n // 4, n % 4) for n in range(8)]
    for head in heads:
        assert sum(head.class_mass) == pytest.approx(1.0, abs=1e-5)
        pattern = found.pattern[head.layer, head.head, 1:].astype(np.float64)
        for c in range(model.partition.n_classes):
            mass = pattern[:, prompt.classes == c].sum(-1).mean()
            assert head.class_mass[c] == pytest.approx(mass, abs=1e-6)
        assert head.measures["fidelity"] == pytest.approx(
            float(found.measures["fidelity"][head.layer, head.head, 1:].mean()), abs=1e-6
        )
        assert head.reads == model.reads.describe(head.layer, head.head)


def test_choices_become_a_dial() -> None:
    chosen = Choices("progressive", beta=3.0, gain=2.0, temperature=0.5)
    assert dial_of(0.25, chosen) == Dial(0.25, 2.0, 0.5, Schedule("progressive", 3.0))


def test_one_token_and_the_longest_prompt_work_and_one_more_does_not(model: LoadedModel) -> None:
    view = dial_view(model, prepare(model, "\x00"), Dial(1.0), 1)
    assert view.n_tokens == 2 and np.isfinite(view.pattern).all()
    room = model.config.n_ctx - 1
    assert prepare(model, "\x00" * room).n_tokens == room + 1
    with pytest.raises(TextError, match=f"'{room + 2} tokens'.*at least 1 token."):
        prepare(model, "\x00" * (room + 1))

"""The dial twice: golden vectors hold Python's functions and the browser's together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from model.locality.dial import Dial
from model.locality.measures import Masks, row_measures
from tests import dial_vectors
from tests.canvas_views import make_view
from tests.factories import N_CLASSES, TINY, tiny_case
from tests.naive_dial import SHARES
from workbench.canvas import assets
from workbench.canvas.expected import expected_frame

VECTORS = dial_vectors.load()
CASES = VECTORS["cases"]
NAMES = [case["name"] for case in CASES]
ANSWERS = [
    "pattern", "entropy_bits", "entropy_normalised", "fidelity", "shares", "class_mass",
    "row_entropy_bits", "row_fidelity",
]  # fmt: skip

RUN = """async ([source, cases, classes]) => {
  const blob = new Blob([source], { type: "text/javascript" });
  const { Frame, LayerMath, triangle } = await import(URL.createObjectURL(blob));
  const rows = (flat, width) =>
    Array.from({ length: flat.length / width }, (_, h) =>
      Array.from(flat.slice(h * width, (h + 1) * width)));
  const answer = (layer, dial) => {
    const frame = layer.measure(dial, new Frame(layer));
    const { H, T, C } = layer;
    const pattern = [];
    for (let h = 0; h < H; h++) {
      pattern.push(Array.from(layer.pattern(h, frame, new Float32Array(triangle(T)))));
    }
    return {
      pattern,
      entropy_bits: Array.from(frame.entropyBits),
      entropy_normalised: Array.from(frame.entropyNormalised),
      fidelity: Array.from(frame.fidelity),
      shares: rows(frame.shares, 5),
      class_mass: rows(frame.classMass, C),
      row_entropy_bits: rows(frame.rowEntropyBits, T),
      row_fidelity: rows(frame.rowFidelity, T),
      fallback: rows(layer.fallback, T).map((row) => row.map(Boolean)),
      rest: rows(layer.rest, T).map((row) => row.map(Boolean)),
      grouped: layer.heads.every((head) => head !== null),
    };
  };
  return cases.map((c) => {
    const layer = new LayerMath({
      H: c.heads, T: c.tokens, C: classes,
      scores: Float32Array.from(c.scores.flat()),
      relevance: Float32Array.from(c.relevance.flat()),
      relation: Uint8Array.from(c.relation),
      classes: Uint16Array.from(c.token_classes),
      weights: Float64Array.from(c.weights),
      gain: c.gain, temperature: c.temperature,
    });
    const fast = answer(layer, c.dial);
    layer.heads.fill(null);
    return { fast, slow: answer(layer, c.dial) };
  });
}"""


@pytest.fixture(scope="module")
def in_browser(browser):
    """Answers of dial_math.js to every case, by the grouped and by the key-by-key path."""
    page = browser.new_page()
    page.goto("about:blank")
    source = (assets.FOLDER / "dial_math.js").read_text(encoding="utf-8")
    found = page.evaluate(RUN, [source, CASES, VECTORS["classes"]])
    page.close()
    return dict(zip(NAMES, found, strict=True))


def largest_difference(answer, case) -> float:
    """Over all answers; NaN and wrong shapes count as infinite."""
    largest = 0.0
    for name in ANSWERS:
        a, b = np.array(answer[name], float), np.array(case[name], float)
        if a.shape != b.shape:
            return np.inf
        off = np.abs(a - b).max(initial=0.0)
        largest = max(largest, np.inf if np.isnan(off) else float(off))
    return largest


def test_the_stored_vectors_are_what_their_maker_makes():
    built = dial_vectors.build()
    assert [case["name"] for case in built["cases"]] == NAMES
    for case, stored in zip(built["cases"], CASES, strict=True):
        assert {k: case[k] for k in case if k not in ANSWERS} == {
            k: stored[k] for k in stored if k not in ANSWERS
        }
        assert largest_difference(case, stored) < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_the_browser_agrees(in_browser, name):
    case = CASES[NAMES.index(name)]
    assert in_browser[name]["fast"]["fallback"] == case["fallback"]
    assert largest_difference(in_browser[name]["fast"], case) < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_both_ways_through_the_browser_agree(in_browser, name):
    case = CASES[NAMES.index(name)]
    assert in_browser[name]["slow"]["grouped"] is False
    assert largest_difference(in_browser[name]["slow"], case) < 1e-6


def test_the_grouped_way_is_taken_where_it_holds(in_browser):
    taken = {name for name in NAMES if in_browser[name]["fast"]["grouped"]}
    assert {"random at dial 0.37", "graded relevance", "one token"} <= taken
    assert not taken & {"a warmer temperature", "many grades"}


@pytest.mark.parametrize(
    "name", ["random at dial 0.37", "scores of 80 nats", "two tokens at dial 1"]
)
def test_a_wrong_answer_is_noticed(in_browser, name):
    case = CASES[NAMES.index(name)]
    other = next(each for each in NAMES if each != name)
    assert largest_difference(in_browser[other]["fast"], case) == np.inf or (
        largest_difference(in_browser[other]["fast"], case) > 1e-3
    )
    spoiled = {**in_browser[name]["fast"], "fidelity": [np.nan] * case["heads"]}
    assert largest_difference(spoiled, case) == np.inf


def view_of(case):
    """A view that holds a golden case's scores and relevance."""
    heads, tokens = case["heads"], case["tokens"]
    lower = np.tril_indices(tokens)
    base = make_view(length=max(tokens, 1), n_heads=heads)

    def square(values):
        full = np.zeros((heads, tokens, tokens), np.float32)
        full[:, *lower] = values
        return full

    return dataclasses.replace(
        base,
        scores=square(case["scores"]),
        relevance=square(case["relevance"]),
        weights=np.array(case["weights"]),
        gain=case["gain"],
        temperature=case["temperature"],
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_models_own_functions_agree(name):
    case = CASES[NAMES.index(name)]
    found = expected_frame(view_of(case), case["dial"])
    lower = np.tril_indices(case["tokens"])
    np.testing.assert_allclose(found.pattern[:, *lower], case["pattern"], atol=1e-12)
    np.testing.assert_allclose(found.entropy_bits, case["entropy_bits"], atol=1e-12)
    np.testing.assert_allclose(found.fidelity, case["fidelity"], atol=1e-12)


AT_DIAL_1 = [case["name"] for case in CASES if case["dial"] == 1.0 and min(case["weights"]) == 1.0]


@pytest.mark.parametrize("name", AT_DIAL_1)
def test_dial_1_leaves_exactly_nothing_outside_the_most_relevant_keys(in_browser, name):
    case = CASES[NAMES.index(name)]
    pattern, relevance = np.array(in_browser[name]["fast"]["pattern"]), np.array(case["relevance"])
    start = 0
    for i in range(case["tokens"]):
        for h in range(case["heads"]):
            row, r = pattern[h, start : start + i + 1], relevance[h, start : start + i + 1]
            kept = r == r.max() if r.max() > 0 else np.arange(i + 1) == i
            assert row[~kept].max(initial=0.0) == 0.0
            assert row[kept].sum() == pytest.approx(1.0, abs=1e-6)
        start += i + 1


@pytest.mark.parametrize("layer", range(TINY.n_layers))
@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_a_real_model_and_its_measures_agree_with_the_browser(browser, layer, temperature):
    decoder, ids, relevance = tiny_case(batch=1, length=19, seed=3)
    dial = Dial(0.63, gain=3.0, temperature=temperature)
    _, cache = decoder.run_with_cache(ids, dial, relevance)
    pattern = cache[f"blocks.{layer}.attn.hook_pattern"]
    measured = row_measures(pattern, Masks.of(relevance, layer))
    lower = np.tril_indices(ids.shape[1])
    case = {
        "heads": TINY.n_heads,
        "tokens": ids.shape[1],
        "dial": 0.63,
        "gain": 3.0,
        "temperature": temperature,
        "weights": [1.0] * TINY.n_heads,
        "scores": cache[f"blocks.{layer}.attn.hook_attn_scores"][0].numpy()[:, *lower].tolist(),
        "relevance": relevance.raw(layer)[0].numpy()[:, *lower].tolist(),
        "relation": relevance.relation[0].numpy()[lower].tolist(),
        "token_classes": relevance.classes[0].tolist(),
    }
    page = browser.new_page()
    page.goto("about:blank")
    source = (assets.FOLDER / "dial_math.js").read_text(encoding="utf-8")
    found = page.evaluate(RUN, [source, [case], N_CLASSES])[0]["fast"]
    page.close()

    def means(name):
        return measured[name][0, :, 1:].mean(dim=-1).numpy()

    np.testing.assert_allclose(found["pattern"], pattern[0].numpy()[:, *lower], atol=1e-6)
    for name in ("entropy_bits", "entropy_normalised", "fidelity"):
        np.testing.assert_allclose(found[name], means(name), atol=1e-5)
    shares = [means(f"{name}_share") for name in SHARES]
    np.testing.assert_allclose(found["shares"], np.transpose(shares), atol=1e-5)
    assert found["fallback"] == relevance.fallback(layer)[0].tolist()
    largest = relevance.largest(layer)[0]
    assert found["rest"] == ((largest > 0) & (largest < 1)).tolist()

"""What goes to the browser and what comes back: exact, strict, and no more than it says."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from model.errors import LocalistError
from tests.canvas_views import make_view
from workbench.canvas import (
    CanvasError,
    DialEvent,
    assets,
    decode_payload,
    encode_payload,
    to_payload,
)
from workbench.canvas.events import sequence_number

ARRAYS = {
    "a": np.array([[1.5, -0.0], [np.pi, 1e-30]], np.float32),
    "b": np.arange(3, dtype=np.uint8),
    "c": np.array([], np.float64),
    "d": np.array([65535], np.uint16),
    "e": np.array(-7, np.int32),
}


@pytest.fixture(scope="module")
def view():
    return make_view(length=12, n_heads=3, dial=0.5)


def test_arrays_and_header_come_back_bit_for_bit():
    header = {"words": ["<b>", "naïve", "\ud800", "日本"], "number": 0.1, "none": None}
    payload = encode_payload(header, ARRAYS)
    found, arrays = decode_payload(payload)
    assert found == header
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()


def test_every_array_is_aligned_for_the_browser():
    payload = encode_payload({"x": "odd"}, ARRAYS)
    length = int.from_bytes(payload[8:12], "little")
    assert (12 + length) % 8 == 0
    text = payload[12 : 12 + length].decode()
    offsets = [int(found) for found in re.findall(r'"offset": (\d+)', text)]
    assert len(offsets) == len(ARRAYS)
    assert all(offset % 8 == 0 for offset in offsets)


@pytest.mark.parametrize(
    ("header", "arrays", "word"),
    [
        ({"x": float("nan")}, {}, "NaN"),
        ({"x": object()}, {}, "JSON"),
        ({"arrays": 1}, {}, "encoder"),
        ({}, {"z": np.zeros(2, np.complex64)}, "complex64"),
        ({}, {"z": np.array(["text"])}, "must be one of"),
    ],
)
def test_what_cannot_travel_is_refused(header, arrays, word):
    with pytest.raises(CanvasError, match=word):
        encode_payload(header, arrays)


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda p: b"", "at least"),
        (lambda p: b"XXXX" + p[4:], "begins with"),
        (lambda p: p[:4] + b"\x09\0\0\0" + p[8:], "version"),
        (lambda p: p[:8] + b"\xff\xff\xff\x7f" + p[12:], "header up to"),
        (lambda p: p[:20] + b"}}}}" + p[24:], "readable header"),
        (lambda p: p[:-8], "holds all"),
        (lambda p: p.replace(b'"f4"', b'"f3"'), "has arrays of"),
    ],
)
def test_a_damaged_payload_is_refused(spoil, word):
    with pytest.raises(CanvasError, match=word) as found:
        decode_payload(spoil(encode_payload({"x": 1}, ARRAYS)))
    assert isinstance(found.value, LocalistError)


def test_a_view_travels_whole(view):
    choice = DialEvent(dial=0.5, head=2, mode="split", dial_b=0.75, pinned_row=4)
    header, arrays = decode_payload(to_payload(view, choice, ack=7))
    lower = np.tril_indices(view.n_tokens)
    np.testing.assert_array_equal(arrays["scores"], view.scores[:, *lower])
    np.testing.assert_array_equal(arrays["pattern"], view.pattern[:, *lower])
    np.testing.assert_array_equal(
        arrays["relevance_levels"][arrays["relevance_codes"]], view.relevance[:, *lower]
    )
    np.testing.assert_array_equal(arrays["relation"], view.relation[lower])
    assert header["ack"] == 7
    assert header["choice"] == dataclasses.asdict(choice)
    assert header["tokens"] == list(view.tokens)
    assert header["exact"] is True
    assert arrays["grid"].shape == (len(header["grid_metrics"]), view.n_layers, view.n_heads)


def test_relevance_of_many_grades_travels_as_it_is(view):
    rng = np.random.default_rng(0)
    graded = np.tril(rng.random(view.scores.shape)).astype(np.float32)
    _, arrays = decode_payload(to_payload(dataclasses.replace(view, relevance=graded)))
    assert "relevance_codes" not in arrays
    np.testing.assert_array_equal(arrays["relevance"], graded[:, *np.tril_indices(view.n_tokens)])


def test_the_inputs_id_follows_what_the_browser_computes_from(view):
    def identity(each, **more):
        return decode_payload(to_payload(each, **more))[0]["inputs_id"]

    assert identity(view) == identity(view, ack=3)
    assert identity(view) == identity(dataclasses.replace(view, pattern=view.pattern * 0.5))
    louder = dataclasses.replace(view, scores=view.scores * 2)
    assert identity(view) != identity(louder)


def test_a_choice_beyond_the_view_is_brought_within(view):
    choice = DialEvent(head=99, layer=99, pinned_row=99)
    header, _ = decode_payload(to_payload(view, choice))
    assert header["choice"]["head"] == view.n_heads - 1
    assert header["choice"]["pinned_row"] is None


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"scores": np.zeros((3, 12, 11))}, "scores"),
        ({"relation": np.zeros((11, 12), np.uint8)}, "relation"),
        ({"weights": np.ones(2)}, "weights"),
        ({"reasons": ("one",)}, "reasons"),
        ({"class_colours": ("red",)}, "class_colours"),
        ({"classes": np.full(12, 99)}, "classes"),
        ({"layer": 4}, "layer"),
        ({"dial": 1.5}, "dial"),
        ({"grid": {"entropy": np.zeros((4, 3))}}, "fidelity"),
        ({"relevance": np.full((3, 12, 12), 2.0)}, "relevance"),
        ({"relevance": np.full((3, 12, 12), np.nan)}, "relevance"),
        ({"scores": np.full((3, 12, 12), np.nan)}, "scores"),
        ({"tokens": ()}, "needs a head and a token"),
    ],
)
def test_a_view_that_contradicts_itself_is_refused(view, change, word):
    with pytest.raises(CanvasError, match=word):
        dataclasses.replace(view, **change)


def test_what_later_keys_hold_does_not_matter(view):
    scores = view.scores.copy()
    scores[:, *np.triu_indices(view.n_tokens, 1)] = -np.inf
    masked = dataclasses.replace(view, scores=scores)
    assert to_payload(masked) == to_payload(view)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"dial": 0.25, "layer": 2, "head": 1}, DialEvent(0.25, 2, 1)),
        ({"dial": 1, "mode": "split", "dial_b": 0}, DialEvent(1.0, mode="split", dial_b=0.0)),
        ({"dial": 7, "layer": -1, "head": 1.5, "mode": "x"}, DialEvent()),
        ({"dial": float("nan"), "dial_b": "0.5", "layer": True}, DialEvent()),
        ({"pinned_row": 3}, DialEvent(pinned_row=3)),
        ({"pinned_row": "3"}, DialEvent(pinned_row=0)),
    ],
)
def test_the_browser_is_believed_where_it_makes_sense(raw, expected):
    assert DialEvent().merged(raw) == expected


def test_letting_go_of_a_row_is_an_event_too():
    assert DialEvent(pinned_row=3).merged({"pinned_row": None}).pinned_row is None


@pytest.mark.parametrize(
    ("raw", "number"), [({"seq": 4}, 4), ({"seq": 4.0}, 4), ({"seq": -1}, 0), ({}, 0), (None, 0)]
)
def test_events_are_numbered(raw, number):
    assert sequence_number(raw) == number


def test_the_scripts_join_into_one_module():
    script = assets.javascript()
    assert len(re.findall(r"^export\b", script, re.MULTILINE)) == 1
    assert not re.search(r"^import\b", script, re.MULTILINE)
    for name in assets.MODULES:
        assert f"// {name}" in script
    written = {path.name for path in assets.FOLDER.glob("*.js")}
    assert written == set(assets.MODULES)


def test_no_name_is_declared_twice_in_the_joined_module():
    names = re.findall(
        r"^(?:export default )?(?:async )?(?:const|let|class|function) (\w+)",
        assets.javascript(),
        re.MULTILINE,
    )
    assert len(names) > 50
    assert {name for name in names if names.count(name) > 1} == set()


def test_no_script_takes_text_for_markup():
    sources = [path.read_text() for path in assets.FOLDER.glob("*.js")]
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert not [source for source in sources if word in source], word

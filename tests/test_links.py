"""Links: what is written reads back the same, and what cannot be taken is said, one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import DialError
from workbench.choices import Choices
from workbench.links import LONGEST_PROMPT, VERSION, Link, fitted, read, write

fraction = st.floats(0, 1)
factor = st.floats(1e-6, 1000)
choices = st.one_of(
    st.builds(Choices, gain=factor, temperature=factor),
    st.builds(Choices, st.just("progressive"), st.floats(0, 100), gain=factor),
    st.builds(
        Choices,
        st.just("hand"),
        weights=st.lists(st.tuples(fraction, fraction), min_size=1, max_size=3).map(tuple),
    ),
)
links = st.builds(
    Link,
    model=st.sampled_from(["bundled", "twin", "a.b-c_1"]),
    model_hash=st.text("0123456789abcdef", min_size=12, max_size=12),
    layer=st.integers(0, 99),
    head=st.integers(0, 99),
    dial=fraction,
    dial_b=st.none() | fraction,
    choices=choices,
)


@given(links)
def test_a_link_reads_back_as_it_was_written(link):
    assert read(write(link)) == (link, ())


@given(links, st.text(max_size=200))
def test_a_prompt_travels_whole_or_not_at_all(link, text):
    assert "prompt" not in write(link)
    assert read(write(replace(link, prompt=text)))[0].prompt == text


def test_a_prompt_too_long_for_an_address_stays_out():
    assert "prompt" not in write(Link(prompt="x" * (LONGEST_PROMPT + 1)))


def test_an_example_goes_in_by_its_name():
    assert write(Link(example="ship", prompt="secret")) == {**write(Link()), "example": "ship"}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("dial", "nan", "dial is 'nan': it must be a number in [0, 1]. 0.5 is used."),
        ("dial", "-0.1", "dial is '-0.1'"),
        ("dial", "1.5", "dial is '1.5'"),
        ("dial", "half", "dial is 'half'"),
        ("dial", "", "dial is ''"),
        ("compare", "inf", "compare is 'inf'"),
        ("layer", "-1", "layer is '-1': it must be a whole number from 0. 0 is used."),
        ("layer", "1.5", "layer is '1.5'"),
        ("head", "٣", "head is"),
        ("head", "9" * 5000, "head is '999"),
        ("gain", "0", "gain is '0': it must be a number in (0, 1000]. 4 is used."),
        ("gain", "1e9", "gain is '1e9'"),
        ("temperature", "x", "temperature is 'x'"),
        ("schedule", "steep", "schedule is 'steep'"),
        ("schedule", "progressive:-1", "uniform, progressive:β or hand:rows. The uniform"),
        ("schedule", "hand:", "schedule is 'hand:'"),
        ("schedule", "hand:1,2", "schedule is 'hand:1,2'"),
        ("schedule", "uniform:1", "schedule is 'uniform:1'"),
        ("v", "2", "version '2', this workbench reads version 1"),
        ("steps", "3", "'steps' is unknown"),
    ],
)
def test_a_bad_value_is_reported_and_its_default_used(name, value, said):
    link, problems = read({"v": VERSION, name: value})
    assert len(problems) == 1
    assert said in problems[0]
    assert len(problems[0]) < 200
    expected = Link(dial_b=1.0) if name == "compare" else Link()
    assert link == expected


def test_every_bad_value_is_reported_by_itself_and_good_ones_are_taken():
    link, problems = read({"dial": "2", "gain": "-1", "layer": "x", "head": "3", "model": "twin"})
    assert len(problems) == 3
    assert link == Link(model="twin", head=3)


def test_what_a_model_lacks_is_said():
    asked = Link(layer=5, head=2, choices=Choices("hand", weights=((1.0, 0.5),)))
    link, problems = fitted(asked, n_layers=3, n_heads=9)
    assert (link.layer, link.head, link.choices) == (0, 2, Choices())
    assert len(problems) == 2
    assert "layer is 5: this model has 3 of them" in problems[0]


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "steep"},
        {"kind": "hand"},
        {"weights": ((1.0,),)},
        {"kind": "hand", "weights": ((1.5,),)},
        {"kind": "progressive", "beta": float("nan")},
        {"gain": 0.0},
        {"gain": True},
        {"gain": "4"},
        {"temperature": float("inf")},
    ],
)
def test_choices_refuse_what_the_dial_refuses(arguments):
    with pytest.raises(DialError):
        Choices(**arguments)


@given(choices)
def test_choices_are_the_schedule_they_say(chosen):
    schedule = chosen.schedule()
    assert schedule.kind == chosen.kind
    assert schedule.weights == chosen.weights
    if chosen.kind == "progressive":
        assert schedule.beta == chosen.beta

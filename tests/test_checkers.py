"""Checkers of text: what passes, what fails and where, what does not apply, what is refused."""

from __future__ import annotations

import json
import socket
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import RuleError
from model.rules.arithmetic import NotArithmetic, equations, value_of
from model.rules.checker import FAIL, NOT_APPLICABLE, PASS, Checker
from model.rules.checking import check

SCHEMA = json.dumps(
    {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string", "pattern": "^[a-z]+$"}, "age": {"minimum": 0}},
        "additionalProperties": False,
    }
)
SUMS = Checker("arithmetic")
OBJECT = Checker("json-schema", schema=SCHEMA)
WORDS = Checker("allowed", allowed=("red", "Green", "dark blue"), unit="words")


@pytest.mark.parametrize(
    ("checker", "text", "status", "part"),
    [
        (Checker("regex", pattern=r"\d+"), "page 17 of 20", PASS, "17"),
        (Checker("regex", pattern=r"\d+"), "no page", FAIL, None),
        (Checker("regex", pattern=r"\d+", forbid=True), "page 17", FAIL, "17"),
        (Checker("regex", pattern=r"\d+", forbid=True), "no page", PASS, None),
        (Checker("regex", pattern=r"\d+"), "", NOT_APPLICABLE, None),
        (Checker("regex", pattern="x", when="y"), "x", NOT_APPLICABLE, None),
        (Checker("regex", pattern="x", when="y"), "y", FAIL, None),
        (OBJECT, 'here: {"name": "ada"} done', PASS, '{"name": "ada"}'),
        (OBJECT, '{"name": "Ada"}', FAIL, '{"name": "Ada"}'),
        (OBJECT, '{"age": 3}', FAIL, '{"age": 3}'),
        (OBJECT, '{"name": "ada", "age": -1}', FAIL, '{"name": "ada", "age": -1}'),
        (OBJECT, "so [1, 2] it", FAIL, "[1, 2]"),
        (OBJECT, 'so {"name": ', FAIL, '{"name": '),
        (OBJECT, '{"name": NaN}', FAIL, '{"name": NaN}'),
        (OBJECT, "no braces", NOT_APPLICABLE, None),
        (Checker("allowed", allowed=("yes", "no")), "  yes\n", PASS, "yes"),
        (Checker("allowed", allowed=("yes", "no")), " maybe ", FAIL, "maybe"),
        (Checker("allowed", allowed=("yes", "no")), "   ", NOT_APPLICABLE, None),
        (WORDS, "RED, green!", PASS, "RED, green"),
        (WORDS, "red or green", FAIL, "or"),
        (WORDS, "?!", NOT_APPLICABLE, None),
        (SUMS, "so 2 + 3 = 5, and 4*4=16.", PASS, "2 + 3 = 5, and 4*4=16"),
        (SUMS, "so 2 + 3 = 5, and 4*4=15.", FAIL, "4*4=15"),
        (SUMS, "0.1 + 0.2 = 0.3.", PASS, "0.1 + 0.2 = 0.3"),
        (SUMS, "1/3 = 0.333", FAIL, "1/3 = 0.333"),
        (Checker("arithmetic", tolerance=0.001), "1/3 = 0.333", PASS, "1/3 = 0.333"),
        (SUMS, "7 − 2 × 3 = 1", PASS, "7 − 2 × 3 = 1"),
        (SUMS, "- 2 + 2 = 4", PASS, "2 + 2 = 4"),
        (SUMS, "(2 + 2 = 5)", FAIL, "2 + 2 = 5"),
        (SUMS, "(2 + 2) * 2 = 8", PASS, "(2 + 2) * 2 = 8"),
        (SUMS, "2 + 2 = 4 = 8 / 2", PASS, "2 + 2 = 4 = 8 / 2"),
        (SUMS, "1 / 0 = 1", FAIL, "1 / 0 = 1"),
        (SUMS, "x = 5, on 2020-01-02, at x2+2=5", NOT_APPLICABLE, None),
        (Checker("length", unit="words", at_most=2), "one two three", FAIL, " three"),
        (Checker("length", unit="words", at_least=2), "one", FAIL, "one"),
        (Checker("length", at_least=1, at_most=3), "abc", PASS, "abc"),
        (Checker("length", at_most=3), "abcde", FAIL, "de"),
        (Checker("length", at_most=0), "ab", FAIL, "ab"),
        (Checker("length", at_least=1), "", FAIL, ""),
    ],
)  # fmt: skip
def test_status_and_span(checker: Checker, text: str, status: str, part: str | None) -> None:
    found = check(checker, text)
    assert found.status == status, found
    assert (None if found.span is None else text[slice(*found.span)]) == part
    assert found.detail


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"kind": "python"}, "one of regex"),
        ({"kind": "regex"}, "pattern"),
        ({"kind": "regex", "pattern": "("}, "is no regex"),
        ({"kind": "regex", "pattern": "a", "unit": "words"}, "no key of the kind regex"),
        ({"kind": "regex", "pattern": "a", "forbid": 1}, "true or false"),
        ({"kind": "allowed"}, "what is allowed"),
        ({"kind": "allowed", "allowed": ("a",), "unit": "lines"}, "text, words"),
        ({"kind": "arithmetic", "tolerance": -1}, r"\[0, 1e9\]"),
        ({"kind": "arithmetic", "tolerance": float("nan")}, r"\[0, 1e9\]"),
        ({"kind": "length"}, "or at_most"),
        ({"kind": "length", "at_least": 3, "at_most": 2}, "below at_least"),
        ({"kind": "json-schema"}, "must be JSON"),
        ({"kind": "json-schema", "schema": "{"}, "is no JSON"),
        ({"kind": "json-schema", "schema": "[1]"}, "JSON object"),
        ({"kind": "json-schema", "schema": '{"type": 3}'}, "no JSON schema"),
        ({"kind": "json-schema", "schema": '{"pattern": "(?R)"}'}, "calls itself|no JSON schema"),
        ({"kind": "json-schema", "schema": '{"$ref": "http://a/b"}'}, "outside of itself"),
        ({"kind": "json-schema", "schema": '{"$id": "http://a/b"}'}, r"\$id"),
        ({"kind": "json-schema", "schema": "[" * 9_000}, "is no JSON"),
    ],
)
def test_a_checker_that_says_nothing_sure_is_refused(keys: dict[str, object], said: str) -> None:
    with pytest.raises(RuleError, match=said):
        Checker(**keys)  # pyright: ignore[reportArgumentType]


def hostile_schemas() -> dict[str, str]:
    doubling = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)}
    doubling["a40"] = {"type": "object"}
    return {
        "doubling": json.dumps({"$defs": doubling, "$ref": "#/$defs/a0"}),
        "circle": '{"$ref": "#"}',
        "nowhere": '{"$ref": "#/$defs/none"}',
        "slow pattern": '{"properties": {"a": {"pattern": "(a|a)*$"}}}',
        "slow name": '{"patternProperties": {"(a|a)*$": true}}',
    }


@pytest.mark.parametrize("name", hostile_schemas())
def test_a_schema_that_would_run_for_ever_is_stopped(name: str) -> None:
    checker = Checker("json-schema", schema=hostile_schemas()[name])
    long = "a" * 40 + "!"
    start = time.process_time()
    with pytest.raises(RuleError, match=r"schema|Regex"):
        check(checker, json.dumps({"a": long, long: 1}))
    assert time.process_time() - start < 4


def test_a_schema_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    checker = Checker("json-schema", schema='{"$dynamicRef": "#nowhere"}')
    with pytest.raises(RuleError, match="schema"):
        check(checker, "{}")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 30_000, "9" * 9_000, '{"name": 1' + "0" * 9_000 + "}"]
)
def test_hostile_json_fails_or_does_not_apply(text: str) -> None:
    assert check(OBJECT, text).status in (FAIL, NOT_APPLICABLE)


@pytest.mark.parametrize(
    "text", ["(1 " * 50_000, "1+" * 50_000 + "=2", "1=1+1" * 50_000, "=" * 50_000, "((=))" * 9_000]
)
def test_long_runs_of_signs_are_read_once(text: str) -> None:
    start = time.process_time()
    assert check(SUMS, text).status == NOT_APPLICABLE
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "text",
    ["", "1 +", "2 ** 3", "(1", "1)", "__import__('os')", "1e9", "9" * 31, "-" * 30 + "1", "１+1"],
)
def test_what_is_no_arithmetic_is_not_computed(text: str) -> None:
    with pytest.raises(NotArithmetic):
        value_of(text)


NUMBERS = st.integers(0, 99)


@st.composite
def sums(draw: st.DrawFn) -> str:
    text = str(draw(NUMBERS))
    for _ in range(draw(st.integers(0, 5))):
        text = f"{text} {draw(st.sampled_from('+-*/'))} {draw(NUMBERS)}"
        if draw(st.booleans()):
            text = f"({text})"
    return text


@given(sums())
def test_arithmetic_agrees_with_fractions(text: str) -> None:
    """Against Python's own parser on an independent tree walk."""
    import ast
    import operator

    signs = {ast.Add: operator.add, ast.Sub: operator.sub}
    signs |= {ast.Mult: operator.mul, ast.Div: operator.truediv}

    def walk(node: ast.expr) -> Fraction:
        if isinstance(node, ast.BinOp):
            return signs[type(node.op)](walk(node.left), walk(node.right))
        assert isinstance(node, ast.Constant) and isinstance(node.value, int)
        return Fraction(node.value)

    try:
        expected = walk(ast.parse(text, mode="eval").body)
    except ZeroDivisionError:
        expected = None
    assert value_of(text) == expected


@given(st.text("0123456789+-*/=(). x", max_size=60))
def test_any_text_has_an_answer_whose_spans_are_in_it(text: str) -> None:
    for start, end, values in equations(text):
        assert 0 <= start < end <= len(text) and len(values) >= 2
        assert "=" in text[start:end]

"""JSON in text against a schema (draft 2020-12): no network, no regex without a time limit.

Every keyword of the validator first looks at the clock: references to references grow without
bound in a few lines. References must stay inside the schema. `pattern` and `patternProperties`
are searched as the regexes of rules are.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from model.errors import RuleError
from model.rules.checker import FAIL, NOT_APPLICABLE, PASS, Outcome
from model.rules.patterns import Budget, compiled

SECONDS = 1.0
LARGEST_TEXT = 200_000  # characters
_BROKEN = (RecursionError, ArithmeticError, ValueError, TypeError, AttributeError, KeyError)


class _Clock:
    """What one validation may still use; validators share a class, so it is found by the run."""

    def __init__(self) -> None:
        self.until = time.thread_time() + SECONDS
        self.budget = Budget()

    def look(self) -> None:
        if time.thread_time() > self.until:
            raise RuleError(
                "checker.schema",
                f"{SECONDS:g} s",
                "takes longer than its time limit on this text",
                "Use fewer references to references",
                "checker.schema",
            )


def check_schema(text: str) -> None:
    """RuleError unless the text is a JSON schema that this checker can run."""
    _schema(text)


def check_json(text: str, schema: str) -> Outcome:
    """The first JSON object or array of the text against the schema."""
    rules = _schema(schema)
    if len(text) > LARGEST_TEXT:
        raise RuleError(
            "Text", f"{len(text):,} characters", f"may have at most {LARGEST_TEXT:,}", "Shorten it"
        )
    starts = [at for at in (text.find("{"), text.find("[")) if at >= 0]
    if not starts:
        return Outcome(NOT_APPLICABLE, None, "the text holds no JSON object or array")
    start = min(starts)
    try:
        value, end = json.JSONDecoder(parse_constant=_constant).raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        return Outcome(FAIL, (start, len(text)), f"is no whole JSON value ({_brief(error)})")
    try:
        worst = best_match(_validator(rules, _Clock()).iter_errors(value))
    except Unresolvable as error:
        raise _refused(f"refers to what it does not hold ({_brief(error)})") from error
    except _BROKEN as error:
        if isinstance(error, RuleError):
            raise
        raise _refused(f"cannot be applied ({_brief(error)})") from error
    if worst is None:
        return Outcome(PASS, (start, end), "obeys the schema")
    place = "/".join(map(str, worst.absolute_path)) or "the whole value"
    return Outcome(FAIL, (start, end), f"{place}: {_brief(worst.message)}")


@lru_cache(maxsize=256)
def _schema(text: str) -> Any:
    try:
        schema = json.loads(text, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise _refused(f"is no JSON ({_brief(error)})") from error
    if not isinstance(schema, (dict, bool)):
        raise _refused("must be a JSON object")
    try:
        Draft202012Validator.check_schema(schema)
        _walk(schema)
    except (SchemaError, *_BROKEN) as error:
        if isinstance(error, RuleError):
            raise
        reason = error.message if isinstance(error, SchemaError) else error
        raise _refused(f"is no JSON schema ({_brief(reason)})") from error
    return schema


def _walk(schema: Any) -> None:
    """Refuse references that leave the schema, and patterns that are none."""
    if isinstance(schema, list):
        for each in schema:
            _walk(each)
    if not isinstance(schema, dict):
        return
    for key, value in schema.items():
        if key in ("$ref", "$dynamicRef") and not str(value).startswith("#"):
            raise _refused(f"refers to {_brief(value)}, outside of itself")
        if key == "$id":
            raise _refused("has an $id, which references could be resolved against")
        if key == "pattern" and isinstance(value, str):
            compiled(value)
        if key == "patternProperties" and isinstance(value, dict):
            for pattern in value:
                compiled(pattern)
        _walk(value)


def _validator(schema: Any, clock: _Clock) -> Any:
    """A validator whose every keyword looks at the clock."""

    def timed(keyword: Callable[..., Any]) -> Callable[..., Iterator[ValidationError]]:
        def run(validator: Any, value: Any, instance: Any, whole: Any) -> Iterator[ValidationError]:
            clock.look()
            for error in keyword(validator, value, instance, whole) or ():
                clock.look()
                yield error

        return run

    def pattern(_: Any, value: str, instance: Any, __: Any) -> Iterator[ValidationError]:
        if isinstance(instance, str) and not clock.budget.search(value, instance):
            yield ValidationError(f"{_brief(instance)} does not match {_brief(value)}")

    def by_name(validator: Any, value: Mapping[str, Any], instance: Any, _: Any) -> Iterator[Any]:
        for regex, inner in value.items():
            for name in instance if isinstance(instance, dict) else ():
                if clock.budget.search(regex, name):
                    yield from validator.descend(
                        instance[name], inner, path=name, schema_path=regex
                    )

    known = {**Draft202012Validator.VALIDATORS, "pattern": pattern, "patternProperties": by_name}
    kind = extend(Draft202012Validator, {key: timed(each) for key, each in known.items()})
    return kind(schema, registry=Registry())


def _constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else text[:119] + "…"


def _refused(rule: str) -> RuleError:
    return RuleError("checker.schema", "the schema", rule, "Correct it", "checker.schema")

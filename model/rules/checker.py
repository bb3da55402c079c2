"""What a checker asks of text, and what it answers: pass, fail or not applicable, with the span.

    regex        the pattern occurs (`forbid`: it does not)
    json-schema  the first JSON value in the text obeys a schema
    allowed      the whole text (unit "text"), or each of its words (unit "words"), is in a set
    arithmetic   every equation in the text, such as 2 + 3 = 5, is true within a tolerance
    length       the number of characters or words lies between two limits

A checker is a value; `checking` runs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from model.errors import RuleError
from model.rules.patterns import check_pattern
from model.rules.plain import check_count, check_text, check_texts, shown

PASS, FAIL, NOT_APPLICABLE = "pass", "fail", "not applicable"
KEYS = {  # kind -> its own keys, the first one required
    "regex": ("pattern", "forbid"),
    "json-schema": ("schema",),
    "allowed": ("allowed", "unit"),
    "arithmetic": ("tolerance",),
    "length": ("unit", "at_least", "at_most"),
}
_UNITS = {"allowed": ("text", "words"), "length": ("characters", "words")}
LARGEST_TOLERANCE = 1e9
LONGEST_SCHEMA = 20_000  # characters


@dataclass(frozen=True)
class Outcome:
    """status: one of the three. span: [start, end) in characters of the text. detail: a sentence.

    A pass or fail spans what decided it; where nothing did, the span is None.
    """

    status: str
    span: tuple[int, int] | None = None
    detail: str = ""


@dataclass(frozen=True)
class Checker:
    """kind and its keys, as above. `when`: a regex; without a match the answer is not applicable.

    RuleError where a key is missing, of another kind, or out of its range.
    """

    kind: str
    pattern: str = ""
    forbid: bool = False
    schema: str = ""
    allowed: tuple[str, ...] = ()
    unit: str = ""
    tolerance: float = 0.0
    at_least: int | None = None
    at_most: int | None = None
    when: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KEYS:
            raise RuleError(
                "checker.kind",
                shown(self.kind),
                f"must be one of {', '.join(KEYS)}",
                "Choose one",
                "checker.kind",
            )
        object.__setattr__(self, "allowed", check_texts("checker.allowed", self.allowed))
        for key, value in self.to_dict().items():
            if key not in ("kind", "when", *KEYS[self.kind]):
                raise RuleError(
                    f"checker.{key}",
                    shown(value),
                    f"is no key of the kind {self.kind}",
                    f"Use {', '.join(KEYS[self.kind])} or when",
                    f"checker.{key}",
                )
        for key in ("pattern", "when"):
            check_text(f"checker.{key}", getattr(self, key))
            if getattr(self, key):
                check_pattern(f"checker.{key}", getattr(self, key))
        if not isinstance(self.forbid, bool):
            raise _wrong("forbid", self.forbid, "must be true or false")
        getattr(self, f"_check_{self.kind.replace('-', '_')}")()

    def to_dict(self) -> dict[str, Any]:
        """What is not left to its default."""
        default = {
            "allowed": (),
            "at_least": None,
            "at_most": None,
            "forbid": False,
            "tolerance": 0,
        }
        found = {k: v for k, v in vars(self).items() if v != default.get(k, "")}
        if "allowed" in found:
            found["allowed"] = [*self.allowed]
        return found

    def describe(self) -> str:
        """The checker in a few words."""
        given = [f"{key} {value!r}" for key, value in self.to_dict().items() if key != "kind"]
        return ", ".join([self.kind, *given])

    def _check_regex(self) -> None:
        if not self.pattern:
            raise _wrong("pattern", "", "must be given for the kind regex")

    def _check_json_schema(self) -> None:
        from model.rules.json_checker import check_schema

        if not isinstance(self.schema, str) or not 0 < len(self.schema) <= LONGEST_SCHEMA:
            raise _wrong(
                "schema", shown(self.schema), f"must be JSON of ≤ {LONGEST_SCHEMA:,} chars"
            )
        check_schema(self.schema)

    def _check_allowed(self) -> None:
        if not self.allowed:
            raise _wrong("allowed", [], "must name what is allowed")
        self._unit()

    def _check_arithmetic(self) -> None:
        number = isinstance(self.tolerance, (int, float)) and not isinstance(self.tolerance, bool)
        if not number or not 0 <= self.tolerance <= LARGEST_TOLERANCE:
            raise _wrong("tolerance", shown(self.tolerance), "must be a number in [0, 1e9]")
        object.__setattr__(self, "tolerance", float(self.tolerance))

    def _check_length(self) -> None:
        self._unit()
        for key in ("at_least", "at_most"):
            if getattr(self, key) is not None:
                check_count(f"checker.{key}", getattr(self, key), 0, 10**9)
        if self.at_least is None and self.at_most is None:
            raise _wrong("at_least", None, "must be given, or at_most")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise _wrong("at_most", self.at_most, "must not be below at_least")

    def _unit(self) -> None:
        units = _UNITS[self.kind]
        if self.unit == "":
            object.__setattr__(self, "unit", units[0])
        if self.unit not in units:
            raise _wrong("unit", shown(self.unit), f"must be one of {', '.join(units)}")


def _wrong(key: str, value: object, rule: str) -> RuleError:
    return RuleError(f"checker.{key}", value, rule, "Correct it", f"checker.{key}")

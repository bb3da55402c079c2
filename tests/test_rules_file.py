"""The file of rules: read strictly, with the line; written so that it comes back equal."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import RuleError
from model.rules.checker import Checker
from model.rules.rule import MOST_RULES, Condition, Rule, RuleSet
from model.rules.toml_file import LONGEST_LINE, MOST_BYTES, load_rules, parse_rules, to_toml
from workbench import paths

GOOD = '''format = 1
name = "kitchen"
note = """
[[rule]]
id = 3
"""

[[rule]]
id = "a"
reads = ["FOOD"]
strength = 0.8
when.tokens = [" eat", " ate"]
date = 2026-01-31

[[rule]]
id = "b" # [[rule]]
reads = ["FOOD"]
priority = 10
[rule.when]
regex = '(eat|ate)\\s*$'
[rule.checker]
kind = "length"
at_most = 5
'''
SHIPPED = paths.SAMPLE_DATA / "rules" / "kitchen.toml"
# No controls, which no text of a rule may hold, and no half of a pair, which no file can.
TEXTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t"), max_size=30
)


def test_a_good_file_says_what_it_says() -> None:
    rules = parse_rules(GOOD)
    assert (rules.name, rules.version, rules.note) == ("kitchen", 1, "[[rule]]\nid = 3\n")
    a, b = rules.rules
    assert a == Rule(
        "a", Condition(tokens=(" ate", " eat")), ("FOOD",), 0.8, date=date(2026, 1, 31)
    )
    assert (a.line, b.line) == (8, 15)
    assert b.checker == Checker("length", unit="characters", at_most=5)
    assert "read FOOD" in b.describe() and "strength 1" in b.describe()


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("strength = 0.8", "strength = 8", 11, r"strength is 8: must lie in \[0, 1\]"),
        ("strength = 0.8", "strength = nan", 11, r"\[0, 1\]"),
        ("strength = 0.8", "strength = inf", 11, r"\[0, 1\]"),
        ("strength = 0.8", "strength = true", 11, "number"),
        ("strength = 0.8", f"strength = 1{'0' * 400}", 11, "18 digits"),
        ("priority = 10", f"priority = 1{'0' * 30}", 18, "18 digits"),
        ("priority = 10", 'effect = "all"', 18, "add, only"),
        ("priority = 10", "layers = []", 18, "list of numbers"),
        ("priority = 10", "heads = [-1]", 18, r"\[0, "),
        ("priority = 10", "heads = [true]", 18, "whole number"),
        ('["FOOD"]\npriority', "[]\npriority", 17, "at least one block"),
        ('["FOOD"]\npriority', "[[[[]]]]\npriority", 17, "must be text"),
        ('["FOOD"]\npriority', "3\npriority", 17, "list of texts"),
        ("at_most = 5", "at_mst = 5", 23, "at_mst.*one of kind"),
        ("at_most = 5", "pattern = '5'", 23, "no key of the kind length"),
        ("at_most = 5", "at_most = 5\nat_least = 6", 23, "at_least"),
        ('kind = "length"', "", 21, "must be given"),
        ('kind = "length"', 'kind = "python"', 22, "arithmetic"),
        ("regex = ", "regx = ", 20, "regx.*one of blocks"),
        ("(eat|ate)", "(eat|ate", 20, "is no regex"),
        ("(eat|ate)", "(?R)", 20, "calls itself"),
        ("(eat|ate)", "a" * 501, 20, "1 to 500"),
        ("[rule.when]\nregex", "[rule.whn]\nregex", 19, "whn"),
        ("regex = ", "first = 9\nlast = 3 #", 21, "before first"),
        ('id = "b"', 'id = "a"', 15, "is taken"),
        ('id = "b"', 'id = "<script>"', 16, "a-z"),
        ('id = "b"', 'id = "../../etc"', 16, "a-z"),
        ('id = "b"', "id = 7", 16, "a-z"),
        ("2026-01-31", "2026-01-31T00:00:00", 13, "a day"),
        ("2026-01-31", '"soon"', 13, "a day"),
        ("format = 1", "format = 2", 1, "newer workbench"),
        ("format = 1", "format = true", 1, "must be 1"),
        ('"kitchen"', '"a\\u0007"', 2, "control character"),
        ('"kitchen"', f'"{"a" * 2001}"', 2, "2,001 characters"),
        ("name =", "naem =", 2, "naem.*one of format, name"),
    ],
)
def test_a_fault_names_its_line_and_the_remedy(old: str, new: str, line: int, said: str) -> None:
    assert old in GOOD
    with pytest.raises(RuleError, match=rf"(?s)Line {line}: .*{said}"):
        parse_rules(GOOD.replace(old, new))


def test_a_fault_is_named_on_its_line_after_windows_ends_and_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    text = GOOD.replace("strength = 0.8", "strength = 8").replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    with pytest.raises(RuleError, match="Line 11: rule 'a', strength"):
        load_rules(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "format is None: must be 1"),
        ("format = 1\nrule = 3", r"\[\[rule\]\]"),
        ("format = 1\nrule = [3]", "must be a table"),
        ("format = 1\nrule = [{id = 'x'}]", "when is 'missing'"),
        ("format = 1\nformat = 1", "line 2"),
        ("[" * 3_000, "is no TOML"),
        ("a = " + "[" * 3_000, "recursion"),
        ("a = " + "9" * 3_900, "one of format"),
        ("a" + ".b" * 1_900 + " = 1", "key is 'a'"),
        ("x" * (LONGEST_LINE + 1), "Line 1 is '4,001 characters'"),
        ("#\n" * MOST_BYTES, "at most 1,048,576"),
    ],
)
def test_hostile_text_is_answered_at_once(text: str, said: str) -> None:
    start = time.process_time()
    with pytest.raises(RuleError, match=said):
        parse_rules(text)
    assert time.process_time() - start < 2


def test_ten_thousand_rules_are_too_many() -> None:
    """Each of a few bytes, so that the file itself is small enough."""
    entry = '[[rule]]\nid = "r{}"\nreads = ["A"]\nwhen.first = 0\n'
    text = "format = 1\n" + "".join(entry.format(number) for number in range(10_000))
    assert len(text) < MOST_BYTES
    with pytest.raises(RuleError, match=r"10,000.*at most 1,000"):
        parse_rules(text)
    rules = parse_rules("format = 1\n" + "".join(entry.format(n) for n in range(MOST_RULES)))
    assert len(rules) == MOST_RULES
    with pytest.raises(RuleError, match="at most 1,000"):
        rules.plus(Rule("one-more", Condition(first=0), ("A",)))


def test_a_file_of_fifty_megabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "big.toml"
    with path.open("wb") as file:
        file.truncate(50 * 2**20)
    start = time.process_time()
    with pytest.raises(RuleError, match="52,428,800 bytes"):
        load_rules(path)
    assert time.process_time() - start < 0.1


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="No such file"):
        load_rules(tmp_path / "none.toml")
    with pytest.raises(RuleError, match="cannot be read"):
        load_rules(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    with pytest.raises(RuleError, match="not UTF-8"):
        load_rules(tmp_path / "latin.toml")


@given(
    TEXTS,
    st.lists(st.sampled_from([" eat", '"', "\\", "'''", "\x00", "\x7f", "é", "a\nb"]), min_size=1),
    st.floats(0, 1),
    st.sampled_from([None, (3, 1), (0,)]),
    st.integers(-9, 9),
)
def test_what_is_written_comes_back_equal(
    note: str, tokens: list[str], strength: float, heads: tuple[int, ...] | None, priority: int
) -> None:
    checker = Checker("regex", pattern='"\\d+"', forbid=True, when="'''")
    first = Rule(
        "first",
        Condition(("A", "B"), tuple(tokens), '"x\\\\', 0, 9),
        ("C",),
        strength,
        "only",
        None,
        heads,
        priority,
        ("second",),
        checker,
        note,
        note,
        date(2026, 2, 28),
        4,
    )
    second = Rule("second", Condition(last=3), ("D", "C"), checker=Checker("arithmetic"))
    rules = RuleSet((first, second), note, 2, note)
    again = parse_rules(to_toml(rules))
    assert again.to_dict() == rules.to_dict()
    assert again.content_hash == rules.content_hash
    assert to_toml(again) == to_toml(rules)


def test_order_means_nothing_and_everything_else_is_in_the_hash() -> None:
    rules = parse_rules(GOOD)
    a, b = rules.rules
    assert RuleSet((b, a), rules.name, 1, rules.note).content_hash == rules.content_hash
    hashes = {rules.content_hash}
    for old, new in (("0.8", "0.7"), ('"kitchen"', '"k"'), ("10", "11"), ("= 5", "= 6")):
        hashes.add(parse_rules(GOOD.replace(old, new)).content_hash)
    assert len(hashes) == 5


def test_what_ships_is_read_and_carries_its_date_and_author() -> None:
    rules = load_rules(SHIPPED)
    assert len(rules) == 4
    assert all(rule.author and rule.note and rule.date for rule in rules.rules)
    assert parse_rules(to_toml(rules)).content_hash == rules.content_hash


def test_html_is_text_in_a_note_and_no_id() -> None:
    note = "<script>alert(1)</script>"
    rules = RuleSet((Rule("a", Condition(first=0), ("A",), note=note),), name=note)
    assert parse_rules(to_toml(rules)).rules[0].note == note
    with pytest.raises(RuleError, match="id"):
        Rule(note, Condition(first=0), ("A",))


def test_withdrawing_a_rule_takes_it_out_of_what_others_beat() -> None:
    one = Rule("one", Condition(first=0), ("A",))
    two = Rule("two", Condition(first=0), ("A",), over=("one",))
    left = RuleSet((one, two)).without("one")
    assert left.rules[0].over == ()
    with pytest.raises(RuleError, match="Use one of two"):
        left.without("one")

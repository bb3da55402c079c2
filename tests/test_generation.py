"""Writing under rules: repeatable, stoppable, streamed; what fired, and what checkers say."""

from __future__ import annotations

import codecs
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from model.errors import RuleError, TextError
from model.locality.dial import Dial
from model.rules.binding import Bound
from model.rules.checker import Checker
from model.rules.rule import Condition, RuleSet
from model.transformer.checkpoint import LoadedModel
from tests.model_dirs import TEXTS, store_of_one
from tests.rule_models import rule
from workbench import inference, rules
from workbench.generation import (
    END,
    FULL,
    LENGTH,
    STOPPED,
    Began,
    Ended,
    Event,
    Sampling,
    Written,
    generate,
)
from workbench.models import open_model
from workbench.rules_tables import ended, fired_table

PROMPT = "the cat ate a red apple in the garden"
RULES = RuleSet(
    (
        rule("food", "FOOD", Condition(blocks=("FUNCTION",)), effect="only", priority=3),
        rule(
            "animal",
            "ANIMAL",
            Condition(regex="[aeiou]$"),
            heads=(0, 1),
            checker=Checker("length", at_least=1),
        ),
        rule("zebra", "SIGN", Condition(regex="zebra"), priority=9, checker=Checker("arithmetic")),
    )
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with one model, `tiny`."""
    return store_of_one(tmp_path, monkeypatch, "\n".join(TEXTS) + "\n")


@pytest.fixture
def model(store: Path) -> LoadedModel:
    return open_model("tiny", "cpu")


@pytest.fixture
def bound(model: LoadedModel) -> Bound:
    return rules.bind_rules(model, RULES)


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Written))


def test_greedy_text_is_the_likeliest_token_each_time(model: LoadedModel, bound: Bound) -> None:
    """Against the prompt extended by hand and read as a new one, with the rules of that text."""
    dial = Dial(0.7)
    events = list(generate(model, PROMPT, dial, Sampling(6), bound))
    prompt = inference.prepare(model, PROMPT)
    ids = [*prompt.ids]
    for event in events[1:-1]:
        assert isinstance(event, Written)
        shown = model.tokenizer.decode(ids)
        again = inference.prepare(model, shown)
        if again.ids != tuple(ids):  # a text of bytes that are no character yet
            break
        relevance = rules.relevance_under(model, again, bound)
        with torch.inference_mode():
            log_p = model.decoder(torch.tensor([ids]), dial, relevance)[0, -1].log_softmax(-1)
        assert event.token_id == int(log_p.argmax())
        assert event.probability == pytest.approx(float(log_p.max().exp()), rel=1e-4)
        ids.append(event.token_id)
    assert len(ids) > prompt.n_tokens


def test_two_runs_are_equal_and_seeds_differ(model: LoadedModel, bound: Bound) -> None:
    def run(seed: int, top_k: int = 0, dial: float = 0.7) -> list[Event]:
        sampling = Sampling(10, 1.5, top_k, seed)
        return list(generate(model, PROMPT, Dial(dial), sampling, bound))[1:]

    assert run(4) == run(4)
    assert run(4) != run(5)
    assert run(4, top_k=1) == list(generate(model, PROMPT, Dial(0.7), Sampling(10), bound))[1:]
    few = {e.token_id for s in range(8) for e in run(s, top_k=2)[:1] if isinstance(e, Written)}
    assert len(few) <= 2


def test_without_rules_or_at_dial_zero_the_plain_text_is_written(
    model: LoadedModel, bound: Bound
) -> None:
    plain = text_of(list(generate(model, PROMPT, Dial(0.0), Sampling(8))))
    events = list(generate(model, PROMPT, Dial(0.0), Sampling(8), bound))
    assert text_of(events) == plain
    [began] = [event for event in events if isinstance(event, Began)]
    assert "dial 0" in began.notice and any(began.fired)
    under = list(generate(model, PROMPT, Dial(0.9), Sampling(8), bound))
    assert isinstance(under[0], Began) and under[0].notice == ""
    without = list(generate(model, PROMPT, Dial(0.9), Sampling(8)))
    first, second = ([e.probability for e in x if isinstance(e, Written)] for x in (under, without))
    assert first != second


def test_it_stops_when_asked_and_when_it_is_full(model: LoadedModel) -> None:
    calls = iter([False, False, True])
    events = list(generate(model, PROMPT, Dial(0.0), stop=lambda: next(calls)))
    last = ended(events)
    assert last is not None and (last.reason, last.n_tokens) == (STOPPED, 2)
    assert last.text == text_of(events)
    full = ended(list(generate(model, PROMPT, Dial(0.0), Sampling(200))))
    assert full is not None and full.reason in (FULL, END)
    if full.reason == FULL:
        n_prompt = inference.prepare(model, PROMPT).n_tokens
        assert full.n_tokens == model.config.n_ctx - n_prompt
    short = ended(list(generate(model, PROMPT, Dial(0.0), Sampling(1))))
    assert short is not None and short.reason in (LENGTH, END)


def test_a_closed_generator_leaves_the_model_free(model: LoadedModel) -> None:
    events = generate(model, PROMPT, Dial(0.5))
    for _ in range(2):
        next(events)
    events.close()
    assert not inference.one_at_a_time.locked()
    assert not torch.is_inference_mode_enabled()
    done: list[Event] = []
    thread = threading.Thread(
        target=lambda: done.extend(generate(model, PROMPT, Dial(0.5), Sampling(2)))
    )
    thread.start()
    thread.join(timeout=120)
    assert isinstance(done[-1], Ended)


def test_the_end_of_text_ends_it(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    bos = model.tokenizer.bos_id
    monkeypatch.setattr("workbench.generation._Draw.__call__", lambda *_: bos)
    events = list(generate(model, PROMPT, Dial(0.0)))
    assert [type(event) for event in events] == [Began, Ended]
    assert ended(events) == Ended(END, "", 0, ())


def test_characters_of_several_tokens_are_streamed_whole(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = iter(model.tokenizer.encode("né"))
    monkeypatch.setattr("workbench.generation._Draw.__call__", lambda *_: next(planned))
    count = len(model.tokenizer.encode("né"))
    events = list(generate(model, PROMPT, Dial(0.0), Sampling(count)))
    parts = [event.text for event in events if isinstance(event, Written)]
    assert parts == ["n", "", "é"]
    cut = iter(model.tokenizer.encode("né")[:-1])
    monkeypatch.setattr("workbench.generation._Draw.__call__", lambda *_: next(cut))
    last = ended(list(generate(model, PROMPT, Dial(0.0), Sampling(count - 1))))
    assert last is not None and last.text == "n" + codecs.decode(b"\xc3", "utf-8", "replace")


def test_what_fired_is_what_the_conditions_say(model: LoadedModel, bound: Bound) -> None:
    events = list(generate(model, PROMPT, Dial(0.7), Sampling(4), bound))
    table = fired_table(events, {"dial": 0.7})
    prompt = inference.prepare(model, PROMPT)
    where = rules.fired_on(prompt, bound)
    read = [row for row in table.rows() if not row["written"]]
    expected = {
        (position, bound.rules[row].id) for position, row in zip(*np.nonzero(where), strict=True)
    }
    assert {(row["position"], row["rule"]) for row in read} == expected
    statuses = {row["status"] for row in read}
    assert {rules.ACTS, rules.NOTHING} <= statuses
    beaten = [row for row in read if row["beaten_by"]]
    assert beaten and all((row["rule"], row["beaten_by"]) == ("animal", "food") for row in beaten)
    assert all(row["status"] == rules.BEATEN and row["heads"] == 0 for row in beaten)
    assert len(table.to_csv().splitlines()) == len(table) + 1


def test_checkers_answer_for_rules_that_fired(model: LoadedModel, bound: Bound) -> None:
    last = ended(list(generate(model, PROMPT, Dial(0.7), Sampling(4), bound)))
    assert last is not None
    found = {check.rule_id: (check.status, check.detail) for check in last.checks}
    assert found["animal"][0] == "pass"
    assert found["zebra"] == ("not applicable", "its rule did not fire")


def test_removals_agree_with_one_pass_a_rule(model: LoadedModel, bound: Bound) -> None:
    prompt, dial = inference.prepare(model, PROMPT), Dial(0.8)
    found = {each.rule_id: each for each in rules.removals(model, prompt, bound, dial)}
    ids = torch.tensor([prompt.ids])
    with torch.inference_mode():
        whole = model.decoder(ids, dial, rules.relevance_under(model, prompt, bound))[0].double()
    for name in ("food", "animal", "zebra"):
        left = rules.bind_rules(model, RULES.without(name))
        with torch.inference_mode():
            without = model.decoder(ids, dial, rules.relevance_under(model, prompt, left))[0]
        p, q = whole.log_softmax(-1), without.double().log_softmax(-1)
        bits = ((p.exp() * (p - q)).sum(-1) / np.log(2)).numpy()
        assert found[name].bits == pytest.approx(bits, abs=1e-5), name
    assert found["zebra"].fired == 0 and not found["zebra"].bits.any()
    assert found["food"].bits.max() > 1e-3


def test_rules_matter_where_they_fire(model: LoadedModel, bound: Bound) -> None:
    nothing = rules.bind_rules(model, RuleSet())
    found = rules.where_it_matters(model, nothing, bound, [*TEXTS[:2], "12"], Dial(0.8))
    assert found[0].bits > 0 and found[0].pairs > 0 and found[0].token
    assert (found[-1].text, found[-1].bits, found[-1].pairs) == ("12", 0.0, 0.0)


@pytest.mark.parametrize(
    "keys", [{"tokens": 0}, {"tokens": 5_000}, {"temperature": -1.0}, {"temperature": float("nan")},
             {"top_k": -1}, {"seed": -1}, {"seed": 1.5}, {"tokens": True}],
)  # fmt: skip
def test_sampling_refuses(keys: dict[str, object]) -> None:
    with pytest.raises(TextError, match="must"):
        Sampling(**keys)  # pyright: ignore[reportArgumentType]


def test_bad_prompts_and_slow_rules_are_answered(model: LoadedModel) -> None:
    with pytest.raises(TextError, match="nothing to read"):
        next(generate(model, "", Dial(0.0)))
    slow = RuleSet((rule("slow", "FOOD", Condition(regex="(a|a)*$")),))
    with pytest.raises(RuleError, match="regex of rule slow"):
        list(generate(model, "a" * 40 + " c", Dial(0.5), bound=rules.bind_rules(model, slow)))

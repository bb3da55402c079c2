"""Text written by a model under rules, as a generator of events: streamed, stoppable, repeatable.

    Began, then one Written a token, then Ended

Every token carries the rules that fired at the query that predicted it. Each step is a pass over
the whole text, so a text of n tokens costs n passes. Greedy by default; with a temperature, tokens
are drawn from the seed alone, and two runs on a CPU are equal.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.errors import RuleError, TextError
from workbench.inference import Prompt, one_at_a_time, prepare
from workbench.rules import FiredRule, explain
from workbench.text import display_token

if TYPE_CHECKING:
    import torch

    from model.locality.dial import Dial
    from model.rules.binding import Bound
    from model.rules.firing import Watch
    from model.transformer.checkpoint import LoadedModel

MOST_TOKENS = 4_096
LARGEST_TEMPERATURE = 100.0
LENGTH, FULL, END, STOPPED = "length reached", "context full", "end of text", "stopped"


@dataclass(frozen=True)
class Sampling:
    """tokens: the most that are written. temperature: 0 takes the likeliest. top_k: 0 for all.

    TextError where one is out of its range.
    """

    tokens: int = 64
    temperature: float = 0.0
    top_k: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, most in (("tokens", MOST_TOKENS), ("top_k", 10**9), ("seed", 2**63 - 1)):
            value, least = getattr(self, name), int(name == "tokens")
            if type(value) is not int or not least <= value <= most:
                span = f"must be a whole number in [{least}, {most:,}]"
                raise TextError(name.capitalize(), value, span, "Choose such a number")
        number = isinstance(self.temperature, (int, float)) and type(self.temperature) is not bool
        if not number or not 0.0 <= self.temperature <= LARGEST_TEMPERATURE:
            span = f"must lie in [0, {LARGEST_TEMPERATURE:g}]"
            raise TextError("Temperature", self.temperature, span, "Choose 0 for the likeliest")


@dataclass(frozen=True)
class Began:
    """prompt: as the model reads it. fired: rules that fire at each of its tokens.

    notice: why rules cannot act, "" where they can.
    """

    prompt: Prompt
    fired: tuple[tuple[FiredRule, ...], ...]
    notice: str


@dataclass(frozen=True)
class Written:
    """One token. text: the characters that it completes. probability: before temperature and top-k.

    number: from 1. predicted_at: the position of the query; fired: the rules that fired there.
    """

    number: int
    token_id: int
    token: str
    text: str
    probability: float
    surprisal_bits: float
    predicted_at: int
    fired: tuple[FiredRule, ...]


@dataclass(frozen=True)
class Checked:
    """A rule's checker on the written text: pass, fail or not applicable, with the span."""

    rule_id: str
    checker: str
    status: str
    span: tuple[int, int] | None
    detail: str


@dataclass(frozen=True)
class Ended:
    """reason: length, full context, end of text, or stopped. text: all that was written."""

    reason: str
    text: str
    n_tokens: int
    checks: tuple[Checked, ...]


Event = Began | Written | Ended


def generate(
    model: LoadedModel,
    text: str,
    dial: Dial,
    sampling: Sampling | None = None,
    bound: Bound | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Events of one text; `stop` is asked before every token.

    TextError on a prompt that cannot be read, RuleError where a regex runs out of time.
    """
    from model.rules.rule import RuleSet
    from workbench.rules import bind_rules

    sampling = sampling or Sampling()
    state = _State(model, prepare(model, text), dial, bound or bind_rules(model, RuleSet()))
    yield Began(state.prompt, tuple(state.explained()), state.notice())
    draw = _Draw(sampling, model.tokenizer.bos_id)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    written, reason = "", LENGTH
    for number in range(1, sampling.tokens + 1):
        if stop():
            reason = STOPPED
            break
        if len(state.ids) >= model.config.n_ctx:
            reason = FULL
            break
        [fired] = state.explained(start=len(state.ids) - 1)
        log_p = state.log_probabilities()
        token_id = draw(log_p)
        if token_id == model.tokenizer.bos_id:
            reason = END
            break
        piece = decoder.decode(model.tokenizer.token_bytes[token_id] or b"")
        written += piece
        nats = -float(log_p[token_id])
        yield Written(
            number,
            token_id,
            display_token(model.tokenizer.pieces([token_id])[0]),
            piece,
            float(np.exp(-nats)),
            nats / float(np.log(2.0)),
            len(state.ids) - 1,
            fired,
        )
        state.append(token_id)
    written += decoder.decode(b"", final=True)
    count = len(state.ids) - state.prompt.n_tokens
    yield Ended(reason, written, count, state.checks(written))


class _State:
    """The text so far: its ids and classes, and where each rule fires."""

    def __init__(self, model: LoadedModel, prompt: Prompt, dial: Dial, bound: Bound) -> None:
        from model.blocks.membership import MembershipTable
        from model.rules.firing import Watch

        self.model, self.prompt, self.dial, self.bound = model, prompt, dial, bound
        self._table = MembershipTable(model.tokenizer.token_bytes, model.partition, model.lexicon)
        self._watch: Watch = Watch(bound)
        self.ids: list[int] = []
        self.classes: list[int] = []
        self._fired: list[np.ndarray] = []
        for token_id, class_id in zip(prompt.ids, prompt.classes.tolist(), strict=True):
            self._read(token_id, class_id)

    def append(self, token_id: int) -> None:
        """One token more; its class follows from those before it."""
        whole = np.array([*self.ids, token_id], dtype=np.int64)
        self._read(token_id, int(self._table.classes_for_ids(whole)[-1]))

    def explained(self, start: int = 0) -> list[tuple[FiredRule, ...]]:
        """What rules do at each query from `start` on."""
        return explain(self.bound, self.classes, np.array(self._fired), start)

    def notice(self) -> str:
        if len(self.bound) and self.dial.is_zero:
            return "at dial 0 the plain model writes, and rules change nothing"
        return ""

    def log_probabilities(self) -> torch.Tensor:
        """Of the next token, nats, float64 [d_vocab] on the CPU."""
        import torch

        from model.locality.relevance import Relevance
        from model.rules.injection import inject

        place = self.model.decoder.embed.weight.device
        relevance = None
        if not self.dial.is_zero:
            classes = torch.tensor([self.classes], device=place)
            relevance = Relevance.compile(classes, self.model.reads)
            relevance = inject(relevance, self.bound, np.array(self._fired)[None])
        ids = torch.tensor([self.ids], device=place)
        with one_at_a_time, torch.inference_mode():  # a hooked pass elsewhere would hear this one
            decoder = self.model.decoder
            last = decoder.residual(ids, self.dial, relevance)[:, -1:]
            logits = decoder.unembed(decoder.ln_final(last))
            return logits[0, -1].double().log_softmax(dim=-1).cpu()

    def checks(self, text: str) -> tuple[Checked, ...]:
        """The checkers of all rules, in the order of their ids."""
        ever = [bool(each) for each in np.logical_or.reduce(self._fired)]
        rows = sorted(range(len(self.bound)), key=lambda row: self.bound.rules[row].id)
        return tuple(
            _check(self.bound, row, text, ever[row])
            for row in rows
            if self.bound.rules[row].checker is not None
        )

    def _read(self, token_id: int, class_id: int) -> None:
        row = np.zeros(len(self.bound), dtype=bool)
        row[self._watch.step(token_id, class_id)] = True
        self._fired.append(row)
        self.ids.append(token_id)
        self.classes.append(class_id)


class _Draw:
    """Chooses the next token from log-probabilities."""

    def __init__(self, sampling: Sampling, bos_id: int) -> None:
        import torch

        self._sampling, self._bos_id = sampling, bos_id
        self._generator = torch.Generator().manual_seed(sampling.seed)

    def __call__(self, log_p: torch.Tensor) -> int:
        import torch

        sampling = self._sampling
        if sampling.temperature == 0.0 or sampling.top_k == 1:
            return int(log_p.argmax())
        scaled = log_p / sampling.temperature
        if 0 < sampling.top_k < len(scaled):
            kept = scaled.topk(sampling.top_k).indices
            outside = torch.full_like(scaled, float("-inf"))
            scaled = outside.scatter(0, kept, scaled[kept])
        chances = (scaled - scaled.max()).softmax(dim=-1)
        return int(torch.multinomial(chances, 1, generator=self._generator))


def _check(bound: Bound, row: int, text: str, fired: bool) -> Checked:
    from model.rules.checker import NOT_APPLICABLE
    from model.rules.checking import check

    rule = bound.rules[row]
    assert rule.checker is not None
    said = rule.checker.describe()
    if not fired:
        return Checked(rule.id, said, NOT_APPLICABLE, None, "its rule did not fire")
    try:
        found = check(rule.checker, text)
    except RuleError as error:
        return Checked(rule.id, said, NOT_APPLICABLE, None, f"could not be decided: {error}")
    return Checked(rule.id, said, found.status, found.span, found.detail)

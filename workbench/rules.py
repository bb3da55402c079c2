"""Rules and a model: bound, checked against sentences, injected into a prompt, withdrawn, compared.

Nothing is kept: a rule set is a value, injection gives a new relevance, and withdrawal is to use
the old one. All that costs is the vocabulary of a model, kept for the last few.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from workbench.inference import one_at_a_time, relevance_of
from workbench.text import display_token

if TYPE_CHECKING:
    from model.locality.dial import Dial
    from model.locality.relevance import Relevance
    from model.rules.binding import Bound, Vocabulary
    from model.rules.comparison import Difference
    from model.rules.conflicts import Conflict, Sentence
    from model.rules.rule import RuleSet
    from model.transformer.checkpoint import LoadedModel
    from workbench.inference import Prompt

ACTS, BEATEN, NOTHING = "acts", "beaten", "nothing in sight"
MOST_SENTENCES = 2_000


@dataclass(frozen=True)
class FiredRule:
    """A rule whose condition holds at a query.

    status: acts in some head, is beaten in all heads of its scope, or has no key in sight that it
    reads. heads: in how many it acts. beaten_by: ids that silence it somewhere.
    """

    rule_id: str
    status: str
    strength: float
    heads: int
    beaten_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConflictShown:
    """A conflict for people. Where no sentence shows it, `sentence` and `token` are ""."""

    first: str
    second: str
    winner: str
    heads: int
    sentence: str
    token: str


@dataclass(frozen=True)
class Matter:
    """What exchanging two rule sets does to one prompt.

    pairs: share of all (head, query, key) whose relevance differs. bits: the largest KL divergence
    over positions, of the next token before from that after. token: where it is. changes: positions
    whose likeliest next token is another.
    """

    text: str
    pairs: float
    bits: float
    token: str
    changes: int


@dataclass(frozen=True)
class RuleRemoval:
    """One prompt without one rule.

    fired: at how many queries it does. bits: KL divergence of the next token with the rule from
    that without, [position]. changes: bool [position], where the likeliest next token is another.
    """

    rule_id: str
    fired: int
    bits: np.ndarray
    changes: np.ndarray


def vocabulary_of(model: LoadedModel) -> Vocabulary:
    """What the model has that rules can name."""
    config = model.config
    return _vocabulary(
        model.partition.class_names, config.n_layers, config.n_heads, model.tokenizer.token_bytes
    )


@lru_cache(maxsize=4)
def _vocabulary(
    names: tuple[str, ...], layers: int, heads: int, token_bytes: tuple[bytes | None, ...]
) -> Vocabulary:
    from model.rules.binding import Vocabulary

    return Vocabulary(names, layers, heads, token_bytes)


def bind_rules(model: LoadedModel, rules: RuleSet) -> Bound:
    """The rules in this model; RuleError says what it lacks, or which two clash for good."""
    from model.rules.binding import bind

    return bind(rules, vocabulary_of(model))


def sentences_of(model: LoadedModel, texts: Sequence[str]) -> list[Sentence]:
    """Texts as the model reads them, cut at its longest, at most `MOST_SENTENCES`."""
    from model.blocks.membership import MembershipTable
    from model.rules.conflicts import Sentence

    table = MembershipTable(model.tokenizer.token_bytes, model.partition, model.lexicon)
    found = []
    for text in texts[:MOST_SENTENCES]:
        ids = model.tokenizer.encode_with_bos(text)[: model.config.n_ctx]
        found.append(Sentence(text, ids, table.classes_for_ids(np.array(ids)).tolist()))
    return found


def conflicts_of(model: LoadedModel, bound: Bound, texts: Sequence[str]) -> list[ConflictShown]:
    """Every conflict of the rules with its winner, and the first of the texts that shows it."""
    from model.rules.conflicts import conflicts

    known = sentences_of(model, texts)
    return [_conflict(model, each, known) for each in conflicts(bound, known)]


def fired_on(prompt: Prompt, bound: Bound) -> np.ndarray:
    """Where each bound rule's condition holds: bool [position, rule]."""
    from model.rules.firing import fired

    return fired(bound, [prompt.ids], [prompt.classes.tolist()])[0]


def relevance_under(model: LoadedModel, prompt: Prompt, bound: Bound) -> Relevance:
    """Relevance of the prompt under the rules, a batch of one on the model's device.

    Without rules that apply it is that of `inference.relevance_of`, bit for bit.
    """
    from model.rules.injection import inject

    return inject(relevance_of(model, prompt), bound, fired_on(prompt, bound)[None])


def explain(
    bound: Bound, classes: Sequence[int], fired: np.ndarray, start: int = 0
) -> list[tuple[FiredRule, ...]]:
    """What the rules that fire do, at each query from `start` on; fired: bool [position, rule]."""
    import torch

    from model.rules.injection import acting, applies

    applied = applies(bound, torch.tensor([list(classes)]), fired[None])[0]
    return [
        _explained(bound, np.flatnonzero(row).tolist(), np.flatnonzero(able).tolist(), acting)
        for row, able in zip(fired[start:], applied[start:], strict=True)
    ]


def removals(
    model: LoadedModel, prompt: Prompt, bound: Bound, dial: Dial
) -> tuple[RuleRemoval, ...]:
    """Every bound rule taken out alone, all in one batch beside the row with all of them."""
    import torch

    from model.locality.relevance import Relevance
    from model.rules.injection import inject

    where = fired_on(prompt, bound)
    rows = [index for index in range(len(bound)) if where[:, index].any()]
    all_rows = np.repeat(where[None], len(rows) + 1, axis=0)
    for row, index in enumerate(rows, start=1):
        all_rows[row, :, index] = False
    place = model.decoder.embed.weight.device
    classes = torch.tensor(prompt.classes)[None].repeat(len(all_rows), 1).to(place)
    relevance = inject(Relevance.compile(classes, model.reads), bound, all_rows)
    ids = torch.tensor(prompt.ids, device=place)[None].repeat(len(all_rows), 1)
    with one_at_a_time, torch.inference_mode():
        log_p = model.decoder(ids, dial, relevance).double().log_softmax(dim=-1)
        bits = (log_p[0].exp() * (log_p[0] - log_p)).sum(-1).clamp(min=0.0) / np.log(2.0)
        changes = log_p.argmax(-1) != log_p[0].argmax(-1)
    silent = np.zeros(prompt.n_tokens)
    by_row = {index: row for row, index in enumerate(rows, start=1)}
    return tuple(
        RuleRemoval(
            rule.id,
            int(where[:, index].sum()),
            bits[by_row[index]].cpu().numpy() if index in by_row else silent,
            changes[by_row[index]].cpu().numpy() if index in by_row else silent.astype(bool),
        )
        for index, rule in enumerate(bound.rules)
    )


def compare_rules(before: RuleSet, after: RuleSet) -> Difference:
    """What differs in what two sets say, by id and key."""
    from model.rules.comparison import difference

    return difference(before, after)


def where_it_matters(
    model: LoadedModel, before: Bound, after: Bound, texts: Sequence[str], dial: Dial
) -> list[Matter]:
    """What exchanging the sets does to each text, the one that changes most first."""
    import torch

    from model.rules.comparison import effect
    from workbench.inference import prepare

    found = []
    for text in texts:
        prompt = prepare(model, text)
        one, other = (relevance_under(model, prompt, each) for each in (before, after))
        ids = torch.tensor(prompt.ids, device=one.classes.device)[None]
        with one_at_a_time:
            known = effect(model.decoder, ids, dial, one, other)
        worst = int(known.bits.argmax())
        bits = float(known.bits[worst])
        token = prompt.tokens[worst] if bits > 0 else ""
        changes = int(known.likeliest_changes.sum())
        found.append(Matter(text, known.pairs, bits, token, changes))
    return sorted(found, key=lambda each: (-each.bits, each.text))


def _explained(
    bound: Bound, fires: list[int], able: list[int], acting: Callable[..., np.ndarray]
) -> tuple[FiredRule, ...]:
    acts = acting(bound, tuple(able)) if able else np.zeros((0, 1, 1), dtype=bool)
    found = []
    for row in fires:
        rule = bound.rules[row]
        if row not in able:
            found.append(FiredRule(rule.id, NOTHING, rule.strength, 0))
            continue
        own = acts[able.index(row)]
        silenced = bound.scope[row] & ~own
        by = tuple(
            bound.rules[other].id
            for other, heads in zip(able, acts, strict=True)
            if bound.disjoint[row, other] and (heads & silenced).any()
        )
        count = int(own.sum())
        found.append(FiredRule(rule.id, ACTS if count else BEATEN, rule.strength, count, by))
    return tuple(found)


def _conflict(model: LoadedModel, found: Conflict, known: Sequence[Sentence]) -> ConflictShown:
    clash, sentence, token = found.clash, "", ""
    if found.sentence is not None and found.position is not None:
        shown = known[found.sentence]
        sentence = shown.text
        token = display_token(model.tokenizer.pieces([shown.ids[found.position]])[0])
    return ConflictShown(clash.first, clash.second, clash.winner, clash.heads, sentence, token)

"""Which blocks fire on a prompt, which nearly do, and the fewest tokens without which one does not.

A token fires one block or none. A **near miss** is a block that a word belongs to in part and that
is short of firing by at most `NEAR`: of theta in its share, or of delta in its lead. Without a
token means: it is taken out of the prompt, and the rest, closed up, is read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from model.blocks.membership import MembershipTable
    from model.transformer.checkpoint import LoadedModel
    from workbench.inference import Prompt

FIRED, NEAR_MISS, NOT_COVERED, BEGIN = "fired", "near miss", "not covered", "begin of text"
NOT_FIRED = "not fired"
NEAR = 0.1
MOST_REMOVED = 8


@dataclass(frozen=True)
class NearMiss:
    """A block that nearly fires: its share of the word and its lead over the best other block.

    margin is below 0 where another block leads. shortfall: what is missing. All fractions.
    """

    block: str
    score: float
    margin: float
    shortfall: float


@dataclass(frozen=True)
class TokenFiring:
    """One token. block: that fires, "" for none. score, margin: of the word so far, fractions.

    They are None where no lexicon was asked (marks, digits, unknown words). near: near misses, the
    nearest first. depends_on: earlier positions without which this token does not fire.
    """

    position: int
    token: str
    word: str
    status: str
    block: str
    score: float | None
    margin: float | None
    reason: str
    near: tuple[NearMiss, ...]
    depends_on: tuple[int, ...]


@dataclass(frozen=True)
class BlockFiring:
    """One block over the whole prompt. fired, near: positions.

    without: the fewest positions found without which the block fires nowhere; empty where it does
    not fire, or where `MOST_REMOVED` are too few. smallest: whether fewer have been ruled out.
    shortfall: of the nearest near miss, None where there is none.
    """

    block: str
    status: str
    fired: tuple[int, ...]
    near: tuple[int, ...]
    shortfall: float | None
    without: tuple[int, ...]
    smallest: bool


@dataclass(frozen=True)
class Firing:
    """Tokens in their order, blocks in that of the partition.

    coverage: tokens of a block, as a fraction of all but begin-of-text. theta, delta: the
    thresholds of share and lead, fractions.
    """

    tokens: tuple[TokenFiring, ...]
    blocks: tuple[BlockFiring, ...]
    coverage: float
    theta: float
    delta: float


def firing(model: LoadedModel, prompt: Prompt) -> Firing:
    """What fires on a prompt of this model, and why."""
    from model.blocks.membership import MembershipTable

    partition = model.partition
    table = MembershipTable(model.tokenizer.token_bytes, partition, model.lexicon)
    words = _words(model, prompt)
    tokens = tuple(
        _token(model, prompt, position, words, table) for position in range(prompt.n_tokens)
    )
    covered = int((prompt.classes[1:] < partition.n_blocks).sum())
    return Firing(
        tokens,
        _blocks(partition.names, prompt, tokens, table),
        covered / max(1, prompt.n_tokens - 1),
        partition.theta,
        partition.delta,
    )


def near_misses(model: LoadedModel, word: str, fires: str = "") -> tuple[NearMiss, ...]:
    """Blocks of the word's shares that are short by at most `NEAR`, the nearest first."""
    partition = model.partition
    shares = model.lexicon.shares(word) or ()
    found = []
    for block, percent in shares:
        name = partition.names[block]
        others = [each for other, each in shares if other != block]
        margin = (percent - max(others, default=0)) / 100
        shortfall = max(partition.theta - percent / 100, partition.delta - margin, 0.0)
        if name != fires and shortfall <= NEAR + 1e-9:
            found.append(NearMiss(name, percent / 100, margin, shortfall))
    return tuple(sorted(found, key=lambda each: (each.shortfall, each.block)))


def _words(model: LoadedModel, prompt: Prompt) -> list[str]:
    """The word so far that each token belongs to, "" for none."""
    from model.blocks.words import START, read

    state, found = START, []
    for token_id in prompt.ids:
        piece = model.tokenizer.token_bytes[token_id]
        if piece is None:
            state = START
            found.append("")
            continue
        reading = read(state, piece)
        state = reading.after
        found.append(reading.word)
    return found


def _token(
    model: LoadedModel, prompt: Prompt, at: int, words: Sequence[str], table: MembershipTable
) -> TokenFiring:
    partition, class_id = model.partition, int(prompt.classes[at])
    block = partition.names[class_id] if class_id < partition.n_blocks else ""
    near = near_misses(model, words[at], block) if words[at] else ()
    status = FIRED if block else NEAR_MISS if near else NOT_COVERED
    score, margin = float(prompt.scores[at]), float(prompt.margins[at])
    return TokenFiring(
        at,
        prompt.tokens[at],
        words[at],
        BEGIN if class_id == partition.bos_id else status,
        block,
        None if np.isnan(score) else round(score, 6),
        None if np.isnan(margin) else round(margin, 6),
        prompt.reasons[at],
        near,
        _depends_on(prompt, at, words, table) if block else (),
    )


def _depends_on(
    prompt: Prompt, at: int, words: Sequence[str], table: MembershipTable
) -> tuple[int, ...]:
    """Earlier pieces of the same word, as far as the word so far goes on being spelled."""
    start = at
    while start > 1 and words[start - 1] and words[start].startswith(words[start - 1]):
        start -= 1
    ids, found = np.array(prompt.ids[: at + 1]), []
    for position in range(start, at):
        rest = np.delete(ids, position)
        if table.classes_for_ids(rest)[-1] != prompt.classes[at]:
            found.append(position)
    return tuple(found)


def _blocks(
    names: Sequence[str], prompt: Prompt, tokens: Sequence[TokenFiring], table: MembershipTable
) -> tuple[BlockFiring, ...]:
    ids = np.array(prompt.ids)
    without_one = [
        table.classes_for_ids(np.delete(ids, position)) for position in range(1, len(ids))
    ]
    found = []
    for block, name in enumerate(names):
        fired = tuple(np.flatnonzero(prompt.classes == block).tolist())
        short = {
            token.position: near.shortfall
            for token in tokens
            for near in token.near
            if near.block == name
        }
        without, smallest = _without(block, ids, fired, without_one, table)
        found.append(
            BlockFiring(
                name,
                FIRED if fired else NEAR_MISS if short else NOT_FIRED,
                fired,
                tuple(short),
                min(short.values(), default=None),
                without,
                smallest,
            )
        )
    return tuple(found)


def _without(
    block: int,
    ids: np.ndarray,
    fired: Sequence[int],
    without_one: Sequence[np.ndarray],
    table: MembershipTable,
) -> tuple[tuple[int, ...], bool]:
    """Positions without which a block fires nowhere, and whether no fewer can do.

    Every single token is tried. Where none is enough, the token that leaves the fewest firings is
    taken out, again and again; two found so are the fewest, more may not be.
    """
    if not fired:
        return (), False
    for position, classes in enumerate(without_one, start=1):
        if not (classes == block).any():
            return (position,), True
    if len(fired) > 4 * MOST_REMOVED:
        return (), False
    removed: list[int] = []
    while len(removed) < MOST_REMOVED:
        kept = np.setdiff1d(np.arange(len(ids)), removed)
        now = table.classes_for_ids(ids[kept]) == block
        near = np.flatnonzero(now | np.append(now[1:], False))
        best = min(
            (int(i) for i in near if kept[i] > 0),
            key=lambda i: (int((table.classes_for_ids(ids[np.delete(kept, i)]) == block).sum()), i),
        )
        removed.append(int(kept[best]))
        if not (table.classes_for_ids(ids[np.delete(kept, best)]) == block).any():
            return tuple(sorted(removed)), len(removed) == 2
    return (), False

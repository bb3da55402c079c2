"""What rules do to relevance: the same object with a larger table, made in milliseconds.

At a query i that fires rule p with a key of its blocks in sight (j ≤ i), p **applies**. It **acts**
in the heads of its scope where no rule that acts there, is of greater precedence and reads disjoint
blocks applies too. With A the rules that act in a head,

    own_ij  = r_ij of the model's reads, times the least (1 − strength) of the `only` rules in A
    r'_ij   = max(own_ij, strength of every rule in A that reads the block of j)
    R'_i    = max over visible k of r'_ik

Our own definition. Without a rule that applies the relevance comes back as it is, the same object;
so withdrawal is to use it again, and restores every bit. A function of what was seen up to i and of
the class of j only, hence causal. Strength 0 changes nothing. At dial 0 relevance is not looked at.
At dial 1 only the keys of R' are left: in a row that reads something with r = 1, a rule of less
strength says nothing there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.errors import RuleError
from model.locality.relevance import PREVIOUS, SELF, Relevance
from model.rules.binding import Bound

_NEAR = 3  # neither, self, previous: how pairs of relevance are laid out


@dataclass(frozen=True)
class _States:
    """Queries that rules change, and the few different ways in which they do.

    where: [query, 2], (sequence, position). state: [query]. classes: [state]. applied: rows of
    bound rules of each state.
    """

    where: NDArray[np.int64]
    state: NDArray[np.int64]
    classes: NDArray[np.int64]
    applied: tuple[tuple[int, ...], ...]


def applies(bound: Bound, classes: Tensor, fired: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where a rule fires and a key that it reads is in sight: bool [sequence, position, rule]."""
    if fired.shape != (*classes.shape, len(bound)):
        raise RuleError(
            "Firing",
            fired.shape,
            f"must be [sequence, position, rule] {(*classes.shape, len(bound))}",
            "Compute it from these tokens and rules",
        )
    known = classes.cpu().numpy()
    seen = np.zeros((*known.shape, len(bound.vocabulary.class_names)), dtype=bool)
    np.put_along_axis(seen, known[..., None], True, axis=-1)
    seen = np.logical_or.accumulate(seen, axis=1)
    return fired & ((seen.astype(np.float32) @ bound.reads.T.astype(np.float32)) > 0)


def acting(bound: Bound, applied: tuple[int, ...]) -> NDArray[np.bool_]:
    """In which heads each of the rules that apply at one query acts: bool [applied, layer, head].

    applied: rows of bound rules, ascending, which is by falling precedence.
    """
    rows = np.array(applied, dtype=np.int64)
    acts = bound.scope[rows]
    apart = bound.disjoint[np.ix_(rows, rows)]
    apart &= bound.precedence[rows][None, :] > bound.precedence[rows][:, None]
    for each in range(1, len(rows)):
        beaten_by = acts[:each][apart[each, :each]]
        if len(beaten_by):
            acts[each] &= ~beaten_by.any(axis=0)
    return acts


def inject(relevance: Relevance, bound: Bound, fired: NDArray[np.bool_]) -> Relevance:
    """The relevance under rules that fire as given: bool [sequence, position, rule].

    Each sequence may have rules of its own, for instance all but one, by columns set to False.
    Costs a table of heads x states; a state is a class of a query with a set of rules that apply.
    RuleError where rules, classes or heads are those of another model.
    """
    layers, heads, n_pairs = relevance.table.shape
    vocabulary = bound.vocabulary
    n = len(vocabulary.class_names)
    if (vocabulary.n_layers, vocabulary.n_heads) != (layers, heads) or _NEAR * n * n + 1 != n_pairs:
        raise RuleError(
            "Rules",
            f"{vocabulary.n_layers} layers of {vocabulary.n_heads} heads, {n} classes",
            "are bound to another model, or injected already",
            "Bind them to this model, and inject all rules at once",
        )
    states = _states(relevance.classes, applies(bound, relevance.classes, fired))
    if states is None:
        return relevance
    added, kept, most = (each.to(relevance.table) for each in _effects(bound, states.applied))
    device = relevance.table.device
    classes = torch.from_numpy(states.classes).to(device)
    table = _extended(relevance.table, classes, kept, added)
    by_block = (relevance.semantic_table, added.gt(0).to(added))
    semantic = _extended(by_block[0], classes, (kept > 0).to(kept), by_block[1])
    sequence, query = (torch.from_numpy(each).to(device) for each in states.where.T)
    state = torch.from_numpy(states.state).to(device)
    tops = relevance.tops.clone()
    own = tops[:, sequence, :, query]  # [query, layer, head]
    own = own * kept[:, :, state].permute(2, 0, 1)
    tops[:, sequence, :, query] = torch.maximum(own, most[:, :, state].permute(2, 0, 1))
    pair = _pairs(relevance, sequence, query, state, len(states.applied), table.shape[-1] - 1)
    return replace(relevance, pair=pair, table=table, semantic_table=semantic, tops=tops)


def _states(classes: Tensor, applied: NDArray[np.bool_]) -> _States | None:
    where = np.argwhere(applied.any(axis=-1))
    if not len(where):
        return None
    known = classes.cpu().numpy()
    numbers: dict[tuple[int, bytes], int] = {}
    sets: list[tuple[int, ...]] = []
    state = np.empty(len(where), dtype=np.int64)
    packed = np.packbits(applied[where[:, 0], where[:, 1]], axis=-1)
    for index, (row, position) in enumerate(where.tolist()):
        key = (int(known[row, position]), packed[index].tobytes())
        if key not in numbers:
            numbers[key] = len(sets)
            sets.append(tuple(np.flatnonzero(applied[row, position]).tolist()))
        state[index] = numbers[key]
    return _States(where, state, np.array([key[0] for key in numbers]), tuple(sets))


def _effects(bound: Bound, sets: tuple[tuple[int, ...], ...]) -> tuple[Tensor, Tensor, Tensor]:
    """What each set of rules does, float64.

    added [layer, head, state, class]; kept [layer, head, state], of the head's own relevance; most
    [layer, head, state], the largest that it adds to a key in sight.
    """
    _, layers, heads = bound.scope.shape
    added = np.zeros((layers, heads, len(sets), bound.reads.shape[1]))
    kept, most = np.ones(added.shape[:3]), np.zeros(added.shape[:3])
    known: dict[tuple[int, ...], int] = {}
    for state, rows in enumerate(sets):
        if rows in known:
            first = known[rows]
            added[:, :, state], kept[:, :, state] = added[:, :, first], kept[:, :, first]
            most[:, :, state] = most[:, :, first]
            continue
        known[rows] = state
        for row, acts in zip(rows, acting(bound, rows), strict=True):
            strength = acts * bound.strength[row]  # [layer, head]
            np.maximum(most[:, :, state], strength, out=most[:, :, state])
            more = strength[:, :, None] * bound.reads[row]
            np.maximum(added[:, :, state], more, out=added[:, :, state])
            if bound.only[row]:
                np.minimum(kept[:, :, state], 1.0 - strength, out=kept[:, :, state])
    return torch.from_numpy(added), torch.from_numpy(kept), torch.from_numpy(most)


def _extended(table: Tensor, classes: Tensor, kept: Tensor, added: Tensor) -> Tensor:
    """A table of pairs with those of the states before its last one: [layer, head, pair]."""
    n = added.shape[-1]
    own = table[..., :-1].unflatten(-1, (_NEAR, n, n))[:, :, :, classes]  # near, state, key class
    more = torch.maximum(own * kept[:, :, None, :, None], added[:, :, None])
    return torch.cat((table[..., :-1], more.flatten(2), table[..., -1:]), dim=-1)


def _pairs(
    relevance: Relevance, sequence: Tensor, query: Tensor, state: Tensor, n_states: int, last: int
) -> Tensor:
    """Pairs of all positions, those of changed queries by their state; int32."""
    old = relevance.table.shape[-1] - 1  # of later keys, and where the states' pairs begin
    n = int((old // _NEAR) ** 0.5 + 0.5)
    pair = torch.where(relevance.pair == old, last, relevance.pair)
    near = relevance.relation[sequence, query].long() & (SELF | PREVIOUS)  # [query, key]
    own = old + (near * n_states + state[:, None]) * n + relevance.classes[sequence]
    visible = torch.arange(pair.shape[-1], device=pair.device) <= query[:, None]
    pair[sequence, query] = torch.where(visible, own, last).to(pair.dtype)
    return pair

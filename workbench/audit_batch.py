"""The audit of many prompts: which blocks fire, how much they cover, and how steady that is.

Prompts stream through in chunks: memory does not grow with their number. Chunks are the same
however often the work is interrupted, so that a resumed audit gives the same numbers.

Steady under the dial: the share of positions whose likeliest next token is that of the first dial.
Steady under a paraphrase: the blocks that fire in both, as a fraction of those in either, and the
change of bits a token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from model.errors import AuditError, TextError
from workbench.audit_batch_input import Asked
from workbench.text import check_length, check_prompt

if TYPE_CHECKING:
    from torch import Tensor

    from model.blocks.membership import MembershipTable
    from model.locality.dial import Dial
    from model.transformer.checkpoint import LoadedModel

CHUNK = 256
_LARGEST_BATCH = 4096  # tokens, filled up
_MOST_REMEMBERED = 50_000  # steps of the membership table: some 10 MB
_LN2 = float(np.log(2.0))


@dataclass(frozen=True)
class Scored:
    """One text. counts: tokens by class. nats: [dial], of all its tokens but begin-of-text.

    steady: [dial], the share of positions with the likeliest next token of the first dial.
    """

    tokens: int
    counts: np.ndarray
    nats: np.ndarray
    steady: np.ndarray


def batch_rows(
    model: LoadedModel, asked: Iterable[Asked], dials: Sequence[Dial]
) -> Iterator[list[dict[str, Any]]]:
    """A row of plain values for each prompt, chunk by chunk, in their order.

    dials: one value each, the first is the one that others and paraphrases are held to. A prompt
    that cannot be audited has a row with `error`. AuditError without a dial.
    """
    from model.blocks.membership import MembershipTable

    if not dials or any(isinstance(dial.value, tuple) for dial in dials):
        raise AuditError("Dials", len(dials), "must be at least one, of one value each", "Give one")
    table: Any = MembershipTable(model.tokenizer.token_bytes, model.partition, model.lexicon)
    table.MOST_TRANSITIONS = _MOST_REMEMBERED
    rows = iter(asked)
    while chunk := list(islice(rows, CHUNK)):
        chunk = [_checked(each) for each in chunk]
        texts = [each.prompt for each in chunk if not each.error]
        texts += [each.paraphrase for each in chunk if not each.error and each.paraphrase]
        found = iter(score_texts(model, texts, dials, table))
        firsts = {each.number: next(found) for each in chunk if not each.error}
        others = {e.number: next(found) for e in chunk if not e.error and e.paraphrase}
        yield [
            _row(model, each, firsts.get(each.number), others.get(each.number), dials)
            for each in chunk
        ]


def score_texts(
    model: LoadedModel, texts: Sequence[str], dials: Sequence[Dial], table: MembershipTable
) -> list[Scored | str]:
    """Each text at every dial, in their order; a sentence in place of a text that is too long."""
    found: list[Scored | str] = [""] * len(texts)
    encoded = model.tokenizer.encode_batch(texts)
    fitting = []
    for index, ids in enumerate(encoded):
        try:
            check_length(len(ids) + 1, model.config.n_ctx)
            fitting.append(index)
        except TextError as error:
            found[index] = str(error)
    fitting.sort(key=lambda index: (len(encoded[index]), index))
    for batch in _batches(fitting, encoded):
        part = _score(model, [encoded[index] for index in batch], dials, table)
        for index, scored in zip(batch, part, strict=True):
            found[index] = scored
    return found


def _batches(order: Sequence[int], encoded: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    batch: list[int] = []
    for index in order:
        if batch and (len(batch) + 1) * (len(encoded[index]) + 1) > _LARGEST_BATCH:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _score(
    model: LoadedModel,
    texts: Sequence[Sequence[int]],
    dials: Sequence[Dial],
    table: MembershipTable,
) -> list[Scored]:
    """One batch. Shorter texts are filled up with begin-of-text, where no row looks at it."""
    import torch

    from model.locality.relevance import Relevance

    lengths = np.array([len(ids) for ids in texts])
    whole = np.full((len(texts), int(lengths.max()) + 1), model.tokenizer.bos_id, dtype=np.int64)
    for row, ids in enumerate(texts):
        whole[row, 1 : len(ids) + 1] = ids
    classes = table.classes_for_ids(whole)
    real = np.arange(whole.shape[1]) <= lengths[:, None]
    place = model.decoder.embed.weight.device
    nats, tops = [], []
    with torch.inference_mode():
        tokens = torch.from_numpy(whole).to(place)
        relevance = None
        if not all(dial.is_zero for dial in dials):
            relevance = Relevance.compile(torch.from_numpy(classes).to(place), model.reads)
        for dial in dials:
            logits = model.decoder(tokens, dial, relevance)
            nats.append(_nats(logits, tokens))
            if len(dials) > 1:
                tops.append(logits.argmax(dim=-1).cpu().numpy())
    costs = np.stack(nats) * real[:, 1:]  # [dial, text, position]
    steady = np.ones((len(dials), len(texts)))
    for index in range(1, len(dials)):
        same = ((tops[index] == tops[0]) & real).sum(axis=1)
        steady[index] = same / real.sum(axis=1)
    n = model.partition.n_classes
    return [
        Scored(
            int(length),
            np.bincount(classes[row, 1 : length + 1], minlength=n),
            costs[:, row].sum(axis=-1),
            steady[:, row],
        )
        for row, length in enumerate(lengths)
    ]


def _nats(logits: Tensor, tokens: Tensor) -> np.ndarray:
    """-log p of every token but the first, float64 [text, position]."""
    from torch.nn import functional as F

    # [text, d_vocab, position] would be copied; rows of all positions but the last are not.
    rows = logits[:, :-1].reshape(-1, logits.shape[-1])
    found = F.cross_entropy(rows, tokens[:, 1:].reshape(-1), reduction="none")
    return found.view(len(tokens), -1).double().cpu().numpy()


def _checked(asked: Asked) -> Asked:
    if asked.error:
        return asked
    try:
        check_prompt(asked.prompt)
        if asked.paraphrase:
            check_prompt(asked.paraphrase)
    except TextError as error:
        return replace(asked, error=str(error))
    return asked


def _row(
    model: LoadedModel,
    asked: Asked,
    scored: Scored | str | None,
    other: Scored | str | None,
    dials: Sequence[Dial],
) -> dict[str, Any]:
    row: dict[str, Any] = {"number": asked.number, "id": asked.id}
    if not isinstance(scored, Scored):
        return {**row, "error": asked.error or str(scored)}
    names = model.partition.names
    counts = scored.counts[: len(names)]
    row |= {
        "tokens": scored.tokens,
        "coverage": round(float(counts.sum()) / scored.tokens, 6),
        "blocks": {names[block]: int(counts[block]) for block in np.flatnonzero(counts)},
        "bits": [round(float(each), 6) for each in scored.nats / scored.tokens / _LN2],
    }
    if len(dials) > 1:
        row["steady"] = [round(float(each), 6) for each in scored.steady]
    if isinstance(other, str):
        row["paraphrase_error"] = other
    elif other is not None:
        here, there = counts > 0, other.counts[: len(names)] > 0
        either = int((here | there).sum())
        change = other.nats[0] / other.tokens - scored.nats[0] / scored.tokens
        row["paraphrase"] = {
            "overlap": round(int((here & there).sum()) / either, 6) if either else 1.0,
            "bits_change": round(float(change) / _LN2, 6),
        }
    return row

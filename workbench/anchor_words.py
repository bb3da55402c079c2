"""Words with a human label, and what a model's residual stream holds where they end.

A content word is a single-word headword of the dictionary outside of the closed classes. Its label
is the block of its senses, as the lexicon weighs them, where the partition's thresholds let it have
one and the dictionary has the word in a category of that block.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.blocks.words import START, Reading, WordState, read

if TYPE_CHECKING:
    from model.blocks.lexicon import Lexicon
    from model.blocks.partition import Partition
    from model.training.corpus import Gloss
    from model.transformer.decoder import Decoder

Places = dict[str, list[tuple[int, int]]]  # word -> (document, position of its last piece)
_BATCH = 64


def labelled_words(
    glosses: Sequence[Gloss], partition: Partition, lexicon: Lexicon
) -> dict[str, int]:
    """Content word -> class id of its block, sorted by word."""
    blocks, closed = partition.category_blocks(), partition.word_blocks()
    own: dict[str, set[int]] = defaultdict(set)
    for gloss in glosses:
        if gloss.category in blocks:
            for word in gloss.words:
                own[word.lower()].add(blocks[gloss.category])
    labels = {}
    for word in sorted(own):
        entry = lexicon.lookup(word) if word.isalpha() and word not in closed else None
        if entry is None or entry.score < partition.theta or entry.margin < partition.delta:
            continue
        if entry.block in own[word]:
            labels[word] = entry.block
    return labels


def find_places(
    docs: Sequence[Sequence[int]], token_bytes: Sequence[bytes | None], wanted: set[str]
) -> Places:
    """Where each wanted word ends: its last piece, of words that end with a piece of their own."""
    places: Places = defaultdict(list)
    memo: dict[tuple[WordState, int], Reading] = {}
    for number, doc in enumerate(docs):
        state, end, so_far = START, 0, ""
        for position, token_id in enumerate(doc):
            reading = memo.get((state, token_id))
            if reading is None:
                reading = memo[state, token_id] = read(state, token_bytes[token_id] or b"\n")
            if reading.finished and reading.finished[0] == so_far and so_far in wanted:
                places[so_far].append((number, end))
            if reading.word:
                end, so_far = position, reading.word
            elif reading.finished:
                so_far = ""
            state = reading.after
        if state.word and state.word == so_far and so_far in wanted:
            places[so_far].append((number, end))
    return dict(places)


def mean_activations(
    decoder: Decoder,
    bos_id: int,
    docs: Sequence[Sequence[int]],
    chosen: Sequence[Sequence[tuple[int, int]]],
    progress: Callable[[float], None] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Hook name -> mean activation [word, d_model] over the chosen places of each word.

    The plain model: dial 0, so that no block of any token comes in. Places must lie within `n_ctx`
    less the begin of text.
    """
    hooks = ["hook_embed", *(f"blocks.{n}.hook_resid_post" for n in range(decoder.config.n_layers))]
    rows: Mapping[int, list[tuple[int, int]]] = defaultdict(list)
    for word, places in enumerate(chosen):
        for doc, position in places:
            rows[doc].append((word, position + 1))
    sums = {name: np.zeros((len(chosen), decoder.config.d_model)) for name in hooks}
    order = sorted(rows, key=lambda doc: (max(p for _, p in rows[doc]), doc))

    def add(activation: torch.Tensor, hook: Any, words: Any, at: Any) -> None:
        np.add.at(sums[hook.name], words, activation[at].double().cpu().numpy())

    for start in range(0, len(order), _BATCH):
        batch = order[start : start + _BATCH]
        found = [(r, w, p) for r, doc in enumerate(batch) for w, p in rows[doc]]
        length = 1 + max(p for _, _, p in found)  # what comes later changes nothing before it
        ids = torch.full((len(batch), length), bos_id)
        for row, doc in enumerate(batch):
            head = list(docs[doc][: length - 1])
            ids[row, 1 : 1 + len(head)] = torch.tensor(head)
        at = (torch.tensor([r for r, _, _ in found]), torch.tensor([p for _, _, p in found]))
        read_at = partial(add, words=[w for _, w, _ in found], at=at)
        device = decoder.embed.weight.device
        with torch.inference_mode(), decoder.hooks(fwd_hooks=[(name, read_at) for name in hooks]):
            decoder.residual(ids.to(device))
        if progress:
            progress(min(1.0, (start + _BATCH) / len(order)))
    counts = np.array([[max(1, len(places))] for places in chosen])
    return {name: total / counts for name, total in sums.items()}

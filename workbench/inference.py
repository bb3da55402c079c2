"""One prompt through one model at one dial: scores, patterns, measures, next tokens.

Results are plain values and read-only NumPy arrays, kept in a bounded memo by model, token ids and
dial. Hooks belong to the shared model, so one hooked pass runs at a time.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from workbench.memo import Memo
from workbench.text import check_length, check_prompt, display_token

if TYPE_CHECKING:
    import torch

    from model.locality.dial import Dial
    from model.locality.relevance import Relevance
    from model.transformer.checkpoint import LoadedModel
    from workbench.choices import Choices

MEMO_BYTES = 128 * 2**20
_LN2 = float(np.log(2.0))
one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Prompt:
    """An encoded text, begin-of-text first. Arrays are [T] and read-only.

    tokens: labels for display. classes: class ids of the model's partition. scores, margins: what
    the lexicon said, NaN where none was asked. reasons: why each token has its class.
    """

    text: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    classes: np.ndarray
    scores: np.ndarray
    margins: np.ndarray
    reasons: tuple[str, ...]

    @property
    def n_tokens(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Pass:
    """What one hooked forward pass gave; float32, read-only.

    scores: [layer, head, query, key], nats, before the dial, 0 for later keys. pattern: the same
    shape, after the dial. measures: each of `MEASURES`, [layer, head, query]. log_probabilities:
    [d_vocab], nats, of the token after the prompt. surprisal_bits: [T], of each token given those
    before it, NaN for begin-of-text.
    """

    scores: np.ndarray
    pattern: np.ndarray
    measures: dict[str, np.ndarray]
    log_probabilities: np.ndarray
    surprisal_bits: np.ndarray

    @property
    def nbytes(self) -> int:
        arrays = [getattr(self, f.name) for f in fields(self) if f.name != "measures"]
        return sum(array.nbytes for array in [*arrays, *self.measures.values()])

    def head_means(self, measure: str) -> np.ndarray:
        """[layer, head] means over the rows that see at least two keys."""
        return self.measures[measure][:, :, 1:].mean(axis=-1, dtype=np.float64)


@dataclass(frozen=True)
class NextToken:
    """A candidate for the next token; rank counts from 1, probability in [0, 1]."""

    rank: int
    token: str
    token_id: int
    probability: float
    surprisal_bits: float


_passes: Memo[Pass] = Memo(MEMO_BYTES, lambda each: each.nbytes)


def prepare(model: LoadedModel, text: str) -> Prompt:
    """Encode and partition a text; TextError when it is empty or beyond a stated limit."""
    from model.blocks.membership import MembershipTable

    tokenizer = model.tokenizer
    ids = tokenizer.encode_with_bos(check_prompt(text))
    check_length(len(ids), model.config.n_ctx)
    table = MembershipTable(tokenizer.token_bytes, model.partition, model.lexicon)
    found = table.membership(ids)
    return Prompt(
        text,
        tuple(ids),
        tuple(display_token(piece) for piece in tokenizer.pieces(ids)),
        read_only(found.classes),
        read_only(found.scores),
        read_only(found.margins),
        tuple(found.reasons),
    )


def dial_of(value: float, choices: Choices) -> Dial:
    """The dial of the science for a value and a person's choices; imports torch."""
    from model.locality.dial import Dial

    return Dial(value, choices.gain, choices.temperature, choices.schedule())


def subject_of(model: LoadedModel, prompt: Prompt) -> str:
    """Identity of a prompt in a model: it changes when either does."""
    line = f"{model.content_hash} {' '.join(map(str, prompt.ids))}"
    return hashlib.sha256(line.encode()).hexdigest()[:24]


def run(model: LoadedModel, prompt: Prompt, dial: Dial) -> Pass:
    """The hooked pass, from the memo where it is known."""
    key = (model.content_hash, device_of(model), prompt.ids, dial)
    found = _passes.get(key)
    return found if found is not None else _passes.put(key, _run(model, prompt, dial))


def next_tokens(
    model: LoadedModel, prompt: Prompt, dial: Dial, k: int = 10
) -> tuple[NextToken, ...]:
    """The `k` likeliest next tokens, likeliest first; ties by id."""
    log_p = run(model, prompt, dial).log_probabilities.astype(np.float64)
    order = np.argsort(-log_p, kind="stable")[: max(1, k)].tolist()
    pieces = model.tokenizer.pieces(order)
    return tuple(
        NextToken(
            rank,
            display_token(piece),
            token_id,
            float(np.exp(log_p[token_id])),
            float(-log_p[token_id] / _LN2),
        )
        for rank, (token_id, piece) in enumerate(zip(order, pieces, strict=True), start=1)
    )


def relevance_of(model: LoadedModel, prompt: Prompt) -> Relevance:
    """Relevance of every key to every query of the prompt, a batch of one on the model's device."""
    import torch

    from model.locality.relevance import Relevance

    place = model.decoder.embed.weight.device
    return Relevance.compile(torch.tensor(prompt.classes)[None].to(place), model.reads)


def device_of(model: LoadedModel) -> str:
    return model.decoder.embed.weight.device.type


def forget_passes() -> None:
    """Empty the memo."""
    _passes.clear()


def read_only(array: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array)
    array.setflags(write=False)
    return array


def _run(model: LoadedModel, prompt: Prompt, dial: Dial) -> Pass:
    import torch

    from model.locality.measures import MEASURES, Masks, row_measures

    decoder = model.decoder
    layers = range(model.config.n_layers)
    scores, patterns = (
        [f"blocks.{layer}.attn.{hook}" for layer in layers]
        for hook in ("hook_attn_scores", "hook_pattern")
    )
    relevance = relevance_of(model, prompt)
    ids = torch.tensor(prompt.ids, device=relevance.classes.device)[None]
    with one_at_a_time, torch.inference_mode():
        logits, cache = decoder.run_with_cache(
            ids, dial, relevance, names_filter=[*scores, *patterns]
        )
        assert isinstance(logits, torch.Tensor)
        log_p = logits[0].double().log_softmax(dim=-1)
        measured = [
            row_measures(cache[name], Masks.of(relevance, layer))
            for layer, name in enumerate(patterns)
        ]
        surprisal = -log_p[:-1].gather(1, ids[0, 1:, None])[:, 0] / _LN2
        raw = _stacked([cache[name] for name in scores])
    return Pass(
        read_only(np.where(np.isfinite(raw), raw, np.float32(0.0))),
        _stacked([cache[name] for name in patterns]),
        {name: _stacked([each[name] for each in measured]) for name in MEASURES},
        read_only(log_p[-1].float().cpu().numpy()),
        read_only(np.concatenate(([np.nan], surprisal.cpu().numpy()))),
    )


def _stacked(tensors: Sequence[torch.Tensor]) -> np.ndarray:
    """Tensors [1, …], one a layer -> [layer, …]."""
    return read_only(np.stack([each[0].cpu().numpy() for each in tensors]))

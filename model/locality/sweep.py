"""Many dial values at once for the same tokens, with every measure: the hooked path, batched.

What does not depend on the dial is computed once (the embeddings, the first layer's scores and
values, the relevance); all masses of a row come from one product with the masks; logits live only
in chunks. A test holds it to one hooked call a dial.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.locality.dial import LARGEST_STRENGTH, Dial
from model.locality.measures import MASSES, MEASURES, Masks
from model.locality.relevance import Relevance
from model.transformer.decoder import Decoder
from model.transformer.layers import Layer

_LN2 = float(torch.log(torch.tensor(2.0, dtype=torch.float64)))
_LOGIT_ROWS = 512
_LARGEST_PART = 4_000_000  # pattern elements of one layer that are held at once


@dataclass(frozen=True)
class DialSweep:
    """Results for `dials`.

    nats: [dial, sequence, position - 1], -log p(next token). measures: each of `MEASURES` as
    [layer, dial, sequence, head, query]. next_logits: [dial, sequence, d_vocab], last position.
    """

    nats: Tensor
    measures: dict[str, Tensor]
    next_logits: Tensor


@torch.inference_mode()
def sweep_dials(
    decoder: Decoder, tokens: Tensor, relevance: Relevance, dials: Sequence[Dial]
) -> DialSweep:
    """Run int64 tokens [sequence, position] at every dial, as many at once as memory should hold.

    DialError and TextError as in the forward pass.
    """
    decoder.check_length(tokens.shape[1])
    plane = tokens.shape[0] * decoder.config.n_heads * tokens.shape[1] ** 2
    step = max(1, _LARGEST_PART // plane)
    parts = [
        _sweep_part(decoder, tokens, relevance, dials[start : start + step])
        for start in range(0, len(dials), step)
    ]
    if len(parts) == 1:
        return parts[0]
    return DialSweep(
        torch.cat([part.nats for part in parts]),
        {name: torch.cat([part.measures[name] for part in parts], dim=1) for name in MEASURES},
        torch.cat([part.next_logits for part in parts]),
    )


def _sweep_part(
    decoder: Decoder, tokens: Tensor, relevance: Relevance, dials: Sequence[Dial]
) -> DialSweep:
    batch, length = tokens.shape
    n_dials = len(dials)
    settings = [decoder.settings(tokens.shape, dial, relevance) for dial in dials]
    rotary = decoder.rotary(length)
    later = torch.full((length, length), -LARGEST_STRENGTH, device=tokens.device).triu(1)
    x = decoder.embed(tokens)
    found: list[dict[str, Tensor]] = []
    for index, layer in enumerate(decoder.blocks):
        assert isinstance(layer, Layer)
        strengths, taus = zip(*(each[index] for each in settings), strict=True)
        q, k, v = layer.attn.projections(layer.ln1(x), rotary)
        scores = _dialled(layer.attn.scores(q, k), relevance.gap(index), later, strengths, taus)
        pattern = scores.softmax(dim=-1)  # [dial, sequence, head, query, key]
        found.append(_measures(pattern, scores, Masks.of(relevance, index)))
        if len(v) == batch:
            v = v.repeat(n_dials, 1, 1, 1)
        attended = layer.attn.output(layer.attn.mix(pattern.flatten(0, 1), v))
        if len(x) == batch:
            x = x.repeat(n_dials, 1, 1)
        x = layer.after_attention(x, attended)
    x = decoder.ln_final(x).view(n_dials, batch, length, -1)
    return DialSweep(
        _nats(decoder, x, tokens),
        {name: torch.stack([each[name] for each in found]) for name in MEASURES},
        decoder.unembed(x[:, :, -1]),
    )


def _dialled(
    raw: Tensor,
    gap: Tensor,
    later: Tensor,
    strengths: Sequence[Tensor | None],
    taus: Sequence[Tensor | None],
) -> Tensor:
    """Scores after the dial: [dial, sequence, head, query, key], later keys at -1e30.

    raw: [sequence or dial * sequence, head, query, key].
    """
    batch, heads, length, _ = gap.shape
    n_dials = len(strengths)
    zero = torch.zeros(1, heads, device=gap.device)
    force = torch.stack([zero if each is None else each for each in strengths])
    raw = raw.view(-1, batch, heads, length, length)
    if any(tau is not None for tau in taus):
        tau = torch.stack([zero + 1.0 if each is None else each for each in taus])
        raw = raw / tau[:, :, :, None, None].to(raw.dtype)
    gap = (gap.contiguous() if gap.stride(-1) != 1 else gap)[None]
    scores = torch.addcmul(raw + later, gap, -force[:, :, :, None, None].to(raw.dtype))
    return scores.expand(n_dials, -1, -1, -1, -1)


def _measures(pattern: Tensor, scores: Tensor, masks: Masks) -> dict[str, Tensor]:
    """Every measure as [dial, sequence, head, query]; entropy as log Z - sum p s'."""
    dials, batch, heads, length, _ = pattern.shape
    kinds = torch.stack(
        [
            mask.expand(batch, heads, length, length)
            for mask in (masks.semantic, masks.own, masks.previous, masks.sink, masks.relevant)
        ],
        dim=-1,
    ).to(pattern.dtype)  # [sequence, head, query, key, kind]
    rows = pattern.permute(1, 2, 3, 0, 4)  # [sequence, head, query, dial, key]
    masses = torch.matmul(rows, kinds).permute(4, 3, 0, 1, 2)
    largest = pattern.amax(dim=-1)
    log_norm = scores.amax(dim=-1) - largest.log()
    bits = ((log_norm - (pattern * scores).sum(dim=-1)) / _LN2).clamp(min=0.0)
    visible = torch.arange(1, length + 1, device=pattern.device, dtype=pattern.dtype)
    several = visible > 1
    shape = (dials, batch, heads, length)
    return {
        "entropy_bits": bits,
        "entropy_normalised": bits / visible.log2().clamp(min=1e-30) * several,
        "fidelity": masses[4],
        "relevant_share": (masks.relevant.sum(dim=-1) / visible).expand(shape),
        **dict(zip(MASSES[:4], masses[:4], strict=True)),
        "other_share": 1.0 - masses[:4].sum(dim=0),
        "fallback_share": masks.fallback.to(pattern.dtype).expand(shape),
    }


def _nats(decoder: Decoder, hidden: Tensor, tokens: Tensor) -> Tensor:
    """-log p(next token): hidden [dial, sequence, position, d_model] -> [.., position - 1]."""
    dials, batch, length, _ = hidden.shape
    rows = hidden[:, :, :-1].flatten(0, 2)
    targets = tokens[:, 1:].expand(dials, batch, length - 1).flatten()[:, None]
    found = torch.empty(len(rows), device=rows.device, dtype=rows.dtype)
    for start in range(0, len(rows), _LOGIT_ROWS):
        part = slice(start, start + _LOGIT_ROWS)
        logits = decoder.unembed(rows[part])
        found[part] = logits.logsumexp(dim=-1) - logits.gather(1, targets[part])[:, 0]
    return found.view(dials, batch, length - 1)

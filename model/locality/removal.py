"""What a prompt loses without a block: many removals at once, as rows of one batch.

Two interventions, and they answer two questions. **relevance**: no head reads the block's keys for
their block any more, so the dial turns them down like any irrelevant key; a dial above 0 is needed,
and self and previous allowances stay. **attention**: the block's tokens are hidden from every other
query, at any dial, whatever reads them; each still sees itself, so that no row is empty.

The first row of the batch is the prompt as it is. All rows share one small table: a removed key
gets a class that nobody reads, and a hidden one the pair of all later keys. A test holds this to
one hooked run a removal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from model.errors import AuditError
from model.locality.bias import DialBias, dial_biases
from model.locality.dial import Dial
from model.locality.reads import Reads
from model.locality.relevance import PREVIOUS, SELF, Relevance
from model.transformer.decoder import Decoder

Intervention = Literal["relevance", "attention"]
INTERVENTIONS: tuple[Intervention, ...] = get_args(Intervention)
_NEAR = 3  # neither, self, previous
_LARGEST_PART = 1_000_000  # logits that are held at once
_LN2 = math.log(2.0)


@dataclass(frozen=True)
class Removal:
    """One intervention on the tokens of one class; AuditError on another kind of intervention."""

    intervention: Intervention
    class_id: int

    def __post_init__(self) -> None:
        if self.intervention not in INTERVENTIONS:
            raise AuditError(
                "Intervention",
                self.intervention,
                f"must be one of {', '.join(INTERVENTIONS)}",
                "Choose one",
            )


@dataclass(frozen=True)
class Effects:
    """What each removal does to the next-token distributions of one prompt.

    kl_bits: [removal, position], bits, Kullback-Leibler divergence of the distribution without it
    from the one with it, at least 0. actual_bits: [removal, position − 1], bits, by how much the
    surprisal of the token that follows grows; below 0 where the model predicts better without.
    top: [removal + 1, position], the likeliest next token, the plain prompt first. last_log_p:
    [removal + 1, d_vocab], nats, after the whole prompt.
    """

    kl_bits: Tensor
    actual_bits: Tensor
    top: Tensor
    last_log_p: Tensor


def relevance_without(classes: Tensor, reads: Reads, removals: Sequence[Removal]) -> Relevance:
    """Relevance of one prompt, int64 classes [1, position], for itself and for each removal.

    AuditError on several prompts, or on a class that is none of a block: begin-of-text is never
    removed.
    """
    n, base = reads.n_classes, Relevance.compile(classes, reads)
    if len(classes) != 1:
        raise AuditError("Prompts", len(classes), "removals are rows of one prompt", "Give one")
    for each in removals:
        if not 0 <= each.class_id < n - 1:
            raise AuditError(
                "Class", each.class_id, f"must lie in [0, {n - 2}]", "Remove a block's class"
            )
    device, length = classes.device, classes.shape[1]
    ids = torch.tensor([-1, *(each.class_id for each in removals)], device=device)[:, None]
    hides = [False, *(each.intervention == "attention" for each in removals)]
    hiding = torch.tensor(hides, device=device)[:, None]
    chosen = classes == ids  # [row, position]
    keys, hidden = classes.masked_fill(chosen & ~hiding, n), chosen & hiding

    position = torch.arange(length, device=device)
    near = base.relation & (SELF | PREVIOUS)
    pair = near.int() * (n * (n + 1)) + (classes * (n + 1)).int()[:, :, None] + keys.int()[:, None]
    other = position[:, None] != position
    unseen = (position > position[:, None]) | (hidden[:, None] & other)
    pair = pair.masked_fill_(unseen, _NEAR * n * (n + 1))
    return Relevance(
        classes.expand(len(ids), -1),
        base.relation.expand(len(ids), -1, -1),
        pair,
        _widened(base.table, reads, allowances=True),
        _widened(base.semantic_table, reads, allowances=False),
        _tops(classes[0], keys, hidden, reads),
    )


def removal_effects(decoder: Decoder, tokens: Tensor, relevance: Relevance, dial: Dial) -> Effects:
    """Effects of the rows of `relevance`, the first of them the plain prompt, on ids [1, position].

    DialError and TextError as in the forward pass.
    """
    decoder.check_length(tokens.shape[1])
    lambdas = dial.lambdas(decoder.config.n_layers, decoder.config.n_heads)
    like = decoder.embed.weight
    shape = torch.Size((len(relevance.classes), tokens.shape[1]))
    settings = decoder.settings(shape, dial, relevance)
    still = torch.zeros(1, lambdas.shape[-1]).to(like)  # at dial 0 a bias carries what is hidden
    strengths = [still if force is None else force for force, _ in settings]
    biases = dial_biases(relevance, strengths, like.dtype)
    return effects_of(decoder, tokens, len(relevance.classes), biases, [t for _, t in settings])


@torch.inference_mode()
def effects_of(
    decoder: Decoder,
    tokens: Tensor,
    rows: int,
    biases: Sequence[DialBias | None],
    taus: Sequence[Tensor | None],
) -> Effects:
    """Effects of whatever a bias of `rows` rows a layer does, the first row the plain prompt.

    tokens: ids [1, position]. taus: [1, head] a layer, or None for 1.
    """
    length = tokens.shape[1]
    rotary, causal = decoder.rotary(length), decoder.causal[:length, :length]
    x = decoder.embed(tokens).expand(rows, -1, -1)
    for layer, bias, tau in zip(decoder.blocks, biases, taus, strict=True):
        x = layer(x, rotary, causal, bias, tau)
    return _compared(decoder, decoder.ln_final(x), tokens[0, 1:])


def _compared(decoder: Decoder, hidden: Tensor, actual: Tensor) -> Effects:
    """Every row against the first: hidden [row, position, d_model], actual ids [position − 1].

    With D the change of a row's logits, made from the change of its stream so that small effects
    keep their digits: log p' = log p + D − z, z = log sum p e^D, and KL(p || p') = z − sum p D.
    """
    rows, length, _ = hidden.shape
    moved, plain = hidden[1:] - hidden[0], decoder.unembed(hidden[0]).float()
    plain = plain.log_softmax(dim=-1)
    mean = plain.exp() @ decoder.unembed.weight.float()  # [position, d_model]: sum p W
    kl = hidden.new_empty(rows - 1, length, dtype=torch.float32)
    grown = hidden.new_empty(rows - 1, length - 1, dtype=torch.float32)
    top = torch.empty(rows, length, dtype=torch.int64, device=hidden.device)
    last = [plain[-1]]
    top[0] = plain.argmax(dim=-1)
    step = max(1, _LARGEST_PART // plain.numel())
    for start in range(0, rows - 1, step):
        part = slice(start, start + step)
        logits = decoder.unembed(moved[part]).float().add_(plain)
        largest, top[start + 1 : start + 1 + step] = logits.max(dim=-1)
        after = logits[:, :-1].gather(2, actual.expand(len(logits), -1)[..., None])[..., 0]
        end = logits[:, -1].clone()
        z = logits.sub_(largest[..., None]).exp_().sum(dim=-1).log_().add_(largest)
        kl[part] = z - (moved[part].float() * mean).sum(dim=-1)
        before = plain[:-1].gather(1, actual[:, None])[:, 0]
        grown[part] = before - (after - z[:, :-1])
        last.extend(end - z[:, -1:])
    return Effects(kl.clamp_(min=0.0) / _LN2, grown / _LN2, top, torch.stack(last))


def _widened(table: Tensor, reads: Reads, allowances: bool) -> Tensor:
    """[layer, head, pair] with one more key class, that only self and previous allowances read."""
    layers, heads, n = reads.n_layers, reads.n_heads, reads.n_classes
    wide = F.pad(table[..., :-1].reshape(layers, heads, _NEAR, n, n), (0, 1))
    if allowances:
        own, previous, _ = reads.allowances.permute(3, 0, 1, 2).to(table)
        wide[:, :, SELF, :, n], wide[:, :, PREVIOUS, :, n] = own, previous
    return F.pad(wide.flatten(2), (0, 1))


def _tops(classes: Tensor, keys: Tensor, hidden: Tensor, reads: Reads) -> Tensor:
    """The largest r that every query sees: [layer, row, head, query]. As in `relevance`."""
    n, length = reads.n_classes, len(classes)
    own = F.one_hot(keys, n + 1)[..., :n].float()  # [row, position, class]
    seen = (own * ~hidden[..., None]).cumsum(dim=1) + own
    position = torch.arange(length, device=classes.device)
    before = F.pad(~hidden[:, :-1], (1, 0)) & (position > 0)
    sink = (classes == n - 1).cumsum(dim=0) > 0
    near = torch.stack((torch.ones_like(before), before, sink.expand_as(before)), dim=-1)
    seen = torch.cat((seen, near.float()), dim=-1)  # [row, query, class and allowance]
    read = torch.cat((reads.blocks, reads.allowances), dim=-1).to(classes.device)
    read = read[:, :, classes].flatten(0, 1).float()  # [layer * head, query, …]
    full = torch.einsum("hqc,rqc->hrq", read, seen) > 0
    tops = torch.where(full, 1.0, torch.where(sink, reads.rest, 0.0))
    return tops.view(reads.n_layers, reads.n_heads, *keys.shape).transpose(1, 2)

"""What a unit is good for: its activation is replaced, and the cost of the next tokens measured.

A lesion sets one unit to a constant at every token but begin-of-text, which serves as a sink and is
no word. The constant is the unit's mean: this takes away what the unit says about a token and keeps
the offset that later layers have grown used to; zero (a choice of the caller) takes away both.

Layers up to the site run once for all lesions: the lesioned residual stream differs from the plain
one along a single direction, the unit's column of `down`. Later layers run on lesions stacked along
the batch. A test holds this to one hooked run a unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from model.errors import UnitError
from model.locality.bias import dial_biases
from model.locality.dial import Dial
from model.locality.relevance import Relevance
from model.transformer.config import DecoderConfig
from model.transformer.decoder import Decoder
from model.transformer.layers import Layer

Kind = Literal["mlp", "residual"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_LOGIT_ROWS = 512
_LARGEST_STACK = 16_384  # positions of lesioned streams that are held at once


@dataclass(frozen=True)
class Site:
    """Where units are. mlp: hidden units of the layer's MLP; residual: dimensions after the layer.

    UnitError on another kind, or on a layer below 0; `check` on a layer that a decoder lacks.
    """

    layer: int
    kind: Kind = "mlp"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnitError("Kind of unit", self.kind, f"must be one of {KINDS}", "Choose one")
        if self.layer < 0:
            raise UnitError("Layer", self.layer, "must be at least 0", "Choose a layer it has")

    @property
    def hook(self) -> str:
        """The hook that sees the units, last axis."""
        name = "mlp.hook_post" if self.kind == "mlp" else "hook_resid_post"
        return f"blocks.{self.layer}.{name}"

    def check(self, config: DecoderConfig) -> int:
        """How many units a decoder has there."""
        if self.layer >= config.n_layers:
            raise UnitError(
                "Layer", self.layer, f"must lie in [0, {config.n_layers - 1}]", "Choose one it has"
            )
        return config.d_mlp if self.kind == "mlp" else config.d_model


@dataclass(frozen=True)
class Reading:
    """A plain pass over tokens [sequence, position], with what a lesion at `site` begins from.

    activations: [sequence, position, unit]. stream: the residual stream after the site's layer,
    [sequence, position, d_model]. nats: −log p(next token), [sequence, position − 1].
    """

    tokens: Tensor
    dial: Dial
    site: Site
    activations: Tensor
    stream: Tensor
    nats: Tensor


@torch.inference_mode()
def read_site(
    decoder: Decoder, tokens: Tensor, dial: Dial, relevance: Relevance, site: Site
) -> Reading:
    """One pass over int64 tokens [sequence, position]; errors as in the forward pass.

    Hooks belong to the decoder: no other pass may run meanwhile.
    """
    site.check(decoder.config)
    seen: dict[str, Tensor] = {}

    def keep(value: Tensor, hook: object) -> None:
        seen[str(getattr(hook, "name", ""))] = value

    stream = f"blocks.{site.layer}.hook_resid_post"
    with decoder.hooks(fwd_hooks=[(name, keep) for name in {site.hook, stream}]):
        last = decoder.residual(tokens, dial, relevance)
    return Reading(
        tokens,
        dial,
        site,
        seen[site.hook],
        seen[stream],
        _nats(decoder, last, tokens),
    )


@torch.inference_mode()
def lesioned_nats(
    decoder: Decoder,
    reading: Reading,
    relevance: Relevance,
    units: Sequence[int],
    values: Tensor,
    where: Tensor,
) -> Tensor:
    """−log p(next token) under one lesion at a time: [unit, sequence, position − 1], nats.

    units: which; values [unit]: what each is set to; where: bool [sequence, position], at which
    tokens. relevance: that of the reading. UnitError on a unit that the site lacks.
    """
    count = reading.site.check(decoder.config)
    if len(values) != len(units) or where.shape != reading.tokens.shape:
        raise UnitError(
            "Lesion",
            (len(units), tuple(values.shape), tuple(where.shape)),
            "needs a value a unit and a mark a token",
            "Give both",
        )
    for unit in units:
        if not 0 <= unit < count:
            raise UnitError("Unit", unit, f"must lie in [0, {count - 1}]", "Choose such a unit")
    step = max(1, _LARGEST_STACK // reading.tokens.numel())
    found = [
        _lesion(decoder, reading, relevance, units[at : at + step], values[at : at + step], where)
        for at in range(0, len(units), step)
    ]
    return torch.cat(found) if found else reading.nats.new_empty(0, *reading.nats.shape)


def effect_bits(plain: Tensor, lesioned: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Mean change of cost at a unit's own tokens and at the others: bits a token, [unit] each.

    plain [token] and lesioned [unit, token]: nats. own: bool [unit, token]. NaN where there is no
    such token. Above 0: the model predicts worse without the unit.
    """
    change = (lesioned.double() - plain.double()) / math.log(2.0)
    inside = own.to(change.dtype)
    outside = 1.0 - inside
    return (
        (change * inside).sum(dim=1) / inside.sum(dim=1),
        (change * outside).sum(dim=1) / outside.sum(dim=1),
    )


def _lesion(
    decoder: Decoder,
    reading: Reading,
    relevance: Relevance,
    units: Sequence[int],
    values: Tensor,
    where: Tensor,
) -> Tensor:
    """As `lesioned_nats`, all units in one stack."""
    site, index = reading.site, list(units)
    lost = (values[:, None, None] - reading.activations[..., index].permute(2, 0, 1)) * where
    stream = reading.stream.expand(len(index), *reading.stream.shape)  # [unit, sequence, …]
    if site.kind == "mlp":
        layer = decoder.blocks[site.layer]
        assert isinstance(layer, Layer)
        along = layer.mlp.down.weight[:, index].T  # [unit, d_model]
    else:
        along = torch.eye(stream.shape[-1], dtype=stream.dtype, device=stream.device)[index]
    x = (stream + lost[..., None] * along[:, None, None]).flatten(0, 1)
    tokens = reading.tokens.repeat(len(index), 1)
    x = _later_layers(decoder, x, tokens, reading.dial, relevance, site.layer + 1)
    return _nats(decoder, x, tokens).view(len(index), *reading.nats.shape)


def _later_layers(
    decoder: Decoder, x: Tensor, tokens: Tensor, dial: Dial, relevance: Relevance, first: int
) -> Tensor:
    """The stream before layer `first` [stack, position, d_model] -> after the last layer."""
    if first == decoder.config.n_layers:
        return x
    if not dial.is_zero:  # every copy has the classes of its sequence
        copies = len(tokens) // len(relevance.classes)
        relevance = replace(
            relevance,
            classes=relevance.classes.repeat(copies, 1),
            relation=relevance.relation.repeat(copies, 1, 1),
            pair=relevance.pair.repeat(copies, 1, 1),
            tops=relevance.tops.repeat(1, copies, 1, 1),
        )
    settings = decoder.settings(tokens.shape, dial, relevance)
    biases = dial_biases(relevance, [each for each, _ in settings], x.dtype)
    length = tokens.shape[1]
    rotary, causal = decoder.rotary(length), decoder.causal[:length, :length]
    for index in range(first, decoder.config.n_layers):
        x = decoder.blocks[index](x, rotary, causal, biases[index], settings[index][1])
    return x


def _nats(decoder: Decoder, stream: Tensor, tokens: Tensor) -> Tensor:
    """−log p(next token) from the stream after the last layer: [sequence, position − 1]."""
    rows, targets = stream[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()
    found = torch.empty(len(rows), dtype=torch.float32, device=rows.device)
    for start in range(0, len(rows), _LOGIT_ROWS):
        part = slice(start, start + _LOGIT_ROWS)
        logits = decoder.unembed(decoder.ln_final(rows[part])).float()
        found[part] = F.cross_entropy(logits, targets[part], reduction="none")
    return found.view(len(stream), -1)

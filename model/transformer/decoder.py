"""The decoder: one transformer for training, with TransformerLens's hooks and the dial.

`Dial` and `Relevance` are arguments of the forward pass. Without them, or at dial 0, it is a plain
Llama-family decoder, bit for bit and at the same cost.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.errors import DialError, TextError
from model.locality.bias import dial_biases
from model.locality.dial import Dial, strength, temperature_at
from model.locality.relevance import Relevance
from model.transformer.config import DecoderConfig
from model.transformer.hooks import HookedRootModule, HookPoint
from model.transformer.layers import Layer, RMSNorm, rotary_table


class Decoder(HookedRootModule):
    """Causal language model on token ids; `run_with_cache` and `run_with_hooks` work as usual.

    Weights are drawn from `seed` alone: normal, 0.02, residual outputs scaled by 1/sqrt(2 layers).
    """

    cos: Tensor
    sin: Tensor
    causal: Tensor

    def __init__(self, config: DecoderConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.d_vocab, config.d_model)
        self.hook_embed = HookPoint()
        self.blocks = nn.ModuleList(Layer(config) for _ in range(config.n_layers))
        self.ln_final = RMSNorm(config)
        self.unembed = nn.Linear(config.d_model, config.d_vocab, bias=False)
        if config.tied_embeddings:
            self.unembed.weight = self.embed.weight
        self._draw_weights(seed)
        cos, sin = rotary_table(config)
        visible = torch.ones(config.n_ctx, config.n_ctx, dtype=torch.bool).tril()
        causal = torch.zeros(visible.shape).masked_fill(~visible, float("-inf"))
        for name, table in (("cos", cos), ("sin", sin), ("causal", causal)):
            self.register_buffer(name, table, persistent=False)
        self.setup()

    def forward(
        self, tokens: Tensor, dial: Dial | None = None, relevance: Relevance | None = None
    ) -> Tensor:
        """Token ids int64 [batch, position] -> logits [batch, position, d_vocab], nats.

        DialError when a dial above 0 comes without relevance; TextError beyond `n_ctx`.
        """
        return self.unembed(self.ln_final(self.residual(tokens, dial, relevance)))

    def loss(
        self, tokens: Tensor, dial: Dial | None = None, relevance: Relevance | None = None
    ) -> Tensor:
        """Mean cross-entropy of tokens[:, 1:], nats per token."""
        logits = self(tokens[:, :-1], dial, relevance)
        return F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())

    def residual(
        self, tokens: Tensor, dial: Dial | None = None, relevance: Relevance | None = None
    ) -> Tensor:
        """Token ids -> residual stream after the last layer, before the final norm."""
        length = tokens.shape[1]
        self.check_length(length)
        settings = self.settings(tokens.shape, dial, relevance)
        rotary, causal = self.rotary(length), self.causal[:length, :length]
        resid = self.hook_embed(self.embed(tokens))
        biases = [None] * len(settings)
        if relevance is not None:
            biases = dial_biases(relevance, [each for each, _ in settings], resid.dtype)
        for layer, bias, (_, tau) in zip(self.blocks, biases, settings, strict=True):
            resid = layer(resid, rotary, causal, bias, tau)
        return resid

    def settings(
        self, shape: torch.Size, dial: Dial | None, relevance: Relevance | None
    ) -> list[tuple[Tensor | None, Tensor | None]]:
        """Per layer (strength, tau), each [batch or 1, head] or None where it changes nothing."""
        config = self.config
        if dial is None or dial.is_zero:
            return [(None, None)] * config.n_layers
        if relevance is None:
            raise DialError(
                "Dial",
                dial.value,
                "above 0 it needs to know which keys are relevant",
                "Give the relevance of these tokens, or set the dial to 0",
            )
        if relevance.classes.shape != tuple(shape):
            raise DialError(
                "Relevance",
                tuple(relevance.classes.shape),
                f"the tokens are {tuple(shape)}",
                "Compile the relevance of these tokens",
            )
        lambdas = dial.lambdas(config.n_layers, config.n_heads)
        if lambdas.shape[1] not in (1, shape[0]):
            raise DialError(
                "Dial",
                f"{lambdas.shape[1]} values",
                f"the batch has {shape[0]} sequences",
                "Give one value, or one a sequence",
            )
        like = self.embed.weight
        forces, taus = strength(lambdas, dial.gain).to(like), [None] * config.n_layers
        if dial.temperature != 1.0:
            taus = temperature_at(lambdas, dial.temperature).to(like)
        moved = lambdas.flatten(1).any(dim=1).tolist()
        return [
            (force, tau) if on else (None, None)
            for on, force, tau in zip(moved, forces, taus, strict=True)
        ]

    def rotary(self, length: int) -> tuple[Tensor, Tensor]:
        """cos and sin of the first `length` positions, kept in float64 and rounded here once."""
        dtype = self.embed.weight.dtype
        return self.cos[:length].to(dtype), self.sin[:length].to(dtype)

    def check_length(self, length: int) -> None:
        if length > self.config.n_ctx:
            raise TextError(
                "Text",
                f"{length} tokens",
                f"this model reads at most {self.config.n_ctx}",
                "Shorten the text or cut it into windows",
            )

    def _draw_weights(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        residual_scale = (2 * self.config.n_layers) ** -0.5
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if parameter.ndim == 2:
                    scale = (
                        residual_scale if name.endswith(("attn.o.weight", "down.weight")) else 1.0
                    )
                    parameter.normal_(0.0, 0.02 * scale, generator=generator)

"""The peer in training: a plain `nn.Module` of the same size, as one writes it without a dial.

A Llama-family decoder on `scaled_dot_product_attention` and `F.cross_entropy`, with no hooks and no
thought of the cache. A test holds its loss to that of our decoder with the same weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.transformer.config import DecoderConfig
from model.transformer.decoder import Decoder


class PlainLayer(nn.Module):
    """Attention and gated MLP, each behind its RMSNorm."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads = config.n_heads, config.n_kv_heads
        self.d_head = config.d_head
        queries, keys = config.n_heads * config.d_head, config.n_kv_heads * config.d_head
        self.ln1 = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.ln2 = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.q = nn.Linear(config.d_model, queries, bias=False)
        self.k = nn.Linear(config.d_model, keys, bias=False)
        self.v = nn.Linear(config.d_model, keys, bias=False)
        self.o = nn.Linear(queries, config.d_model, bias=False)
        self.gate = nn.Linear(config.d_model, config.d_mlp, bias=False)
        self.up = nn.Linear(config.d_model, config.d_mlp, bias=False)
        self.down = nn.Linear(config.d_mlp, config.d_model, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x [batch, position, d_model]; cos, sin [position, d_head]."""
        batch, length, _ = x.shape
        normed = self.ln1(x)
        q = self.q(normed).view(batch, length, self.n_heads, self.d_head).transpose(1, 2)
        k = self.k(normed).view(batch, length, self.n_kv_heads, self.d_head).transpose(1, 2)
        v = self.v(normed).view(batch, length, self.n_kv_heads, self.d_head).transpose(1, 2)
        q, k = turned(q, cos, sin), turned(k, cos, sin)
        z = F.scaled_dot_product_attention(
            q, k, v, is_causal=True, enable_gqa=self.n_heads != self.n_kv_heads
        )
        x = x + self.o(z.transpose(1, 2).reshape(batch, length, -1))
        normed = self.ln2(x)
        return x + self.down(F.silu(self.gate(normed)) * self.up(normed))


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions on [batch, head, position, d_head]."""
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin


class PlainLlama(nn.Module):
    """Token ids -> mean cross-entropy of the next token."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.embed = nn.Embedding(config.d_vocab, config.d_model)
        self.layers = nn.ModuleList(PlainLayer(config) for _ in range(config.n_layers))
        self.ln_final = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        rates = config.rope_theta ** -(torch.arange(0, config.d_head, 2) / config.d_head)
        angles = torch.outer(torch.arange(config.n_ctx).float(), rates).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """ids int64 [batch, length + 1] -> nats per token, of ids[:, 1:]."""
        length = ids.shape[1] - 1
        x = self.embed(ids[:, :-1])
        for layer in self.layers:
            x = layer(x, self.cos[:length], self.sin[:length])
        logits = F.linear(self.ln_final(x), self.embed.weight)
        return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def plain_copy(decoder: Decoder) -> PlainLlama:
    """The same weights in the plain module; the decoder's embeddings must be tied."""
    plain, ours = PlainLlama(decoder.config), decoder.state_dict()
    plain.load_state_dict({name: ours[_our_name(name)].clone() for name in plain.state_dict()})
    return plain


def _our_name(name: str) -> str:
    """What our decoder calls the plain module's parameter."""
    if not name.startswith("layers."):
        return name
    _, layer, part, _ = name.split(".")
    room = "" if part.startswith("ln") else "attn." if part in "qkvo" else "mlp."
    return f"blocks.{layer}.{room}{part}.weight"

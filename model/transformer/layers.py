"""Parts of a layer: RMSNorm, rotary positions, gated MLP, and attention on two paths.

The fused path calls one attention kernel; the hooked path builds every score and pattern and runs
only where somebody listens to them. A test holds the two together.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.locality.bias import DialBias
from model.transformer.config import DecoderConfig
from model.transformer.hooks import HookPoint

ROWS_AT_A_TIME = 64


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.eps = config.norm_eps
        self.weight = nn.Parameter(torch.ones(config.d_model))
        self.hook_normalized = HookPoint()

    def forward(self, x: Tensor) -> Tensor:
        return self.hook_normalized(F.rms_norm(x, (x.shape[-1],), self.weight, self.eps))


def rotary_table(config: DecoderConfig) -> tuple[Tensor, Tensor]:
    """cos and sin of every angle: [position, d_head] each, the two halves of d_head paired."""
    half = torch.arange(0, config.d_head, 2, dtype=torch.float64) / config.d_head
    angle = torch.outer(torch.arange(config.n_ctx, dtype=torch.float64), config.rope_theta**-half)
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions on x [batch, position, head, d_head]; cos, sin [position, d_head]."""
    left, right = x.chunk(2, dim=-1)
    return x * cos[:, None] + torch.cat((-right, left), dim=-1) * sin[:, None]


class Attention(nn.Module):
    """Grouped-query attention with rotary positions and an optional dial."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        n, kv, d = config.n_heads, config.n_kv_heads, config.d_head
        self.q = nn.Linear(config.d_model, n * d, bias=False)
        self.k = nn.Linear(config.d_model, kv * d, bias=False)
        self.v = nn.Linear(config.d_model, kv * d, bias=False)
        self.o = nn.Linear(n * d, config.d_model, bias=False)
        self.hook_q, self.hook_k, self.hook_v = HookPoint(), HookPoint(), HookPoint()
        self.hook_rot_q, self.hook_rot_k = HookPoint(), HookPoint()
        self.hook_attn_scores, self.hook_pattern = HookPoint(), HookPoint()
        self.hook_z = HookPoint()

    def forward(
        self,
        x: Tensor,
        rotary: tuple[Tensor, Tensor],
        causal: Tensor,
        bias: DialBias | None = None,
        tau: Tensor | None = None,
    ) -> Tensor:
        """x [batch, position, d_model] -> the same shape.

        causal: [query, key], 0 where visible and -inf elsewhere. bias: None for the plain model.
        tau: [batch or 1, head], divides the raw scores, or None for 1.
        """
        q, k, v = self.projections(x, rotary)
        if self.hook_attn_scores.has_hooks() or self.hook_pattern.has_hooks():
            scores = self.hook_attn_scores(self.scores(q, k) + causal)
            added = None if bias is None else bias.rows()
            pattern = self.hook_pattern(edited(scores, added, tau).softmax(dim=-1))
            z = self.mix(pattern, v)
        else:
            if tau is not None:
                q = q / tau[:, None, :, None].to(q.dtype)
            z = self.fused(q, k, v, bias)
        return self.output(z)

    def projections(self, x: Tensor, rotary: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        """Rotated queries, rotated keys and values: [batch, position, head, d_head] each."""
        batch, length, _ = x.shape
        q = self.hook_q(self.q(x).view(batch, length, -1, self.config.d_head))
        k = self.hook_k(self.k(x).view(batch, length, -1, self.config.d_head))
        v = self.hook_v(self.v(x).view(batch, length, -1, self.config.d_head))
        cos, sin = rotary
        return self.hook_rot_q(rotate(q, cos, sin)), self.hook_rot_k(rotate(k, cos, sin)), v

    def fused(self, q: Tensor, k: Tensor, v: Tensor, bias: DialBias | None) -> Tensor:
        """The kernel's answer, [batch, position, head, d_head].

        A mask makes the kernel read every key of a row; some rows at a time read no key that is
        later than all of them, and their bias stays in the cache. With gradients all rows go at
        once: keys cut many times cost more on the way back than they save.
        """
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        gqa = self.config.n_kv_heads != self.config.n_heads
        if bias is None:
            z = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=gqa)
            return z.transpose(1, 2)
        length = q.shape[2]
        step = length if torch.is_grad_enabled() else ROWS_AT_A_TIME
        parts = []
        for start in range(0, length, step):
            stop = min(start + step, length)
            part = F.scaled_dot_product_attention(
                q[:, :, start:stop],
                k[:, :, :stop],
                v[:, :, :stop],
                attn_mask=bias.rows(start, stop),
                enable_gqa=gqa,
            )
            parts.append(part.transpose(1, 2))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def scores(self, q: Tensor, k: Tensor) -> Tensor:
        """Raw scores s_ij before mask and dial, nats: [batch, head, query, key]."""
        k = self._to_all_heads(k)
        return (q.transpose(1, 2) * self.config.d_head**-0.5) @ k.permute(0, 2, 3, 1)

    def mix(self, pattern: Tensor, v: Tensor) -> Tensor:
        """Values weighted by the pattern: [batch, position, head, d_head]."""
        return (pattern @ self._to_all_heads(v).transpose(1, 2)).transpose(1, 2)

    def output(self, z: Tensor) -> Tensor:
        """Heads' results [batch, position, head, d_head] -> [batch, position, d_model]."""
        return self.o(self.hook_z(z).flatten(2))

    def _to_all_heads(self, x: Tensor) -> Tensor:
        repeats = self.config.n_heads // self.config.n_kv_heads
        return x if repeats == 1 else x.repeat_interleave(repeats, dim=2)


def edited(scores: Tensor, bias: Tensor | None, tau: Tensor | None) -> Tensor:
    """Masked raw scores after temperature and bias, nats: the hooked path's s'."""
    if tau is not None:
        scores = scores / tau[:, :, None, None].to(scores.dtype)
    return scores if bias is None else scores + bias


class GatedMLP(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(config.d_model, config.d_mlp, bias=False)
        self.up = nn.Linear(config.d_model, config.d_mlp, bias=False)
        self.down = nn.Linear(config.d_mlp, config.d_model, bias=False)
        self.hook_pre, self.hook_pre_linear, self.hook_post = HookPoint(), HookPoint(), HookPoint()

    def forward(self, x: Tensor) -> Tensor:
        pre = self.hook_pre(self.gate(x))
        return self.down(self.hook_post(F.silu(pre) * self.hook_pre_linear(self.up(x))))


class Layer(nn.Module):
    """One transformer layer; TransformerLens names it `blocks.{l}`, the field's oldest habit."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.ln1, self.ln2 = RMSNorm(config), RMSNorm(config)
        self.attn, self.mlp = Attention(config), GatedMLP(config)
        self.hook_resid_pre, self.hook_resid_mid = HookPoint(), HookPoint()
        self.hook_resid_post = HookPoint()
        self.hook_attn_out, self.hook_mlp_out = HookPoint(), HookPoint()

    def forward(
        self,
        resid: Tensor,
        rotary: tuple[Tensor, Tensor],
        causal: Tensor,
        bias: DialBias | None = None,
        tau: Tensor | None = None,
    ) -> Tensor:
        """resid [batch, position, d_model] -> the same shape; the rest as in `Attention`."""
        resid = self.hook_resid_pre(resid)
        attended = self.attn(self.ln1(resid), rotary, causal, bias, tau)
        return self.after_attention(resid, attended)

    def after_attention(self, resid: Tensor, attended: Tensor) -> Tensor:
        """The rest of the layer, once attention's output is known."""
        resid = self.hook_resid_mid(resid + self.hook_attn_out(attended))
        return self.hook_resid_post(resid + self.hook_mlp_out(self.mlp(self.ln2(resid))))

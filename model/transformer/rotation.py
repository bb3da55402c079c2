"""The same decoder in another basis of its residual stream, with the gains of its norms folded in.

RMSNorm without a gain commutes with every orthogonal matrix, so that writing the residual stream as
x = basis x' changes no logit once each matrix that reads or writes it is turned as well:

    read   (q, k, v, gate, up, unembed)     W' = W diag(gain) basis
    write  (o, down)                        W' = basis^T W
    embed  (rows are tokens)                E' = E basis

With the subspaces of blocks as basis, "this head does not read block b" is a slice of columns of
`q.weight` or `k.weight` that holds literal zeros: stored in float32 it stays zero, which
`basis @ Z` would not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from model.errors import SubspaceError
from model.transformer.decoder import Decoder
from model.transformer.layers import Layer, RMSNorm

# Of ||basis^T basis - 1||, the largest entry that a basis made in float64 can have by rounding.
ORTHOGONAL_WITHIN = 1e-9


def rotated(decoder: Decoder, basis: Tensor) -> Decoder:
    """A new decoder with the logits of `decoder`, whose residual stream is basis^T times the old.

    basis: float64 [d_model, d_model], orthogonal. The gains of the norms before attention and MLP
    become exactly 1. The last norm's gain commutes with the basis only where it is one number: then
    it stays, and tied embeddings stay tied; else it goes into an output matrix of its own. Logits
    agree up to rounding in the decoder's dtype. SubspaceError where basis is not orthogonal.
    """
    config = decoder.config
    check_orthogonal(basis, config.d_model)
    final = decoder.ln_final.weight.detach()
    constant = bool((final == final[0]).all())
    tied = config.tied_embeddings and constant
    turned = Decoder(replace(config, tied_embeddings=tied)).to(decoder.embed.weight)
    basis = basis.to(decoder.embed.weight.device, torch.float64)

    def read(weight: Tensor, norm: RMSNorm | None) -> Tensor:
        gain = 1.0 if norm is None else norm.weight.detach().double()
        return (weight.detach().double() * gain) @ basis

    def write(weight: Tensor) -> Tensor:
        return basis.T @ weight.detach().double()

    with torch.no_grad():
        turned.embed.weight.copy_(read(decoder.embed.weight, None))
        for old, new in zip(layers_of(decoder), layers_of(turned), strict=True):
            for name in ("q", "k", "v"):
                source = getattr(old.attn, name).weight
                getattr(new.attn, name).weight.copy_(read(source, old.ln1))
            for name in ("gate", "up"):
                source = getattr(old.mlp, name).weight
                getattr(new.mlp, name).weight.copy_(read(source, old.ln2))
            new.attn.o.weight.copy_(write(old.attn.o.weight))
            new.mlp.down.weight.copy_(write(old.mlp.down.weight))
        if constant:
            turned.ln_final.weight.copy_(final)
        if not tied:
            norm = None if constant else decoder.ln_final
            turned.unembed.weight.copy_(read(decoder.unembed.weight, norm))
    return turned.train(decoder.training).requires_grad_(decoder.embed.weight.requires_grad)


def check_orthogonal(basis: Tensor, d_model: int) -> None:
    """SubspaceError unless basis is [d_model, d_model], finite and orthogonal."""
    if tuple(basis.shape) != (d_model, d_model):
        raise SubspaceError(
            "Basis",
            tuple(basis.shape),
            f"must be [{d_model}, {d_model}]",
            "Give one column for each dimension of the residual stream",
        )
    gram = basis.double().T @ basis.double()
    error = (gram - torch.eye(d_model, dtype=torch.float64, device=gram.device)).abs().amax()
    if not float(error) <= ORTHOGONAL_WITHIN:  # also where it is NaN
        raise SubspaceError(
            "Basis",
            float(error),
            f"basis^T basis may differ from the unit matrix by {ORTHOGONAL_WITHIN} at most",
            "Orthonormalise its columns in float64",
        )


def gains_folded(decoder: Decoder) -> bool:
    """Whether every norm before attention has a gain of exactly 1, as after `rotated`."""
    return all(bool((layer.ln1.weight == 1.0).all()) for layer in layers_of(decoder))


def layers_of(decoder: Decoder) -> list[Layer]:
    """The layers, with their type."""
    return cast(list[Layer], list(decoder.blocks))

"""A decoder in another basis: the same logits, gains of one, zeros that are stored as zeros."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save

from model.errors import SubspaceError
from model.locality.dial import Dial
from model.transformer.rotation import gains_folded, rotated
from tests.factories import TINY, lively_decoder, tiny_case


def orthogonal(size: int, seed: int = 0) -> torch.Tensor:
    """A random rotation, float64."""
    drawn = torch.randn(
        size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return torch.linalg.qr(drawn)[0]


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("value", [0.0, 0.7, 1.0])
def test_logits_agree_at_every_dial(dtype, within, value, seed) -> None:
    decoder, ids, relevance = tiny_case(seed=seed)
    decoder = decoder.to(dtype)
    turned = rotated(decoder, orthogonal(TINY.d_model, seed))
    expected = decoder(ids, Dial(value), relevance)
    error = (turned(ids, Dial(value), relevance) - expected).abs().max() / expected.abs().max()
    assert error <= within
    assert gains_folded(turned) and not gains_folded(decoder)


def test_a_turned_matrix_left_out_is_noticed(seed) -> None:
    decoder, ids, _ = tiny_case(seed=seed)
    turned = rotated(decoder, orthogonal(TINY.d_model, seed))
    with torch.no_grad():
        turned.blocks[1].mlp.up.weight.copy_(decoder.blocks[1].mlp.up.weight)
    assert (turned(ids) - decoder(ids)).abs().max() > 1e-2


def test_the_residual_stream_is_the_old_one_in_the_new_basis(seed) -> None:
    decoder, ids, _ = tiny_case(seed=seed)
    decoder, basis = decoder.double(), orthogonal(TINY.d_model, seed)
    name = "blocks.1.hook_resid_post"
    old = decoder.run_with_cache(ids, names_filter=name)[1][name]
    new = rotated(decoder, basis).run_with_cache(ids, names_filter=name)[1][name]
    assert torch.allclose(new @ basis.T, old, atol=1e-12)


def test_embeddings_stay_tied_only_where_the_last_gain_is_one_number(seed) -> None:
    decoder, ids, _ = tiny_case(seed=seed)
    basis = orthogonal(TINY.d_model, seed)
    assert not rotated(decoder, basis).config.tied_embeddings
    with torch.no_grad():
        decoder.ln_final.weight.fill_(1.25)
    turned = rotated(decoder, basis)
    assert turned.config.tied_embeddings and turned.unembed.weight is turned.embed.weight
    assert torch.allclose(turned(ids), decoder(ids), rtol=1e-4, atol=1e-4)
    own = lively_decoder(replace(TINY, tied_embeddings=False), seed)
    assert torch.allclose(rotated(own, basis)(ids), own(ids), rtol=1e-4, atol=1e-4)


def test_turning_back_gives_the_first_logits(seed) -> None:
    decoder, ids, _ = tiny_case(seed=seed)
    decoder, basis = decoder.double(), orthogonal(TINY.d_model, seed)
    assert torch.allclose(rotated(rotated(decoder, basis), basis.T)(ids), decoder(ids), atol=1e-10)


def test_zeros_survive_storage_in_the_rotated_basis_and_only_there(seed) -> None:
    decoder, _, _ = tiny_case(seed=seed)
    basis = orthogonal(TINY.d_model, seed)
    turned = rotated(decoder, basis)
    with torch.no_grad():
        turned.blocks[0].attn.q.weight[:, :5] = 0.0
    q = load(save(turned.state_dict()))["blocks.0.attn.q.weight"]
    assert (q[:, :5] == 0).all() and (q[:, 5:] != 0).all()
    unturned = (q.double() @ basis.T).float()
    assert ((unturned.double() @ basis)[:, :5] != 0).any()


@pytest.mark.parametrize(
    "basis",
    [torch.eye(5), 1.1 * torch.eye(24), torch.full((24, 24), float("nan")), torch.ones(24, 24)],
)
def test_a_basis_that_is_none_is_refused(basis) -> None:
    with pytest.raises(SubspaceError, match="Basis is"):
        rotated(lively_decoder(), basis)

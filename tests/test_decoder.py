"""The decoder against two references, on both paths, with and without the dial."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from model.errors import CheckpointError, DialError, TextError
from model.locality.dial import Dial, Schedule
from model.locality.relevance import Relevance
from model.transformer.config import DecoderConfig
from model.transformer.decoder import Decoder
from tests.factories import TINY, lively_decoder, random_reads, random_text, tiny_case
from tests.references import naive_decoder

SETTINGS = [
    Dial(0.0),
    Dial(0.3),
    Dial(0.97, gain=2.5, temperature=0.4),
    Dial(1.0),
    Dial(0.8, schedule=Schedule("progressive", beta=3.0)),
    Dial(1.0, temperature=3.0, schedule=Schedule("progressive", beta=1.0)),
]


@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
@pytest.mark.parametrize("tied", [True, False])
def test_logits_equal_hugging_faces_llama(n_kv_heads: int, tied: bool) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = replace(TINY, n_kv_heads=n_kv_heads, tied_embeddings=tied)
    decoder = lively_decoder(config)
    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config.d_vocab,
            hidden_size=config.d_model,
            intermediate_size=config.d_mlp,
            num_hidden_layers=config.n_layers,
            num_attention_heads=config.n_heads,
            num_key_value_heads=config.n_kv_heads,
            head_dim=config.d_head,
            max_position_embeddings=config.n_ctx,
            rms_norm_eps=config.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
            tie_word_embeddings=tied,
            attn_implementation="eager",
        )
    ).eval()
    ours = decoder.state_dict()
    theirs = {
        "lm_head.weight": ours["unembed.weight"],
        "model.norm.weight": ours["ln_final.weight"],
    }
    theirs["model.embed_tokens.weight"] = ours["embed.weight"]
    names = {
        "ln1": "input_layernorm",
        "ln2": "post_attention_layernorm",
        **{f"attn.{part}": f"self_attn.{part}_proj" for part in "qkvo"},
        **{f"mlp.{part}": f"mlp.{part}_proj" for part in ("gate", "up", "down")},
    }
    for layer in range(config.n_layers):
        for mine, yours in names.items():
            theirs[f"model.layers.{layer}.{yours}.weight"] = ours[f"blocks.{layer}.{mine}.weight"]
    llama.load_state_dict(theirs)
    ids, _ = random_text(3, 40)
    with torch.no_grad():
        expected = llama(ids).logits
    assert expected.std() > 0.5
    assert (decoder(ids) - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("dial", [d for d in SETTINGS if d.schedule.kind == "uniform"])
@pytest.mark.parametrize("hooked", [False, True])
def test_logits_equal_the_naive_float64_reference(dial: Dial, hooked: bool) -> None:
    decoder, ids, relevance = tiny_case()
    decoder = decoder.double()
    relevance = replace(relevance, table=relevance.table.double())
    if hooked:
        logits, _ = decoder.run_with_cache(ids, dial, relevance)
    else:
        logits = decoder(ids, dial, relevance)
    weights = {name: value.numpy() for name, value in decoder.state_dict().items()}
    r = np.stack([relevance.raw(layer).numpy() for layer in range(TINY.n_layers)])
    for row in range(len(ids)):
        expected = naive_decoder.logits(
            weights, ids[row].tolist(), TINY.n_heads, TINY.n_kv_heads, TINY.norm_eps,
            TINY.rope_theta, r[:, row], float(dial.value), dial.gain, dial.temperature,
        )  # fmt: skip
        assert np.abs(logits[row].numpy() - expected).max() <= 1e-10


def test_the_naive_reference_notices_a_wrong_weight() -> None:
    decoder, ids, _ = tiny_case()
    decoder = decoder.double()
    weights = {name: value.clone().numpy() for name, value in decoder.state_dict().items()}
    weights["blocks.1.attn.k.weight"][3, 2] += 1e-3
    wrong = naive_decoder.logits(
        weights, ids[0].tolist(), TINY.n_heads, TINY.n_kv_heads, TINY.norm_eps, TINY.rope_theta
    )
    assert np.abs(decoder(ids)[0].numpy() - wrong).max() > 1e-8


@pytest.mark.parametrize("dial", SETTINGS)
def test_fused_and_hooked_paths_agree(dial: Dial) -> None:
    decoder, ids, relevance = tiny_case(batch=3, length=30)
    fused = decoder(ids, dial, relevance)
    hooked, cache = decoder.run_with_cache(ids, dial, relevance)
    assert (fused - hooked).abs().max() <= 1e-5
    assert "blocks.2.attn.hook_pattern" in cache


@pytest.mark.parametrize("rest", [0.0, 0.5])
@pytest.mark.parametrize("value", [0.6, 1.0, (0.0, 0.6, 1.0)])
def test_rows_taken_some_at_a_time_agree_with_all_at_once(rest: float, value: Any) -> None:
    """Without gradients the fused path cuts long texts; 150 is no multiple of its step."""
    decoder = lively_decoder(replace(TINY, n_ctx=160))
    ids, classes = random_text(3, 150)
    reads = random_reads(TINY.n_layers, TINY.n_heads, share=0.05, rest=rest)
    relevance = Relevance.compile(classes, reads)
    with torch.no_grad():
        parts = decoder(ids, Dial(value), relevance)
    largest = parts.abs().max()
    assert (decoder(ids, Dial(value), relevance) - parts).abs().max() <= 1e-5 * largest
    hooked, _ = decoder.run_with_cache(ids, Dial(value), relevance)
    assert (hooked - parts).abs().max() <= 1e-5 * largest


@pytest.mark.parametrize("hooked", [False, True])
def test_dial_zero_is_the_plain_model_bit_for_bit(hooked: bool) -> None:
    decoder, ids, relevance = tiny_case(batch=3, length=30)

    def run(*args: object) -> torch.Tensor:
        return decoder.run_with_cache(ids, *args)[0] if hooked else decoder(ids, *args)

    plain = run()
    for dial in (Dial(0.0), Dial(0.0, temperature=5.0), Dial((0.0, 0.0, 0.0))):
        assert torch.equal(plain, run(dial, relevance))
    assert torch.equal(plain, run(Dial(0.0)))
    assert not torch.equal(plain, run(Dial(0.01), relevance))


def test_a_layer_whose_schedule_is_zero_runs_plain() -> None:
    decoder, ids, relevance = tiny_case()
    progressive = Dial(1.0, schedule=Schedule("progressive", beta=1.0))
    _, plain = decoder.run_with_cache(ids)
    _, dialled = decoder.run_with_cache(ids, progressive, relevance)
    assert torch.equal(plain["blocks.0.attn.hook_pattern"], dialled["blocks.0.attn.hook_pattern"])
    assert not torch.equal(
        plain["blocks.1.attn.hook_pattern"], dialled["blocks.1.attn.hook_pattern"]
    )


def test_one_dial_a_sequence_equals_each_alone() -> None:
    decoder, ids, relevance = tiny_case(batch=3)
    values = (0.0, 0.4, 1.0)
    together = decoder(ids, Dial(values), relevance)
    for row, value in enumerate(values):
        alone = decoder(ids, Dial(value), relevance)[row]
        assert (together[row] - alone).abs().max() <= 1e-5


def test_hooks_edit_and_read_as_transformer_lens_users_expect() -> None:
    decoder, ids, relevance = tiny_case()

    def only_self(pattern: torch.Tensor, hook: object) -> torch.Tensor:
        return torch.eye(pattern.shape[-1]).expand_as(pattern)

    edited = decoder.run_with_hooks(ids, fwd_hooks=[("blocks.1.attn.hook_pattern", only_self)])
    assert (edited - decoder(ids)).abs().max() > 1e-3
    assert torch.equal(decoder(ids), decoder(ids))
    _, cache = decoder.run_with_cache(ids, Dial(0.5), relevance)
    layers = range(TINY.n_layers)
    expected = {
        "hook_embed": (2, 11, 24),
        "ln_final.hook_normalized": (2, 11, 24),
        **{
            f"blocks.{n}.hook_resid_{p}": (2, 11, 24)
            for n in layers
            for p in ("pre", "mid", "post")
        },
        **{f"blocks.{n}.hook_{p}_out": (2, 11, 24) for n in layers for p in ("attn", "mlp")},
        **{f"blocks.{n}.attn.hook_attn_scores": (2, 4, 11, 11) for n in layers},
        **{f"blocks.{n}.attn.hook_pattern": (2, 4, 11, 11) for n in layers},
        **{f"blocks.{n}.attn.hook_q": (2, 11, 4, 6) for n in layers},
        **{f"blocks.{n}.attn.hook_k": (2, 11, 2, 6) for n in layers},
        **{f"blocks.{n}.attn.hook_v": (2, 11, 2, 6) for n in layers},
        **{f"blocks.{n}.attn.hook_z": (2, 11, 4, 6) for n in layers},
        **{f"blocks.{n}.mlp.hook_post": (2, 11, 40) for n in layers},
    }
    for name, shape in expected.items():
        assert cache[name].shape == shape, name
    assert torch.equal(
        cache["blocks.0.hook_resid_pre"] + cache["blocks.0.hook_attn_out"],
        cache["blocks.0.hook_resid_mid"],
    )


def test_cached_scores_are_raw_and_cached_pattern_is_dialled() -> None:
    decoder, ids, relevance = tiny_case()
    _, plain = decoder.run_with_cache(ids)
    _, dialled = decoder.run_with_cache(ids, Dial(1.0), relevance)
    name = "blocks.0.attn.hook_attn_scores"
    assert torch.equal(plain[name], dialled[name])
    pattern = dialled["blocks.0.attn.hook_pattern"]
    assert torch.allclose(pattern.sum(-1), torch.ones(()), atol=1e-6)
    assert (pattern[relevance.dense(0) == 0] == 0).all()


@pytest.mark.parametrize("value", [0.0, 0.6, 1.0])
def test_logits_never_look_ahead(value: float) -> None:
    decoder, ids, _ = tiny_case(length=20)
    _, classes = random_text(2, 20)
    reads = random_reads(TINY.n_layers, TINY.n_heads)
    for t in (1, 7, 18):
        other_ids, other_classes = random_text(2, 20, seed=99)
        changed, changed_classes = ids.clone(), classes.clone()
        changed[:, t + 1 :], changed_classes[:, t + 1 :] = (
            other_ids[:, t + 1 :],
            other_classes[:, t + 1 :],
        )
        before = decoder(ids, Dial(value), Relevance.compile(classes, reads))
        after = decoder(changed, Dial(value), Relevance.compile(changed_classes, reads))
        assert torch.equal(before[:, : t + 1], after[:, : t + 1])
        assert not torch.equal(before[:, t + 1 :], after[:, t + 1 :])


def test_seed_decides_the_weights() -> None:
    same, other = Decoder(TINY, seed=4).state_dict(), Decoder(TINY, seed=5).state_dict()
    for name, value in Decoder(TINY, seed=4).state_dict().items():
        assert torch.equal(value, same[name])
    assert not torch.equal(same["embed.weight"], other["embed.weight"])


def test_unfit_input_is_refused_with_the_remedy() -> None:
    decoder, ids, relevance = tiny_case()
    with pytest.raises(DialError, match="Give the relevance of these tokens"):
        decoder(ids, Dial(0.5))
    with pytest.raises(DialError, match="Compile the relevance of these tokens"):
        decoder(ids[:, :5], Dial(0.5), relevance)
    with pytest.raises(DialError, match="one a sequence"):
        decoder(ids, Dial((0.5, 0.5, 0.5)), relevance)
    with pytest.raises(TextError, match="at most 48"):
        decoder(torch.zeros(1, 49, dtype=torch.int64))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_head": 5}, "must be even"),
        ({"n_kv_heads": 3}, "must divide n_heads"),
        ({"n_layers": 0}, "must be a positive int"),
        ({"n_layers": True}, "must be a positive int"),
        ({"norm_eps": "small"}, "must be a positive float"),
        ({"colour": "red"}, "no others than"),
    ],
)
def test_config_refuses(change: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        DecoderConfig.from_dict({**TINY.to_dict(), **change})
    incomplete = TINY.to_dict()
    del incomplete["d_model"]
    with pytest.raises(CheckpointError, match="d_model"):
        DecoderConfig.from_dict(incomplete)

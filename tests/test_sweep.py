"""The sweep service on a tiny model, against one hooked call a window and dial."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from model.blocks.lexicon import Lexicon
from model.blocks.partition import Partition
from model.errors import DialError, TextError
from model.locality.dial import Dial
from model.locality.measures import Masks, row_measures
from model.locality.reads import Reads
from model.locality.relevance import Relevance
from model.transformer.checkpoint import LoadedModel
from model.transformer.config import DecoderConfig
from model.transformer.tokenizer import Tokenizer
from tests.factories import lively_decoder
from workbench import paths
from workbench.sweep import REPORTED, cut, sweep

TEXTS = ["a sweet red fruit", 'the act of eating; "he ate"', "x", "naïve 🙂 \x00 text"]


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    tokenizer = Tokenizer.load(paths.SAMPLE_DATA / "tokenizer.json")
    partition = Partition.load(paths.SAMPLE_DATA / "blocks.json")
    lexicon = Lexicon.load(paths.SAMPLE_DATA / "lexicon.tsv", partition)
    decoder = lively_decoder(DecoderConfig(tokenizer.d_vocab, 24, 2, 3, 3, 8, 32, 64))
    generator = torch.Generator().manual_seed(0)
    n = partition.n_classes
    reads = Reads(
        torch.rand(2, 3, n, n, generator=generator) < 0.3,
        torch.rand(2, 3, n, 3, generator=generator) < 0.3,
        partition.class_names,
    )
    return LoadedModel(decoder, tokenizer, partition, lexicon, reads, {}, "0" * 64)


@pytest.mark.parametrize("window", [3, 8, 64])
def test_sweep_equals_single_hooked_calls(model: LoadedModel, window: int) -> None:
    dials = (0.0, 0.6, 1.0)
    found = sweep(model, TEXTS, dials, window)["dials"]
    windows = cut(model, TEXTS, window)
    for entry, value in zip(found, dials, strict=True):
        nats, rows = [], []
        for each in windows:
            ids = torch.from_numpy(each.ids)[None]
            relevance = Relevance.compile(torch.from_numpy(each.classes)[None], model.reads)
            logits, cache = model.decoder.run_with_cache(ids, Dial(value), relevance)
            nats += (-logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])).tolist()
            layers = [
                row_measures(cache[f"blocks.{n}.attn.hook_pattern"], Masks.of(relevance, n))
                for n in range(2)
            ]
            rows.append(torch.stack([torch.stack([m[k][0] for k in REPORTED]) for m in layers]))
        means = torch.cat([r[..., 1:] for r in rows], dim=-1).mean(-1)  # [layer, measure, head]
        assert entry["nats_per_token"] == pytest.approx(np.mean(nats), abs=1e-5)
        assert entry["perplexity"] == pytest.approx(math.exp(entry["nats_per_token"]))
        assert entry["tokens"] == len(nats) == sum(len(w.ids) - 1 for w in windows)
        for index, name in enumerate(REPORTED):
            assert entry[name] == pytest.approx(float(means[:, index].mean()), abs=1e-5), name
            for head in entry["heads"]:
                number = float(means[head["layer"], index, head["head"]])
                assert head[name] == pytest.approx(number, abs=1e-5), name


def test_every_token_is_predicted_once_whatever_the_window(model: LoadedModel) -> None:
    expected = sum(len(model.tokenizer.encode(text)) for text in TEXTS)
    for window in (2, 5, 64):
        windows = cut(model, TEXTS, window)
        assert sum(len(each.ids) - 1 for each in windows) == expected
        assert all(each.ids[0] == model.tokenizer.bos_id for each in windows)
        assert max(len(each.ids) for each in windows) <= window


def test_what_a_sweep_refuses(model: LoadedModel) -> None:
    with pytest.raises(TextError, match=r"\[2, 64\]"):
        sweep(model, TEXTS, [0.0], window=65)
    with pytest.raises(TextError, match="no token"):
        sweep(model, [""], [0.0])
    with pytest.raises(TextError, match="at least one"):
        sweep(model, TEXTS, [])
    with pytest.raises(DialError):
        sweep(model, TEXTS, [0.0, math.nan])


def test_progress_counts_windows(model: LoadedModel) -> None:
    seen: list[tuple[int, int]] = []
    sweep(model, TEXTS, [0.0], 3, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == len(cut(model, TEXTS, 3))

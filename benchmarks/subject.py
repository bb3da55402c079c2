"""What is measured: the bundled model where it is there, else its size with random weights.

Random weights and reads cost what trained ones do; no measure of speed looks at what they say. The
text is WordNet's glosses either way, so that blocks come as often as they do in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.blocks.lexicon import Lexicon
from model.blocks.membership import MembershipTable
from model.blocks.partition import Partition
from model.locality.reads import Reads
from model.training.batches import Batch, Documents
from model.training.corpus import load_glosses
from model.training.presets import PRESETS, Preset
from model.transformer.checkpoint import LoadedModel, save_model
from model.transformer.config import DecoderConfig
from model.transformer.decoder import Decoder
from model.transformer.tokenizer import Tokenizer
from workbench.models import list_models, open_model
from workbench.sources import BLOCKS, LEXICON, TOKENIZER, documents

BUNDLED = "bundled"
RANDOM = "random-weights"
_EVERY = 40  # one gloss in so many: some 3,000, enough for every shape


@dataclass(frozen=True)
class Subject:
    """A model, its name, and whether its weights were drawn instead of trained."""

    model: LoadedModel
    name: str

    @property
    def is_random(self) -> bool:
        return self.name != BUNDLED

    @property
    def recipe(self) -> Preset:
        return PRESETS[BUNDLED]

    @property
    def label(self) -> str:
        config, classes = self.model.config, self.model.partition.n_classes
        return (
            f"{'random' if self.is_random else 'bundled'} weights, {config.n_layers} layers of "
            f"{config.n_heads} heads, d_model {config.d_model}, vocabulary {config.d_vocab}, "
            f"{classes} classes"
        )

    def text(self, length: int) -> str:
        """A text that the model's tokenizer cuts into so many tokens, BOS included."""
        encode, found = self.model.tokenizer.encode, ""
        for word in " ".join(_glosses()).split():
            longer = f"{found} {word}".strip()
            count = len(encode(longer))
            if count < length:
                found = longer
            if count == length - 1:
                return found
        raise ValueError(f"The glosses hold no text of {length} tokens")

    def prompt(self, length: int) -> tuple[Tensor, Tensor]:
        """That text: ids and classes, int64 [1, length]."""
        tokenizer = self.model.tokenizer
        ids = np.array([tokenizer.bos_id, *tokenizer.encode(self.text(length))], dtype=np.int64)
        classes = self._table.classes_for_ids(ids)
        return torch.from_numpy(ids)[None], torch.from_numpy(classes)[None]

    def batches(self, rows: int, length: int, count: int) -> list[Batch]:
        """`count` batches of packed windows as in training, int64 [rows, length] each."""
        ids, classes = self._documents.packed(length, seed=0)
        return [
            Batch(ids[start : start + rows], classes[start : start + rows])
            for start in range(0, rows * count, rows)
        ]

    @cached_property
    def _table(self) -> MembershipTable:
        model = self.model
        return MembershipTable(model.tokenizer.token_bytes, model.partition, model.lexicon)

    @cached_property
    def _documents(self) -> Documents:
        encoded = self.model.tokenizer.encode_batch(_glosses())
        ids = [np.asarray(each, dtype=np.int64) for each in encoded]
        return documents(ids, self._table, self.model.tokenizer)


@cache
def _glosses() -> list[str]:
    return [gloss.text for gloss in load_glosses()[::_EVERY]]


def subject() -> Subject:
    """The bundled model, or what takes its place."""
    if any(card.name == BUNDLED and not card.error for card in list_models()):
        return Subject(open_model(BUNDLED, "cpu"), BUNDLED)
    return Subject(random_model(PRESETS[BUNDLED]), RANDOM)


def random_model(recipe: Preset) -> LoadedModel:
    """A model of the recipe's size, with weights and reads from its seed."""
    tokenizer, partition = Tokenizer.load(TOKENIZER), Partition.load(BLOCKS)
    sizes = ("d_model", "n_layers", "n_heads", "n_kv_heads", "d_head", "d_mlp", "n_ctx")
    config = DecoderConfig(tokenizer.d_vocab, **{name: getattr(recipe, name) for name in sizes})
    decoder = Decoder(config, seed=recipe.seed).eval().requires_grad_(False)
    reads = random_reads(config, partition.class_names, recipe)
    lexicon = Lexicon.load(LEXICON, partition)
    return LoadedModel(decoder, tokenizer, partition, lexicon, reads, {}, "0" * 64)


def random_reads(config: DecoderConfig, names: Sequence[str], recipe: Preset) -> Reads:
    """As many reads as the recipe allows; rows that read nothing rest on the sink, as it does."""
    generator = torch.Generator().manual_seed(recipe.seed)
    shape, n = (config.n_layers, config.n_heads), len(names)
    blocks = torch.rand(*shape, n, n, generator=generator) < recipe.relevant_share
    allowances = torch.rand(*shape, n, 3, generator=generator) < recipe.relevant_share
    return Reads(blocks, allowances, tuple(names), recipe.rest)


def save(subject: Subject, store: Path) -> None:
    """Put the model into a store, for a server that opens it by its name."""
    model = subject.model
    save_model(
        store / "models" / subject.name,
        model.decoder,
        model.tokenizer,
        model.partition,
        model.lexicon,
        model.reads,
        {"title": "Random weights", "description": "for benchmarks", "trained_tokens": 0},
    )

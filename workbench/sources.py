"""What a training run reads: tokenizer, blocks, lexicon, and encoded texts with their classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.blocks.lexicon import Lexicon
from model.blocks.membership import MembershipTable
from model.blocks.partition import Partition
from model.blocks.random import random_blocks
from model.training.batches import Documents
from model.training.corpus import data_hash, encode_split, load_glosses
from model.transformer.tokenizer import Tokenizer
from workbench.paths import SAMPLE_DATA

BLOCKS = SAMPLE_DATA / "blocks.json"
LEXICON = SAMPLE_DATA / "lexicon.tsv"
TOKENIZER = SAMPLE_DATA / "tokenizer.json"


@dataclass(frozen=True)
class Sources:
    """All of it, in one piece. data_sha256: hash of the data manifest."""

    tokenizer: Tokenizer
    partition: Partition
    lexicon: Lexicon
    training: Documents
    validation: Documents
    data_sha256: str


def load_sources() -> Sources:
    """The sample data: a few seconds, most of them for the classes of three million tokens."""
    tokenizer, partition = Tokenizer.load(TOKENIZER), Partition.load(BLOCKS)
    lexicon = Lexicon.load(LEXICON, partition)
    glosses = load_glosses()
    table = MembershipTable(tokenizer.token_bytes, partition, lexicon)
    training, validation = (
        documents(encode_split(split, tokenizer, glosses), table, tokenizer)
        for split in ("train", "validation")
    )
    return Sources(tokenizer, partition, lexicon, training, validation, data_hash())


def documents(ids: Sequence[np.ndarray], table: MembershipTable, tokenizer: Tokenizer) -> Documents:
    """Encoded texts, each with the class of every token."""
    classes = [table.classes_for_ids(doc) for doc in ids]
    return Documents(ids, classes, tokenizer.bos_id, table.partition.bos_id)


def with_random_blocks(sources: Sources, seed: int) -> Sources:
    """The same texts under a random partition whose blocks keep their sizes: the control."""
    tokenizer = sources.tokenizer
    partition, lexicon = random_blocks(
        sources.training.ids, tokenizer.token_bytes, sources.partition, sources.lexicon, seed
    )
    table = MembershipTable(tokenizer.token_bytes, partition, lexicon)
    return replace(
        sources,
        partition=partition,
        lexicon=lexicon,
        training=documents(sources.training.ids, table, tokenizer),
        validation=documents(sources.validation.ids, table, tokenizer),
    )

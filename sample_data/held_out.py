"""Draws the held-out glosses that the Coding page reads: `python -m sample_data.held_out`.

To split 117,659 glosses takes seconds, and a page should not wait for it: the few that it reads
are stored in held_out.json. They are of the test split: no model was trained or chosen on them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model.blocks.lexicon import Lexicon
from model.blocks.membership import MembershipTable
from model.blocks.partition import Partition
from model.training.corpus import load_glosses, split_texts
from model.transformer.checkpoint import write_json
from model.transformer.tokenizer import Tokenizer

HERE = Path(__file__).resolve().parent
FILE = HERE / "held_out.json"
SPLIT, SEED = "test", 0
GLOSSES = 200  # drawn to begin with
LEAST = 30  # tokens that every block is to have
LONGEST = 62  # tokens, so that a model of 64 positions reads a gloss whole


def draw(
    texts: Sequence[str], table: MembershipTable, tokenizer: Tokenizer, seed: int
) -> list[str]:
    """`GLOSSES` texts in an order drawn from the seed, then those that help a block to `LEAST`."""
    ids = tokenizer.encode_batch(texts)
    counts = np.zeros(table.partition.n_blocks, dtype=int)
    chosen = []
    for index in np.random.default_rng(seed).permutation(len(texts)).tolist():
        if len(ids[index]) > LONGEST:
            continue
        classes = table.classes_for_ids(np.asarray(ids[index]))
        found = np.bincount(classes, minlength=table.partition.n_classes)[: len(counts)]
        if len(chosen) < GLOSSES or found[counts < LEAST].any():
            chosen.append(texts[index])
            counts += found
        if len(chosen) >= GLOSSES and counts.min() >= LEAST:
            break
    return chosen


def drawn() -> list[str]:
    """The glosses of the file, drawn anew from the shipped data."""
    tokenizer, partition = (
        Tokenizer.load(HERE / "tokenizer.json"),
        Partition.load(HERE / "blocks.json"),
    )
    lexicon = Lexicon.load(HERE / "lexicon.tsv", partition)
    table = MembershipTable(tokenizer.token_bytes, partition, lexicon)
    return draw(split_texts(load_glosses())[SPLIT], table, tokenizer, SEED)


def main() -> None:
    """Write the file."""
    texts = drawn()
    write_json(FILE, {"format": 1, "split": SPLIT, "seed": SEED, "glosses": texts})
    sys.stdout.write(f"{FILE.name}: {len(texts)} glosses\n")


if __name__ == "__main__":
    main()

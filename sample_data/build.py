"""Rebuilds the bundled data from WordNet 3.0: `python -m sample_data.build`.

Needs Debian's package `wordnet-base` (or the same database files elsewhere: `--wordnet DIR`).
Writes the glosses, the tokenizer and the lexicon, then the manifest with the SHA-256 of every file.
blocks.json is written by hand and is an input. The same inputs give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import sys
from pathlib import Path

from model.blocks.lexicon import Lexicon, mix
from model.blocks.partition import Partition
from model.blocks.words import count_words_so_far
from model.training.corpus import Gloss, assign_splits
from model.transformer.tokenizer import Tokenizer
from sample_data.word_shares import WordShares
from sample_data.wordnet_source import (
    WORDNET_DIR,
    Synset,
    read_exceptions,
    read_senses,
    read_synsets,
)

HERE = Path(__file__).resolve().parent
GENERATED = ("wordnet/glosses.tsv.xz", "tokenizer.json", "lexicon.tsv")
FILES = (
    "wordnet/LICENSE",
    "wordnet/glosses.tsv.xz",
    "blocks.json",
    "tokenizer.json",
    "lexicon.tsv",
)


def build(target: Path = HERE, source: Path = WORDNET_DIR) -> None:
    """Writes the generated files below `target`; reads blocks.json beside this script."""
    (target / "wordnet").mkdir(parents=True, exist_ok=True)
    synsets = read_synsets(source)
    table = glosses_tsv(synsets).encode("utf-8")
    (target / "wordnet" / "glosses.tsv.xz").write_bytes(compress(table))
    glosses = [Gloss(s.id, s.category, s.words, s.gloss) for s in synsets]
    splits = assign_splits([gloss.text for gloss in glosses])
    train = [g for g, split in zip(glosses, splits, strict=True) if split == "train"]
    texts = [gloss.text for gloss in train]
    tokenizer = Tokenizer.train(texts)
    tokenizer.save(target / "tokenizer.json")
    partition = Partition.load(HERE / "blocks.json")
    shares = WordShares(read_senses(source), read_exceptions(source), partition)
    shares.hear((gloss.category, gloss.text) for gloss in train)
    build_lexicon(shares, tokenizer, texts, partition).save(target / "lexicon.tsv")


def glosses_tsv(synsets: list[Synset]) -> str:
    """One line a synset: id, category, headwords with | between them, gloss."""
    lines = ["id\tcategory\twords\tgloss"]
    lines += [f"{s.id}\t{s.category}\t{'|'.join(s.words)}\t{s.gloss}" for s in synsets]
    return "\n".join(lines) + "\n"


def compress(data: bytes) -> bytes:
    """XZ with every setting that decides the bytes spelled out."""
    return lzma.compress(data, lzma.FORMAT_XZ, lzma.CHECK_CRC64, preset=9 | lzma.PRESET_EXTREME)


def build_lexicon(
    shares: WordShares, tokenizer: Tokenizer, texts: list[str], partition: Partition
) -> Lexicon:
    """Entries of whole words by their senses, overridden by mixtures where `texts` are cut."""
    counts = count_words_so_far(tokenizer.encode_batch(texts), tokenizer.token_bytes)
    finished = {word: shares.of(word) for _, word in counts}
    entries = {word: shares.of(word) for word in shares.known_words()}
    entries |= mix(((so_far, word, n) for (so_far, word), n in counts.items()), finished)
    return Lexicon.from_shares(entries, partition)


def manifest(folder: Path = HERE) -> str:
    """JSON: SHA-256 and size in bytes of every file, and of the glosses behind the compression."""
    entries: dict[str, object] = {}
    for name in FILES:
        data = (folder / name).read_bytes()
        entries[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        if name.endswith(".xz"):
            plain = lzma.decompress(data)
            entries[name.removesuffix(".xz")] = {
                "sha256": hashlib.sha256(plain).hexdigest(),
                "bytes": len(plain),
            }
    return json.dumps({"format": 1, "files": entries}, indent=1) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Builds in place, and says what it wrote."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--wordnet", type=Path, default=WORDNET_DIR, help="folder of data.noun …")
    chosen = parser.parse_args(arguments)
    build(HERE, chosen.wordnet)
    text = manifest(HERE)
    (HERE / "manifest.json").write_text(text, "utf-8")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

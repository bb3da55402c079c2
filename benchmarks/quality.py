"""What localism costs and shows on held-out glosses: `python -m benchmarks.quality NAME …`.

Every named model is scored on the same test text in two ways: windows of 64 tokens filled with
whole glosses, each behind its own BOS, as in training; and every gloss alone, one text a line. The
shares depend on the length of the window, so both are shown.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model.locality.dial import Dial
from model.training.batches import Documents
from model.training.corpus import load_glosses, split_texts
from model.transformer.checkpoint import LoadedModel
from workbench.models import open_model
from workbench.sweep import Window, cut, sweep_windows

DIALS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
WINDOW = 64
_SHOWN = (
    "perplexity",
    "entropy_bits",
    "entropy_normalised",
    "fidelity",
    "relevant_share",
    "semantic_share",
    "self_share",
    "previous_share",
    "sink_share",
    "fallback_share",
)


def packed(model: LoadedModel, texts: Sequence[str]) -> list[Window]:
    """Windows of `WINDOW` tokens filled with whole texts, as in training.

    They are the same for every model with the same tokenizer.
    """
    lone = cut(model, texts, model.config.n_ctx)
    documents = Documents(
        [each.ids[1:] for each in lone],
        [each.classes[1:] for each in lone],
        model.tokenizer.bos_id,
        model.partition.bos_id,
    )
    ids, classes = documents.packed(WINDOW, seed=0)
    return [Window(i.numpy(), c.numpy()) for i, c in zip(ids, classes, strict=True)]


def score(name: str, texts: Sequence[str]) -> dict[str, Any]:
    """Both readings of one model: {"name", "hash", "packed": sweep, "alone": sweep}."""
    model = open_model(name)
    dials = [Dial(value) for value in DIALS]
    return {
        "name": name,
        "hash": model.content_hash,
        "packed": sweep_windows(model, packed(model, texts), dials),
        "alone": sweep_windows(model, cut(model, texts, WINDOW), dials),
    }


def rows(result: Mapping[str, Any], reading: str) -> list[str]:
    """Markdown rows: one a dial value."""
    lines = []
    for entry in result[reading]["dials"]:
        worst = max(head["entropy_normalised"] for head in entry["heads"])
        cells = [result["name"], reading, f"{entry['dial']:g}"]
        cells += [f"{entry[key]:.2f}" for key in _SHOWN[:2]]
        cells += [f"{entry[key]:.3f}" for key in _SHOWN[2:]]
        lines.append("| " + " | ".join([*cells, f"{worst:.3f}", str(entry["tokens"])]) + " |")
    return lines


def main(arguments: Sequence[str]) -> int:
    """Print a table of all named models, and write it all as JSON where `--json` says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument(
        "names", nargs="+", help="models, as `python -m workbench models` lists them"
    )
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    parser.add_argument("--texts", type=int, default=0, help="only the first so many glosses")
    parser.add_argument("--json", type=Path, help="where the whole result goes")
    options = parser.parse_args(arguments)
    texts = split_texts(load_glosses())[options.split]
    texts = texts[: options.texts] if options.texts else texts
    head = ["model", "reading", "dial", *_SHOWN, "worst head's entropy", "tokens"]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    results = []
    for name in options.names:
        results.append(score(name, texts))
        for reading in ("packed", "alone"):
            print("\n".join(rows(results[-1], reading)), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Membership by anchors alone, scored on words that no anchor was chosen or fitted from.

Words are split by type into design, selection and held out (60 / 20 / 20 %, drawn by the seed).
Anchors are chosen from all occurrences of design words in the training text, and fitted on their
mean activations. A code that names tokens need not name those of one block: what is named by no
anchor is taken for the block that most of the rest has. That block, and any for which no token
pays, is fitted on its words in the rest. The selection words choose hook and shrinkage, by the bits
of the decision; the held-out words are scored once. No lexicon is asked when a word is judged.

Beside it: the most frequent block of the design words; the nearest of the raw means of all design
words, at the hook that suits it best on the selection words; and, to tell what the choice of
anchors does from what whitening does, the same fit on all design words. The two fits are one where
every word outside of the implied block pays for its name: then the choice has decided nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from model.blocks.anchor_design import AnchorDesign, design_anchors
from model.blocks.anchors import Anchors, fit_anchors
from model.blocks.information import entropy_bits, fano_bound, information_bits
from model.errors import AnchorError
from model.training.corpus import Gloss, assign_splits, load_glosses
from workbench.anchor_words import find_places, labelled_words, mean_activations

if TYPE_CHECKING:
    from model.transformer.checkpoint import LoadedModel

SHRINKAGES = (0.02, 0.2)
LEAST_PLACES = 3  # occurrences in the training text that a word must have
MOST_PLACES = 8  # of which its activation is the mean
LEAST_WORDS = 20  # of a block that is scored
SHOWN = 12  # anchors named a block
_PARTS = ("design", "selection", "held_out")
Ints = NDArray[np.int64]


def split_words(count: int, seed: int) -> dict[str, Ints]:
    """Disjoint parts of `count` words, 60 / 20 / 20 %, each sorted, drawn by the seed alone."""
    order = np.random.default_rng(seed).permutation(count)
    cuts = np.split(order, [int(0.6 * count), int(0.8 * count)])
    return {name: np.sort(part) for name, part in zip(_PARTS, cuts, strict=True)}


def score(truth: Ints, decided: Ints, n_blocks: int) -> dict[str, float]:
    """Accuracy and macro-F1 (fractions), H(B) and I(B; B̂) in bits, and Fano's bound on the error.

    Blocks are 0 … K−1, a decision may be K for none. Macro-F1 is the mean over blocks that occur.
    """
    confusion = np.zeros((n_blocks, n_blocks + 1), dtype=np.int64)
    np.add.at(confusion, (truth, decided), 1)
    right = np.diag(confusion)
    sizes, answers = confusion.sum(axis=1), confusion.sum(axis=0)[:n_blocks]
    f1 = (2 * right / np.maximum(sizes + answers, 1))[sizes > 0]
    abstains = bool(confusion[:, n_blocks].any())
    entropy, information = entropy_bits(sizes), information_bits(confusion)
    return {
        "accuracy": float(right.sum() / len(truth)),
        "macro_f1": float(f1.mean()),
        "entropy_bits": entropy,
        "information_bits": information,
        "error": float(1 - right.sum() / len(truth)),
        "fano_bound": fano_bound(entropy, information, n_blocks, abstains),
    }


def evaluate_anchors(
    model: LoadedModel,
    seed: int,
    glosses: Sequence[Gloss] | None = None,
    least_words: int = LEAST_WORDS,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """The report of one seed, as JSON holds it. AnchorError with fewer than two blocks to score."""
    glosses = load_glosses() if glosses is None else glosses
    splits = assign_splits([gloss.text for gloss in glosses])
    texts = [g.text for g, split in zip(glosses, splits, strict=True) if split == "train"]
    longest = model.config.n_ctx - 1
    docs = [ids[:longest] for ids in model.tokenizer.encode_batch(texts)]
    labels = labelled_words(glosses, model.partition, model.lexicon)
    places = find_places(docs, model.tokenizer.token_bytes, set(labels))
    words = [word for word in labels if len(places.get(word, ())) >= LEAST_PLACES]
    sizes = np.bincount([labels[w] for w in words], minlength=model.partition.n_blocks)
    kept = [block for block in range(len(sizes)) if sizes[block] >= max(1, least_words)]
    if len(kept) < 2:
        raise AnchorError(
            "Blocks with enough words",
            len(kept),
            f"must be at least 2, each with {least_words} words",
            "Use a model whose partition has categories of the dictionary",
        )
    words = [word for word in words if labels[word] in kept]
    y = np.array([kept.index(labels[word]) for word in words], dtype=np.int64)
    rng = np.random.default_rng(seed)
    chosen = [_some(places[word], rng) for word in words]
    features = mean_activations(model.decoder, model.tokenizer.bos_id, docs, chosen, progress)
    occurrences = np.array([len(places[word]) for word in words], dtype=np.int64)
    names = tuple(model.partition.names[block] for block in kept)
    return {
        "seed": seed,
        "blocks": list(names),
        **judge(features, y, words, occurrences, names, split_words(len(words), seed)),
    }


def judge(
    features: dict[str, NDArray[np.float64]],
    y: Ints,
    words: Sequence[str],
    occurrences: Ints,
    names: tuple[str, ...],
    parts: dict[str, Ints],
) -> dict[str, Any]:
    """Design, fit, select, score. `features`: hook -> [word, d_model]; `y`: block of each word."""
    design, selection, held_out = (parts[name] for name in _PARTS)
    k = len(names)
    counts = np.zeros((len(design), k), dtype=np.int64)
    counts[np.arange(len(design)), y[design]] = occurrences[design]
    found = design_anchors(counts)
    anchors = design[list(found.tokens)]
    rest = np.delete(design, list(found.tokens))
    implied = implied_blocks(y[anchors], y[rest], occurrences[rest], k)
    fitted = np.concatenate([anchors, rest[np.isin(y[rest], implied)]])
    priors = np.bincount(y[design], minlength=k) / len(design)

    def fit(hook: str, shrinkage: float, rows: Ints) -> Anchors:
        return fit_anchors(features[hook][rows], y[rows], names, shrinkage, priors)

    def bits(decided: Ints) -> float:
        return score(y[selection], decided, k)["information_bits"]

    trials = [
        (bits(fit(hook, s, fitted).membership(features[hook][selection]).blocks), hook, s)
        for hook in features
        for s in SHRINKAGES
    ]
    _, hook, shrinkage = max(trials, key=lambda trial: trial[0])
    raw = [(bits(_nearest(x, y, design, selection, k)), name) for name, x in features.items()]
    _, raw_hook = max(raw, key=lambda trial: trial[0])

    best, x = fit(hook, shrinkage, fitted), features[hook][held_out]
    truth = y[held_out]
    most = np.full(len(held_out), np.bincount(y[design], minlength=k).argmax())
    strict = best.membership(x, theta=0.0)
    member = strict.blocks < k
    result = score(truth, best.membership(x).blocks, k)
    baselines = {
        "majority": score(truth, most, k),
        "nearest_mean": score(truth, _nearest(features[raw_hook], y, design, held_out, k), k),
    }
    compared = ("accuracy", "macro_f1", "information_bits")
    return {
        "words": {name: len(parts[name]) for name in _PARTS},
        "design": {
            **_design_entry(found, [words[int(i)] for i in anchors], y[anchors], names),
            "implied_by_the_rest": [names[block] for block in implied],
            "words_fitted": len(fitted),
        },
        "hook": hook,
        "shrinkage": shrinkage,
        "nearest_mean_hook": raw_hook,
        "anchors": result,
        **baselines,
        "all_design_words": score(truth, fit(hook, shrinkage, design).membership(x).blocks, k),
        "members_at_even_odds": {
            "share": float(member.mean()),
            "accuracy": float((strict.blocks == truth)[member].mean()) if member.any() else None,
            **{
                key: score(truth, strict.blocks, k)[key]
                for key in ("information_bits", "fano_bound", "error")
            },
        },
        "beats": {
            name: all(result[key] > row[key] for key in compared) for name, row in baselines.items()
        },
    }


def implied_blocks(chosen: Ints, left: Ints, occurrences: Ints, k: int) -> list[int]:
    """Blocks fitted from the rest: the one with most occurrences there, and all without an anchor.

    `chosen`, `left`: blocks of the anchors and of the words that did not become one; `occurrences`
    of the latter.
    """
    weight = np.bincount(left, weights=occurrences, minlength=k)
    without = np.bincount(chosen, minlength=k) == 0
    return [b for b in range(k) if weight[b] > 0 and (without[b] or b == weight.argmax())]


def _nearest(x: NDArray[np.float64], y: Ints, design: Ints, rows: Ints, k: int) -> Ints:
    means = np.full((k, x.shape[1]), np.inf)
    for block in np.unique(y[design]):
        means[block] = x[design][y[design] == block].mean(axis=0)
    away = np.stack([((x[rows] - mean) ** 2).sum(axis=1) for mean in means], axis=1)
    return away.argmin(axis=1)


def _some(places: Sequence[tuple[int, int]], rng: np.random.Generator) -> list[tuple[int, int]]:
    return [places[i] for i in np.sort(rng.permutation(len(places))[:MOST_PLACES])]


def _design_entry(
    found: AnchorDesign, chosen: Sequence[str], blocks: Ints, names: tuple[str, ...]
) -> dict[str, Any]:
    by_block = {
        name: [word for word, own in zip(chosen, blocks, strict=True) if own == block][:SHOWN]
        for block, name in enumerate(names)
    }
    return {
        "anchors": len(chosen),
        "price_bits": found.price,
        "first_gain_bits": found.gains[0] if found.gains else None,
        "last_gain_bits": found.gains[-1] if found.gains else None,
        "refused_bits": found.refused,
        "entropy_bits": found.entropy,
        "information_bits": found.information,
        "first_anchors": by_block,
    }

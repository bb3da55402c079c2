"""What removing a block does to the next tokens, beside the attention that its tokens draw.

Mass is where heads look, averaged over layers, heads and queries; effect is what the output loses.
Both are told as they are and as a share of the sum over the blocks of the prompt, and a block whose
two shares lie far apart is marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.text import display_token

if TYPE_CHECKING:
    from model.locality.dial import Dial
    from model.locality.removal import Effects, Removal
    from model.transformer.checkpoint import LoadedModel
    from workbench.inference import Prompt

NOT_CAUSAL = (
    "Attention mass says where heads look. Attention is not causal effect: what a prediction "
    "depends on is shown by taking a thing away and running the model again."
)
MEANINGS = {
    "relevance": "No head reads the block's keys for their block: the dial turns them down like "
    "any irrelevant key. Self and previous allowances stay. Nothing changes at dial 0.",
    "attention": "The block's tokens are hidden from every other query in every head, whatever "
    "reads them and at any dial.",
}
AGREE = "agree"
MORE_MASS = "much attention, little effect"
MORE_EFFECT = "little attention, much effect"
RATIO, LEAST = 3.0, 0.05
MOST_SHOWN = 5


@dataclass(frozen=True)
class Change:
    """A position whose likeliest next token changes: labels before and after the removal."""

    position: int
    before: str
    after: str


@dataclass(frozen=True)
class Moved:
    """A token whose probability after the prompt changes: fractions before and after."""

    token: str
    before: float
    after: float


@dataclass(frozen=True)
class BlockEffect:
    """One removal. tokens: of the block in the prompt.

    mass: on its keys, without that of a token on itself; mean over layers, heads and the queries
    that see two keys, a fraction; mass_last: of the last query. kl_bits: mean over positions; at
    the last; the largest, and where. actual_bits: mean growth of the surprisal of the tokens that
    follow, None for a prompt of one token. mass_share, effect_share: of the sum over blocks, None
    where that is 0. changed: positions with another likeliest token, the first few in `changes`.
    moved: what changes most after the whole prompt. verdict: whether the two shares agree.
    """

    block: str
    intervention: str
    tokens: int
    mass: float
    mass_last: float
    kl_bits: float
    kl_bits_last: float
    kl_bits_most: float
    most_at: int
    actual_bits: float | None
    mass_share: float | None
    effect_share: float | None
    changed: int
    changes: tuple[Change, ...]
    moved: tuple[Moved, ...]
    verdict: str


def block_effects(
    model: LoadedModel, prompt: Prompt, dial: Dial, pattern: np.ndarray
) -> tuple[BlockEffect, ...]:
    """Every removal of a block that fires, block by block; removals of relevance above dial 0 only.

    pattern: of the plain prompt, [layer, head, query, key].
    """
    import torch

    from model.locality.removal import INTERVENTIONS, Removal, relevance_without, removal_effects

    present = np.unique(prompt.classes[prompt.classes < model.partition.n_blocks]).tolist()
    kinds = INTERVENTIONS if not dial.is_zero else ("attention",)
    removals = [Removal(kind, block) for kind in kinds for block in present]
    if not removals:
        return ()
    place = model.decoder.embed.weight.device
    with torch.inference_mode():
        classes = torch.tensor(prompt.classes)[None].to(place)
        ids = torch.tensor(prompt.ids, device=place)[None]
        rows = relevance_without(classes, model.reads, removals)
        found = removal_effects(model.decoder, ids, rows, dial)
    return tuple(_told(model, prompt, removals, found, masses(prompt, pattern)))


def masses(prompt: Prompt, pattern: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean mass on the keys of each class, and that of the last query; a token on itself left out.

    [class] each, up to the largest class of the prompt. Fractions.
    """
    of_class = np.eye(int(prompt.classes.max()) + 1)[prompt.classes]  # [key, class]
    others = pattern * ~np.eye(prompt.n_tokens, dtype=bool)
    by_query = others.mean(axis=(0, 1), dtype=np.float64) @ of_class  # [query, class]
    return by_query[1:].mean(axis=0) if prompt.n_tokens > 1 else by_query[0], by_query[-1]


def verdict(mass_share: float | None, effect_share: float | None) -> str:
    """Whether a block's share of attention and its share of effect lie far apart.

    Far: one is at least `RATIO` times the other, and at least `LEAST` of all. Our own choice.
    """
    if mass_share is None or effect_share is None:
        return AGREE
    if mass_share >= max(LEAST, RATIO * effect_share):
        return MORE_MASS
    return MORE_EFFECT if effect_share >= max(LEAST, RATIO * mass_share) else AGREE


def _told(
    model: LoadedModel,
    prompt: Prompt,
    removals: Sequence[Removal],
    found: Effects,
    mass: tuple[np.ndarray, np.ndarray],
) -> list[BlockEffect]:
    kl = found.kl_bits.double().cpu().numpy()
    grown, top = found.actual_bits.double().cpu().numpy(), found.top.cpu().numpy()
    after = found.last_log_p.double().exp().cpu().numpy()
    effects = []
    for row, removal in enumerate(removals):
        block = removal.class_id
        same = [i for i, each in enumerate(removals) if each.intervention == removal.intervention]
        weights = [float(mass[0][removals[i].class_id]) for i in same]
        mass_share = _share(float(mass[0][block]), weights)
        effect_share = _share(float(kl[row].mean()), [float(kl[i].mean()) for i in same])
        changed = np.flatnonzero(top[row + 1] != top[0])
        effects.append(
            BlockEffect(
                model.partition.names[block],
                removal.intervention,
                int((prompt.classes == block).sum()),
                float(mass[0][block]),
                float(mass[1][block]),
                float(kl[row].mean()),
                float(kl[row, -1]),
                float(kl[row].max()),
                int(kl[row].argmax()),
                float(grown[row].mean()) if prompt.n_tokens > 1 else None,
                mass_share,
                effect_share,
                len(changed),
                tuple(
                    Change(int(at), _label(model, top[0, at]), _label(model, top[row + 1, at]))
                    for at in changed[:MOST_SHOWN]
                ),
                _moved(model, after[0], after[row + 1]),
                verdict(mass_share, effect_share),
            )
        )
    return effects


def _share(value: float, of: Sequence[float]) -> float | None:
    total = sum(of)
    return value / total if total > 0 else None


def _moved(model: LoadedModel, before: np.ndarray, after: np.ndarray) -> tuple[Moved, ...]:
    order = np.argsort(-np.abs(after - before), kind="stable")[:MOST_SHOWN]
    return tuple(Moved(_label(model, i), float(before[i]), float(after[i])) for i in order)


def _label(model: LoadedModel, token_id: int) -> str:
    return display_token(model.tokenizer.pieces([int(token_id)])[0])

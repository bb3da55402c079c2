"""Subspaces of blocks from activations: where in the residual stream a block's tokens stand out.

For each block and each layer's input there are two directions: the anchor, by which a reader tells
the block from the rest (Fisher's direction), and the difference of the means, along which the
block's tokens lie. Of all these a block's `rank` strongest directions are kept (singular vectors of
the unit directions side by side), and those of all blocks are made orthogonal at once by the polar
factor: of all orthonormal sets it is the nearest to the directions given, so that no block pays for
coming late in the order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from model.blocks.anchors import fit_anchors
from model.blocks.subspaces import Subspaces
from model.errors import SubspaceError

_INDEPENDENT = 1e-6  # of the largest singular value


def block_subspaces(
    activations: Sequence[NDArray[np.floating]],
    blocks: NDArray[np.integer],
    names: tuple[str, ...],
    rank: int,
    shrinkage: float = 0.1,
) -> Subspaces:
    """Subspaces of `rank` dimensions each, committed in the order of `names`.

    activations: float [token, d_model] at the input of each layer, what its norm hands on, without
    gain. blocks: int [token], 0 … K−1. AnchorError where a block has no token; SubspaceError where
    the rank exceeds the number of directions, or all ranks d_model, or directions coincide.
    """
    d_model = activations[0].shape[1]
    if not 1 <= rank <= 2 * len(activations) or rank * len(names) > d_model:
        raise SubspaceError(
            "Rank of a block",
            rank,
            f"must be 1 to {2 * len(activations)} (two directions a layer), and {len(names)} "
            f"blocks share {d_model} dimensions",
            "Lower the rank",
        )
    found = [_directions(x, blocks, names, shrinkage) for x in activations]
    kept = []
    for block in range(len(names)):
        unit = np.concatenate([each[block] for each in found], axis=1)
        left, _, _ = np.linalg.svd(unit, full_matrices=False)
        kept.append(left[:, :rank])
    left, sizes, right = np.linalg.svd(np.concatenate(kept, axis=1), full_matrices=False)
    if sizes[-1] <= _INDEPENDENT * sizes[0]:
        raise SubspaceError(
            "Directions of the blocks",
            float(sizes[-1] / sizes[0]),
            "some depend on those of other blocks",
            "Lower the rank, or use more text",
        )
    directions = torch.from_numpy(left @ right)
    subspaces = Subspaces.empty(d_model)
    for block, name in enumerate(names):
        subspaces = subspaces.commit(name, directions[:, block * rank : (block + 1) * rank])
    return subspaces


def _directions(
    x: NDArray[np.floating],
    blocks: NDArray[np.integer],
    names: tuple[str, ...],
    shrinkage: float,
) -> list[NDArray[np.float64]]:
    """A block's unit directions at one layer, [d_model, 2]: anchor, difference of the means."""
    anchors = fit_anchors(x, blocks, names, shrinkage)
    sums = np.zeros((len(names), x.shape[1]))
    np.add.at(sums, blocks, x)
    sizes = np.bincount(blocks, minlength=len(names))
    rest = (sums.sum(axis=0) - sums) / (len(blocks) - sizes)[:, None]
    apart = sums / sizes[:, None] - rest
    pairs = np.stack((anchors.vectors, apart), axis=2)
    return list(pairs / np.linalg.norm(pairs, axis=1, keepdims=True))

"""Blocks as orthonormal subspaces of the residual stream, and the account of its dimensions.

A block commits dimensions; the **pool** is what no block has committed, as the free units of
connectionist recruitment. The pool is a set of dimensions: tokens of no block are the class NONE.

Stored as one tensor (the basis) and a readable description; nothing here reads or writes files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.errors import SubspaceError

FORMAT = 1
POOL = "POOL"
BASIS = "subspaces.basis"
ORTHOGONALITY = 1e-10  # largest entry of |basis.T @ basis − I|
_INDEPENDENCE = 1e-8  # smallest length that a new unit direction must keep outside of the others


@dataclass(frozen=True, eq=False)
class Subspaces:
    """Orthonormal subspaces of the residual stream, one a block; the pool is what is left.

    names: blocks, in order. ranks: dimensions committed by each, at least 1. basis: float64
    [d_model, d_model], orthogonal to 1e-10; its columns are those of block 0, of block 1, …, and
    the pool's last. SubspaceError where any of this fails.
    """

    names: tuple[str, ...]
    ranks: tuple[int, ...]
    basis: Tensor

    def __post_init__(self) -> None:
        if len(self.names) != len(self.ranks):
            raise SubspaceError(
                "Ranks of the blocks",
                self.ranks,
                f"there are {len(self.names)} blocks, and each needs one",
                "Give one rank a block",
            )
        for name in self.names:
            _check_name(name)
            if self.names.count(name) > 1:
                raise SubspaceError(
                    "Name of a block", name, "must occur once", "Rename one of the two"
                )
        for name, rank in zip(self.names, self.ranks, strict=True):
            if type(rank) is not int or rank < 1:
                raise SubspaceError(
                    f"Rank of block {name}",
                    rank,
                    "must be a whole number of at least 1",
                    "Leave out a block that has no dimensions",
                )
        _check_basis(self.basis)
        if self.committed > self.d_model:
            raise SubspaceError(
                "Dimensions of all blocks",
                self.committed,
                f"the residual stream has {self.d_model}",
                "Lower the ranks",
            )

    @classmethod
    def empty(cls, d_model: int) -> Subspaces:
        """No block: all `d_model` dimensions are in the pool, along the axes."""
        return cls((), (), torch.eye(d_model, dtype=torch.float64))

    @property
    def d_model(self) -> int:
        return self.basis.shape[0]

    @property
    def committed(self) -> int:
        """Dimensions of all blocks together."""
        return sum(self.ranks)

    @property
    def pool_size(self) -> int:
        """Dimensions that no block has committed."""
        return self.d_model - self.committed

    @property
    def pool(self) -> Tensor:
        """Orthonormal basis of the pool, [d_model, pool_size]."""
        return self.basis[:, self.committed :]

    @property
    def accounts(self) -> dict[str, int]:
        """Dimensions by owner: the blocks in their order, then `POOL`; they sum to d_model."""
        return {**dict(zip(self.names, self.ranks, strict=True)), POOL: self.pool_size}

    def statement(self) -> str:
        """The account in one sentence."""
        return (
            f"{self.committed} of {self.d_model} dimensions are committed to {len(self.names)} "
            f"blocks; {self.pool_size} are left in the pool."
        )

    def columns(self, name: str) -> slice:
        """The block's columns of the basis, or those of `POOL`; SubspaceError if there is none."""
        if name == POOL:
            return slice(self.committed, self.d_model)
        index = self._index(name)
        start = sum(self.ranks[:index])
        return slice(start, start + self.ranks[index])

    def of(self, name: str) -> Tensor:
        """Orthonormal basis U_b of a block (or of `POOL`), [d_model, r_b]."""
        return self.basis[:, self.columns(name)]

    def commit(self, name: str, directions: Tensor) -> Subspaces:
        """A new block that takes `directions` [d_model, k] out of the pool.

        Only what lies outside of the committed dimensions counts: the first column keeps its
        direction there, the next ones are made orthogonal to those before. The bases of the other
        blocks stay bit-identical. Error if fewer than k dimensions are left, if the name is taken,
        or if the directions do not span k new dimensions.
        """
        _check_name(name)
        if name in self.names:
            raise SubspaceError(
                "Name of a new block", name, "is taken", "Release that block first, or rename"
            )
        directions = _unit_columns(directions, self.d_model)
        wanted = directions.shape[1]
        if wanted > self.pool_size:
            raise SubspaceError(
                f"Rank of block {name}",
                wanted,
                f"{self.pool_size} of {self.d_model} dimensions are left in the pool",
                f"Commit at most {self.pool_size}, or release a block",
            )
        inside = self.pool.T @ directions.to(self.basis.device)
        new = int((torch.linalg.svdvals(inside) > _INDEPENDENCE).sum())
        if new < wanted:
            raise SubspaceError(
                f"Directions of block {name}",
                wanted,
                f"only {new} of them are independent of each other and of what is committed",
                "Drop the others",
            )
        q, r = torch.linalg.qr(inside, mode="complete")
        q[:, :wanted] *= torch.sign(r.diagonal()[:wanted])  # the sign of the direction itself
        basis = torch.cat((self.basis[:, : self.committed], self.pool @ q), dim=1)
        return Subspaces((*self.names, name), (*self.ranks, wanted), basis)

    def along_axes(self) -> Subspaces:
        """The same account for a decoder that stands in this basis: its own axes are the basis."""
        return Subspaces(self.names, self.ranks, torch.eye(self.d_model, dtype=torch.float64))

    def release(self, name: str) -> Subspaces:
        """Without the block: its dimensions go to the end of the pool; no other column changes."""
        index, columns = self._index(name), self.columns(name)
        order = [*range(columns.start), *range(columns.stop, self.d_model)]
        order += range(columns.start, columns.stop)
        return Subspaces(
            self.names[:index] + self.names[index + 1 :],
            self.ranks[:index] + self.ranks[index + 1 :],
            self.basis[:, order],
        )

    def to_tensors(self) -> dict[str, Tensor]:
        """What a safetensors file holds of it."""
        return {BASIS: self.basis.contiguous()}

    def to_dict(self) -> dict[str, Any]:
        """What a JSON file says of it, beside the tensors."""
        blocks = [{"name": n, "rank": r} for n, r in zip(self.names, self.ranks, strict=True)]
        return {
            "format": FORMAT,
            "d_model": self.d_model,
            "blocks": blocks,
            "pool": self.pool_size,
        }

    @classmethod
    def from_stored(cls, data: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Subspaces:
        """What `to_dict` and `to_tensors` gave; strict, and checked against each other."""
        if set(data) != {"format", "d_model", "blocks", "pool"} or data["format"] != FORMAT:
            raise SubspaceError(
                "Description of subspaces",
                dict(data),
                f"must have format {FORMAT}, d_model, blocks and pool, and nothing else",
                "Store them again",
            )
        if BASIS not in tensors:
            raise SubspaceError(
                "Tensors of subspaces", sorted(tensors), f"must hold {BASIS}", "Store them again"
            )
        blocks = data["blocks"]
        if not isinstance(blocks, list) or not all(
            isinstance(block, Mapping) and set(block) == {"name", "rank"} for block in blocks
        ):
            raise SubspaceError(
                "Blocks of subspaces", blocks, "must each have a name and a rank", "Correct them"
            )
        found = cls(
            tuple(block["name"] for block in blocks),
            tuple(block["rank"] for block in blocks),
            tensors[BASIS],
        )
        if (found.d_model, found.pool_size) != (data["d_model"], data["pool"]):
            raise SubspaceError(
                "Account of subspaces",
                {"d_model": data["d_model"], "pool": data["pool"]},
                f"the basis has {found.d_model} dimensions and {found.pool_size} in the pool",
                "Restore both files",
            )
        return found

    def _index(self, name: str) -> int:
        if name not in self.names:
            raise SubspaceError(
                "Block",
                name,
                "has committed no dimensions",
                f"Use one of {', '.join(self.names) or 'no blocks yet'}",
            )
        return self.names.index(name)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name or name == POOL:
        raise SubspaceError(
            "Name of a block", name, f"must be text, not empty and not {POOL}", "Rename the block"
        )


def _check_basis(basis: object) -> None:
    if not isinstance(basis, Tensor) or basis.dtype != torch.float64:
        raise SubspaceError(
            "Basis",
            getattr(basis, "dtype", basis),
            "must be a tensor of float64",
            "Convert it and make it orthogonal again",
        )
    if basis.ndim != 2 or basis.shape[0] != basis.shape[1] or not basis.numel():
        raise SubspaceError(
            "Shape of the basis",
            tuple(basis.shape),
            "must be [d_model, d_model]",
            "Add the pool's columns behind those of the blocks",
        )
    eye = torch.eye(len(basis), dtype=basis.dtype, device=basis.device)
    worst = float((basis.T @ basis - eye).abs().max())
    if not worst <= ORTHOGONALITY:  # NaN included
        raise SubspaceError(
            "Basis",
            worst,
            f"basis.T @ basis may differ from the identity by at most {ORTHOGONALITY:g}: subspaces "
            "overlap, or a column is no unit vector",
            "Build it with Subspaces.commit",
        )


def _unit_columns(directions: Tensor, d_model: int) -> Tensor:
    if directions.ndim != 2 or directions.shape[0] != d_model or not directions.shape[1]:
        raise SubspaceError(
            "Shape of the directions",
            tuple(directions.shape),
            f"must be [{d_model}, k] with k at least 1",
            "Give one direction a column",
        )
    directions = directions.detach().double()
    norms = directions.norm(dim=0)
    if not bool((torch.isfinite(norms) & (norms > 0)).all()):
        raise SubspaceError(
            "Length of a direction",
            float(norms[~(torch.isfinite(norms) & (norms > 0))][0]),
            "must be positive and finite",
            "Remove it",
        )
    return directions / norms

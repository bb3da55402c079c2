"""Subspaces: the account of dimensions, commit and release, and what they refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.blocks.subspaces import BASIS, POOL, Subspaces
from model.errors import SubspaceError

D = 12


def directions(rng: np.random.Generator, k: int, d: int = D) -> torch.Tensor:
    return torch.from_numpy(rng.normal(size=(d, k)))


def three_blocks(rng: np.random.Generator) -> Subspaces:
    found = Subspaces.empty(D)
    for name, rank in (("FOOD", 3), ("PLANT", 1), ("ACT", 2)):
        found = found.commit(name, directions(rng, rank))
    return found


def projector(columns: torch.Tensor) -> torch.Tensor:
    return columns @ columns.T


def worst(matrix: torch.Tensor) -> float:
    return float((matrix.T @ matrix - torch.eye(matrix.shape[1])).abs().max())


def test_a_block_along_an_axis_by_hand() -> None:
    found = Subspaces.empty(3).commit("A", torch.tensor([[0.0], [-2.0], [0.0]]))
    assert torch.allclose(found.of("A")[:, 0], torch.tensor([0.0, -1.0, 0.0]).double(), atol=1e-15)
    assert found.pool.abs()[1].max() < 1e-15
    both = found.commit("B", torch.tensor([[0.0, 1.0], [5.0, 0.0], [1.0, 1.0]]))
    assert torch.allclose(both.of("B").abs()[1], torch.zeros(2).double(), atol=1e-15)
    assert torch.allclose(both.of("B")[:, 0], torch.tensor([0.0, 0.0, 1.0]).double(), atol=1e-15)
    assert both.pool_size == 0 and both.pool.shape == (3, 0)


def test_the_account(rng: np.random.Generator) -> None:
    found = three_blocks(rng)
    assert found.accounts == {"FOOD": 3, "PLANT": 1, "ACT": 2, POOL: 6}
    assert list(found.accounts)[-1] == POOL
    assert (found.d_model, found.committed, found.pool_size) == (D, 6, 6)
    assert found.statement() == (
        "6 of 12 dimensions are committed to 3 blocks; 6 are left in the pool."
    )
    assert found.columns("PLANT") == slice(3, 4) and found.columns(POOL) == slice(6, 12)
    pieces = [found.of(name) for name in (*found.names, POOL)]
    assert torch.equal(torch.cat(pieces, dim=1), found.basis)
    assert torch.equal(found.of(POOL), found.pool)


@given(st.integers(0, 10**6), st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_commits_stay_orthogonal_and_leave_the_others_alone(seed: int, ranks: list[int]) -> None:
    rng = np.random.default_rng(seed)
    found, spanned = Subspaces.empty(24), torch.empty(24, 0, dtype=torch.float64)
    for n, rank in enumerate(ranks):
        before, new = found, directions(rng, rank, 24)
        found = found.commit(f"B{n}", new)
        assert torch.equal(found.basis[:, : before.committed], before.basis[:, : before.committed])
        spanned = torch.cat((spanned, new), dim=1)
        # A second route to the span of all that was committed: a QR of the raw directions.
        reference = projector(torch.linalg.qr(spanned)[0])
        committed = found.basis[:, : found.committed]
        assert torch.allclose(projector(committed), reference, atol=1e-9)
    assert worst(found.basis) < 1e-12
    assert sum(found.accounts.values()) == 24


def test_the_first_direction_of_a_block_is_its_part_outside_of_the_others(
    rng: np.random.Generator,
) -> None:
    before = three_blocks(rng)
    new = directions(rng, 2)
    outside = before.pool @ (before.pool.T @ new[:, 0])
    found = before.commit("NEW", new).of("NEW")[:, 0]
    assert torch.allclose(found, outside / outside.norm(), atol=1e-12)


def test_release_gives_the_dimensions_back(rng: np.random.Generator) -> None:
    before = three_blocks(rng)
    after = before.commit("NEW", directions(rng, 4)).release("NEW")
    assert after.accounts == before.accounts
    for name in (*before.names, POOL):
        assert torch.allclose(projector(after.of(name)), projector(before.of(name)), atol=1e-12)
    less = before.release("FOOD")
    assert less.names == ("PLANT", "ACT") and less.ranks == (1, 2) and less.pool_size == 9
    assert torch.equal(less.of("ACT"), before.of("ACT"))
    assert torch.equal(less.pool[:, -3:], before.of("FOOD"))
    assert less.commit("FOOD", before.of("FOOD")).accounts["FOOD"] == 3


def test_beyond_the_pool_the_error_says_how_much_is_left(rng: np.random.Generator) -> None:
    found = three_blocks(rng)
    with pytest.raises(SubspaceError, match=r"6 of 12 dimensions are left in the pool.*at most 6"):
        found.commit("BIG", directions(rng, 7))
    full = found.commit("BIG", directions(rng, 6))
    with pytest.raises(SubspaceError, match="0 of 12 dimensions are left"):
        full.commit("MORE", directions(rng, 1))


def test_directions_that_bring_nothing_new_are_refused(rng: np.random.Generator) -> None:
    found = three_blocks(rng)
    with pytest.raises(SubspaceError, match="only 1 of them"):
        found.commit("TWICE", torch.cat([directions(rng, 1)] * 2, dim=1) * torch.tensor([1.0, 3.0]))
    with pytest.raises(SubspaceError, match="only 0 of them"):
        found.commit("INSIDE", found.of("FOOD") @ torch.ones(3, 1).double())


@pytest.mark.parametrize(
    ("name", "shape", "fill", "message"),
    [
        ("", (D, 1), 1.0, "Name of a block"),
        (POOL, (D, 1), 1.0, "not POOL"),
        ("FOOD", (D, 1), 1.0, "is taken"),
        ("X", (D - 1, 1), 1.0, r"must be \[12, k\]"),
        ("X", (D,), 1.0, r"must be \[12, k\]"),
        ("X", (D, 0), 1.0, "k at least 1"),
        ("X", (D, 1), 0.0, "positive and finite"),
        ("X", (D, 1), float("nan"), "positive and finite"),
        ("X", (D, 1), float("inf"), "positive and finite"),
    ],
)
def test_bad_commits_are_refused(
    rng: np.random.Generator, name: str, shape: tuple[int, ...], fill: float, message: str
) -> None:
    with pytest.raises(SubspaceError, match=message):
        three_blocks(rng).commit(name, torch.full(shape, fill))


def test_what_is_no_partition_of_the_stream_is_refused() -> None:
    eye = torch.eye(4, dtype=torch.float64)
    overlapping = eye.clone()
    overlapping[:, 1] = torch.tensor([0.6, 0.8, 0.0, 0.0])
    bad = eye.clone()
    bad[0, 0] = float("nan")
    for names, ranks, basis, message in [
        (("A",), (1, 2), eye, "one rank a block"),
        (("A", "A"), (1, 1), eye, "must occur once"),
        (("A",), (0,), eye, "at least 1"),
        (("A",), (True,), eye, "at least 1"),
        (("A",), (1.5,), eye, "at least 1"),
        (("A", "B"), (3, 2), eye, "the residual stream has 4"),
        (("A",), (1,), eye.float(), "float64"),
        (("A",), (1,), eye[:, :3], r"\[d_model, d_model\]"),
        (("A",), (1,), 2 * eye, "overlap, or a column"),
        (("A", "B"), (1, 1), overlapping, "overlap"),
        (("A",), (1,), bad, "overlap"),
    ]:
        with pytest.raises(SubspaceError, match=message):
            Subspaces(names, ranks, basis)  # pyright: ignore[reportArgumentType]
    nearly = eye.clone()
    nearly[0, 1] = 9e-11
    Subspaces(("A",), (1,), nearly)
    nearly[0, 1] = 1.1e-10
    with pytest.raises(SubspaceError, match="1e-10"):
        Subspaces(("A",), (1,), nearly)


def test_unknown_blocks_are_named(rng: np.random.Generator) -> None:
    found = three_blocks(rng)
    for asked in (found.columns, found.of, found.release):
        with pytest.raises(SubspaceError, match="Use one of FOOD, PLANT, ACT"):
            asked("ANIMAL")
    with pytest.raises(SubspaceError, match="committed no dimensions"):
        found.release(POOL)


def test_stored_and_read_again(rng: np.random.Generator) -> None:
    found = three_blocks(rng)
    data = json.loads(json.dumps(found.to_dict()))
    again = Subspaces.from_stored(data, found.to_tensors())
    assert (again.names, again.ranks) == (found.names, found.ranks)
    assert torch.equal(again.basis, found.basis)
    for wrong, tensors, message in [
        ({**data, "pool": 5}, found.to_tensors(), "6 in the pool"),
        ({**data, "d_model": 13}, found.to_tensors(), "12 dimensions"),
        ({**data, "format": 2}, found.to_tensors(), "format 1"),
        ({**data, "more": 1}, found.to_tensors(), "nothing else"),
        ({**data, "blocks": [{"name": "A"}]}, found.to_tensors(), "a name and a rank"),
        ({**data, "blocks": [{"name": 3, "rank": 1}]}, found.to_tensors(), "must be text"),
        (data, {}, BASIS),
    ]:
        with pytest.raises(SubspaceError, match=message):
            Subspaces.from_stored(wrong, tensors)

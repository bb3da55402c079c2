"""One row of attention to play with, and three ways to be wrong about group sparsity, computed."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.choices import check
from workbench.tables import Column, Table

MOST_KEYS = 64
LARGEST_SCORE = 20.0  # nats


@dataclass(frozen=True)
class Sandbox:
    """A row of n keys, the first m of them relevant, scores in nats.

    The least relevant score is `margin` above the largest other one. spread: how far the scores of
    each kind lie apart; at 0 they are two-valued, and every bound is met.
    """

    n: int = 12
    m: int = 3
    margin: float = 0.0
    spread: float = 0.0
    gain: float = 4.0

    def __post_init__(self) -> None:
        check("Keys", self.n, 1, MOST_KEYS)
        check("Relevant keys", self.m, 1, self.n)
        check("Margin", self.margin, -LARGEST_SCORE, LARGEST_SCORE)
        check("Spread", self.spread, 0.0, LARGEST_SCORE)
        check("Gain", self.gain, 0.0, 1000.0, open_below=True)

    def scores(self) -> list[float]:
        """Relevant keys from margin upwards, the others from 0 downwards, evenly spread."""

        def even(count: int) -> list[float]:
            return [self.spread * index / max(1, count - 1) for index in range(count)]

        others = [0.0 - step for step in even(self.n - self.m)]
        return [self.margin + step for step in even(self.m)] + others


@dataclass(frozen=True)
class Outcome:
    """The sandbox at one dial: fractions, bits, and the margin after the dial in nats.

    entropy_applies: whether the entropy's bound has its assumption, a margin of at least 0.
    """

    dial: float
    margin_after: float
    off_mass: float
    off_bound: float
    bits: float
    bits_bound: float
    entropy_applies: bool


def outcomes(row: Sandbox, dials: tuple[float, ...]) -> tuple[list[Outcome], list[list[float]]]:
    """Bound and truth at each dial, and the pattern there, fractions."""
    import torch

    from model.locality import bounds
    from model.locality.bias import dial_bias
    from model.locality.dial import strength
    from model.locality.margins import row_bits, row_mass

    scores = torch.tensor(row.scores(), dtype=torch.float64)
    other = torch.arange(row.n) >= row.m
    found, patterns = [], []
    for dial in dials:
        check("Dial", dial, 0.0, 1.0)
        force = strength(torch.tensor(dial, dtype=torch.float64), row.gain)
        gap, visible = other.double()[None, None, None], torch.zeros(1, row.n)
        pattern = (scores + dial_bias(gap, force[None, None], visible)[0, 0, 0]).softmax(dim=0)
        after = bounds.margin_after(row.margin, force)
        bits = bounds.entropy_bits(row.n, row.m, after)
        found.append(
            Outcome(
                dial,
                float(after),
                float(row_mass(pattern, other)),
                float(bounds.off_mass(row.n, row.m, after).value),
                float(row_bits(pattern)),
                float(bits.value),
                bool(bits.applies),
            )
        )
        patterns.append(pattern.tolist())
    return found, patterns


def sandbox_table(row: Sandbox, dials: tuple[float, ...]) -> Table:
    """Bound and truth over the dial."""
    found, _ = outcomes(row, dials)
    names = (
        ("dial", "dial", ""),
        ("off_bound", "off-block mass, at most", "fraction"),
        ("off_mass", "off-block mass", "fraction"),
        ("bits_bound", "entropy, at most", "bits"),
        ("bits", "entropy", "bits"),
    )
    columns = [Column(k, t, unit, [getattr(each, k) for each in found]) for k, t, unit in names]
    applies = Column(
        "entropy_applies", "entropy bound applies", "", [f.entropy_applies for f in found]
    )
    about = {"n": row.n, "m": row.m, "margin_nats": row.margin, "spread_nats": row.spread}
    title = "One row: bound and truth over the dial"
    return Table("sandbox", title, (*columns, applies), {**about, "gain": row.gain})


def row_table(row: Sandbox, dial: float) -> Table:
    """The sandbox's keys: score in nats, and weights at dial 0 and at the dial."""
    _, (zero, now) = outcomes(row, (0.0, dial))
    kinds = ["relevant" if key < row.m else "other" for key in range(row.n)]
    columns = (
        Column("key", "key", "", [f"{key + 1} {kind}" for key, kind in enumerate(kinds)]),
        Column("score", "score", "nats", row.scores()),
        Column("zero", "weight at dial 0", "fraction", zero),
        Column("now", f"dial {dial:g}", "fraction", now),
    )
    return Table("sandbox-row", "One row of attention", columns, {"dial": dial})


@dataclass(frozen=True)
class Lesson:
    """A trap: what one would think, what the numbers say, and the numbers."""

    title: str
    thought: str
    truth: str
    table: Table


def lessons() -> tuple[Lesson, ...]:
    """The three traps; every number in their sentences is computed here and now."""
    from model.locality import traps

    keys = traps.dead_keys_draw([1.0, 0.5], dead=8)
    zero = traps.bilinear_zero()
    flat = traps.degenerate_penalty()
    return (
        Lesson(
            "A key group at zero still draws attention",
            "Once a head's key group is exactly zero, the head no longer looks at that block.",
            f"Its keys score 0 nats, not minus infinity, and draw e⁰ = 1 each: here "
            f"{keys.dead_mass:.0%} of the mass. To hold them at {keys.allowed:.0%}, every living "
            f"key would have to score {keys.margin_needed:.2f} nats or more. Sparsity says what is "
            "not read; the dial's bias is what concentrates.",
            Table(
                "dead-keys", "Two living keys and eight dead ones",
                (
                    Column("key", "key", "", [f"living {i + 1}" for i in range(2)]
                           + [f"dead {i + 1}" for i in range(8)]),
                    Column("score", "score", "nats", list(keys.scores)),
                    Column("weight", "weight", "fraction", list(keys.pattern)),
                ),
            ),
        ),
        Lesson(
            "Nothing leads out of the bilinear zero",
            "A new head can start at zero and learn from there.",
            f"A score is a product of queries and keys. With both at zero the slope is "
            f"{zero.slope_at_zero:g}, and after {len(zero.losses_from_zero)} steps the loss still "
            f"is {zero.losses_from_zero[-1]:.3f} nats. From a start of {zero.start:g} it falls to "
            f"{zero.losses_from_small[-1]:.3f} (at best {zero.lowest:.3f}). A recruited block "
            "starts with weights that are not zero.",
            Table(
                "bilinear-zero", "The same descent from zero and from a small start",
                (
                    Column("step", "step", "", list(range(len(zero.losses_from_zero)))),
                    Column("from_zero", "from zero", "nats", list(zero.losses_from_zero)),
                    Column("from_small", f"from {zero.start:g}", "nats",
                           list(zero.losses_from_small)),
                ),
            ),
        ),
        Lesson(
            "A penalty on patterns can be blind",
            "Penalising the norm of each block's mass makes attention choose a block.",
            f"With mass spread evenly inside blocks of {flat.keys_per_block} keys, the sum of "
            f"norms is {min(flat.penalties):.3f} for every split, while the entropy runs from "
            f"{min(flat.entropies):.2f} to {max(flat.entropies):.2f} bits. The penalty belongs on "
            "the weights.",
            Table(
                "blind-penalty", "One penalty for every split",
                (
                    Column("split", "mass of the blocks", "",
                           [" / ".join(f"{x:g}" for x in split) for split in flat.splits]),
                    Column("penalty", "sum of norms", "", list(flat.penalties)),
                    Column("bits", "entropy", "bits", list(flat.entropies)),
                ),
            ),
        ),
    )  # fmt: skip

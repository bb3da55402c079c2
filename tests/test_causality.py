"""No look into the future, end to end: from text through ids, membership, reads and the model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.blocks.lexicon import Lexicon
from model.blocks.membership import MembershipTable
from model.blocks.partition import Partition
from model.locality.dial import Dial
from model.locality.reads import Reads
from model.locality.relevance import Relevance
from model.locality.sweep import sweep_dials
from model.transformer.config import DecoderConfig
from model.transformer.decoder import Decoder
from model.transformer.tokenizer import Tokenizer
from tests.factories import lively_decoder
from workbench import paths

LENGTH = 24


class Chain:
    """Everything between token ids and logits, with a random decoder of the real vocabulary."""

    def __init__(self) -> None:
        self.tokenizer = Tokenizer.load(paths.SAMPLE_DATA / "tokenizer.json")
        partition = Partition.load(paths.SAMPLE_DATA / "blocks.json")
        lexicon = Lexicon.load(paths.SAMPLE_DATA / "lexicon.tsv", partition)
        self.table = MembershipTable(self.tokenizer.token_bytes, partition, lexicon)
        config = DecoderConfig(self.tokenizer.d_vocab, 24, 2, 3, 3, 8, 32, 64)
        self.decoder: Decoder = lively_decoder(config)
        generator = torch.Generator().manual_seed(1)
        n = partition.n_classes
        self.reads = Reads(
            torch.rand(2, 3, n, n, generator=generator) < 0.3,
            torch.rand(2, 3, n, 3, generator=generator) < 0.3,
            partition.class_names,
        )

    def logits(self, ids: list[int], value: float) -> torch.Tensor:
        """[position, vocabulary] of BOS and these ids."""
        whole = np.array([self.tokenizer.bos_id, *ids])
        relevance = Relevance.compile(
            torch.from_numpy(self.table.classes_for_ids(whole))[None], self.reads
        )
        return self.decoder(torch.from_numpy(whole)[None], Dial(value), relevance)[0]


@pytest.fixture(scope="module")
def chain() -> Chain:
    return Chain()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 4095), min_size=LENGTH, max_size=LENGTH),
    st.lists(st.integers(1, 4095), min_size=LENGTH, max_size=LENGTH),
    st.integers(0, LENGTH - 1),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_ids_after_t_never_change_logits_up_to_t(
    chain: Chain, ids: list[int], other: list[int], t: int, value: float
) -> None:
    before = chain.logits(ids, value)
    after = chain.logits(ids[:t] + other[t:], value)
    assert torch.equal(before[: t + 1], after[: t + 1])


@pytest.mark.parametrize("value", [0.5, 1.0])
@pytest.mark.parametrize(
    ("first", "second"),
    [("a straw", "a strawberry"), ("the cat", "the catalogue"), ("she can", "she cannot")],
)
def test_the_rest_of_a_word_does_not_reach_back(
    chain: Chain, first: str, second: str, value: float
) -> None:
    ids, longer = chain.tokenizer.encode(first), chain.tokenizer.encode(second)
    shared = 0
    while shared < min(len(ids), len(longer)) and ids[shared] == longer[shared]:
        shared += 1
    assert shared >= 1
    before, after = chain.logits(ids, value), chain.logits(longer, value)
    # Rows of another length are summed in another order, so not bit for bit.
    assert (before[: shared + 1] - after[: shared + 1]).abs().max() <= 1e-5


def test_a_membership_that_looks_ahead_would_be_caught(chain: Chain) -> None:
    """The same comparison on a leaking membership: the last token's class given to every token."""
    ids, other = [10, 600, 900, 1200], [10, 600, 900, 260]
    leaky = Chain.__new__(Chain)
    leaky.__dict__.update(chain.__dict__)

    class Leak:
        def classes_for_ids(self, whole: np.ndarray) -> np.ndarray:
            return np.full_like(whole, int(whole[-1]) % 29)

    leaky.table = Leak()  # pyright: ignore[reportAttributeAccessIssue]
    before, after = leaky.logits(ids, 0.9), leaky.logits(other, 0.9)
    assert not torch.equal(before[:4], after[:4])


@pytest.mark.parametrize("value", [0.0, 0.6, 1.0])
def test_the_sweep_is_causal_too(chain: Chain, value: float) -> None:
    ids = chain.tokenizer.encode("the act of eating a strawberry with a straw")
    whole = torch.tensor([[chain.tokenizer.bos_id, *ids]])
    found = []
    for last in (ids[-1], 77):
        changed = whole.clone()
        changed[0, -1] = last
        classes = torch.from_numpy(chain.table.classes_for_ids(changed.numpy()))
        relevance = Relevance.compile(classes, chain.reads)
        found.append(sweep_dials(chain.decoder, changed, relevance, [Dial(value)]))
    assert torch.equal(found[0].nats[..., :-1], found[1].nats[..., :-1])
    assert not torch.equal(found[0].nats[..., -1], found[1].nats[..., -1])

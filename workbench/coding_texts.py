"""The texts that units are measured on: held-out glosses, and a person's own text beside them.

Tokens have the categories of one partition, that of the model that is named first, whichever model
reads them. Begin-of-text is a token of no text: it is read, and left out of every measure.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from model.errors import TextError
from workbench.files import read_object
from workbench.inference import read_only
from workbench.memo import Memo
from workbench.paths import SAMPLE_DATA
from workbench.text import check_length, check_prompt, display_token

if TYPE_CHECKING:
    from model.blocks.membership import MembershipTable
    from model.transformer.checkpoint import LoadedModel

HELD_OUT = SAMPLE_DATA / "held_out.json"
_CONTEXT = 8  # tokens shown before a token, and after it


@dataclass(frozen=True)
class TextSet:
    """Encoded texts, each with begin-of-text first.

    ids: token ids. labels: what they look like. categories: int64 class ids of a partition, whose
    blocks are called `names` and, for people, `titles`. own: number of the person's text or None.
    """

    texts: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    labels: tuple[tuple[str, ...], ...]
    categories: tuple[np.ndarray, ...]
    names: tuple[str, ...]
    titles: tuple[str, ...]
    own: int | None

    @cached_property
    def key(self) -> str:
        """Identity of tokens and categories."""
        lines = [" ".join(self.names), *(" ".join(map(str, each)) for each in self.ids)]
        digest = hashlib.sha256("\n".join(lines).encode())
        digest.update(np.concatenate(self.categories).tobytes())
        return digest.hexdigest()[:24]

    @cached_property
    def place(self) -> np.ndarray:
        """Text and position of every token but begin-of-text: int64 [token, 2]."""
        places = [(t, p) for t, ids in enumerate(self.ids) for p in range(1, len(ids))]
        return read_only(np.array(places, dtype=np.int64).reshape(-1, 2))

    @cached_property
    def category(self) -> np.ndarray:
        """Class id of each of these tokens: int64 [token]."""
        return read_only(np.concatenate([each[1:] for each in self.categories]))

    @property
    def n_tokens(self) -> int:
        return len(self.place)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Tokens of each block: int64 [category]."""
        return read_only(np.bincount(self.category, minlength=len(self.names))[: len(self.names)])

    def title_of(self, class_id: int) -> str:
        """A class for people, "no block" for tokens of none."""
        return self.titles[class_id] if class_id < len(self.titles) else "no block"

    def context(self, token: int) -> tuple[str, str, str]:
        """What stands before a token, the token itself, and what stands after it."""
        text, position = self.place[token].tolist()
        labels = self.labels[text]
        first, stop = max(1, position - _CONTEXT), min(len(labels), position + 1 + _CONTEXT)
        before, after = ("".join(labels[a:b]) for a, b in ((first, position), (position + 1, stop)))
        cut = ("… " if first > 1 else "", " …" if stop < len(labels) else "")
        return cut[0] + _spaced(before), _spaced(labels[position]), _spaced(after) + cut[1]


_sets: Memo[TextSet] = Memo(16 * 2**20, lambda each: 64 * each.n_tokens)


@lru_cache(maxsize=1)
def held_out_texts() -> tuple[str, ...]:
    """The bundled glosses; CheckpointError or TextError where their file is damaged."""
    glosses = read_object(HELD_OUT).get("glosses")
    if not isinstance(glosses, list) or not all(isinstance(each, str) and each for each in glosses):
        raise TextError(
            "Glosses in held_out.json",
            glosses,
            "must be a list of texts",
            "Restore the file, or write it with `python -m sample_data.held_out`",
        )
    return tuple(glosses)


def text_set(model: LoadedModel, own: str = "") -> TextSet:
    """The glosses that fit into the model, and `own` behind them; categories are the model's.

    TextError when the own text is beyond a stated limit, or none of the glosses fits.
    """
    key = (model.content_hash, own)
    return _sets.get(key) or _sets.put(key, _make(model, own))


def forget_texts() -> None:
    """Empty the memo."""
    _sets.clear()


def classes_in(model: LoadedModel, texts: TextSet) -> list[np.ndarray]:
    """The texts' classes in a model's own partition, which is what its dial goes by.

    TextError when the model cuts the texts into other tokens, or reads fewer of them: its units
    would then see something else.
    """
    tokenizer = model.tokenizer
    ids = [[tokenizer.bos_id, *each] for each in tokenizer.encode_batch(texts.texts)]
    if max(map(len, ids)) > model.config.n_ctx or [tuple(each) for each in ids] != [*texts.ids]:
        raise TextError(
            "Comparison",
            str(model.provenance.get("name", "")),
            "cuts these texts into other tokens, or cannot read the longest of them",
            "Choose two models with the same tokenizer",
        )
    table = _table(model)
    return [table.classes_for_ids(np.array(each)) for each in ids]


def _make(model: LoadedModel, own: str) -> TextSet:
    tokenizer, n_ctx = model.tokenizer, model.config.n_ctx
    texts = list(held_out_texts())
    ids = [[tokenizer.bos_id, *each] for each in tokenizer.encode_batch(texts)]
    fitting = [index for index, each in enumerate(ids) if len(each) <= n_ctx]
    texts, ids = [texts[index] for index in fitting], [ids[index] for index in fitting]
    if not texts:
        raise TextError(
            "Held-out glosses", 0, f"of at most {n_ctx} tokens there are none", "Take another model"
        )
    place = None
    if own:
        place = len(texts)
        texts.append(check_prompt(own))
        ids.append(tokenizer.encode_with_bos(own))
        check_length(len(ids[-1]), n_ctx)
    table = _table(model)
    return TextSet(
        tuple(texts),
        tuple(map(tuple, ids)),
        tuple(tuple(display_token(piece) for piece in tokenizer.pieces(each)) for each in ids),
        tuple(read_only(table.classes_for_ids(np.array(each))) for each in ids),
        model.partition.names,
        tuple(block.title for block in model.partition),
        place,
    )


def _table(model: LoadedModel) -> MembershipTable:
    from model.blocks.membership import MembershipTable

    return MembershipTable(model.tokenizer.token_bytes, model.partition, model.lexicon)


def _spaced(label: str) -> str:
    """Labels run together as text: the sign for a space becomes one."""
    return label.replace("␣", " ").strip()

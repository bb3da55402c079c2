"""Byte-level BPE tokenizer: any Unicode text to ids and back without a loss.

The pieces, the regular expression that cuts words and the byte alphabet are GPT-2's, as the library
`tokenizers` implements them. There is no normaliser: text comes back as it went in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers

from model.errors import CheckpointError, TextError

BOS = "<bos>"
D_VOCAB = 4096


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in for each byte: character -> byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    stand_ins = {chr(byte): byte for byte in printable}
    stand_ins.update({chr(256 + n): byte for n, byte in enumerate(others)})
    return stand_ins


_BYTE_OF = _byte_alphabet()
# What a tokenizer that is not lossless would change: case, marks, spaces, bytes, its own sign.
_PROBE = f"A  {BOS} e\u0301\u00e9\ufb01\u2126\x00\r\n\t\U0001f600 "


class Tokenizer:
    """Encodes text as ids in [0, d_vocab); `bos_id` is never produced from text."""

    def __init__(self, backend: Backend) -> None:
        bos_id = backend.token_to_id(BOS)
        if bos_id is None:
            raise CheckpointError(
                "Tokenizer", sorted(backend.get_vocab())[:3], f"must know {BOS}", "Train it again"
            )
        backend.encode_special_tokens = True  # a text that spells "<bos>" stays plain characters
        self._backend = backend
        self.bos_id: int = bos_id
        if self.decode(self.encode(_PROBE)) != _PROBE:
            raise CheckpointError(
                "Tokenizer",
                self.decode(self.encode(_PROBE)),
                "must give text back as it went in",
                "Use byte-level BPE without a normaliser",
            )

    @classmethod
    def train(cls, texts: Iterable[str], d_vocab: int = D_VOCAB) -> Tokenizer:
        """Learns the merges from `texts`; the same texts in any order give the same tokenizer."""
        backend = Backend(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=d_vocab,
            special_tokens=[BOS],
            initial_alphabet=sorted(_BYTE_OF),
            show_progress=False,
        )
        backend.train_from_iterator(texts, trainer)
        return cls(backend)

    @classmethod
    def load(cls, path: Path | str) -> Tokenizer:
        """Reads a tokenizer.json; CheckpointError if it is missing or not one."""
        try:
            text = Path(path).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(
                "Tokenizer file", str(path), f"cannot be read ({error})", "Check the path"
            ) from error
        return cls.from_json(text)

    @classmethod
    def from_json(cls, text: str) -> Tokenizer:
        try:
            backend = Backend.from_str(text)
        except Exception as error:  # the library raises bare Exception
            raise CheckpointError(
                "Tokenizer", text[:40], f"cannot be parsed ({error})", "Save it again"
            ) from error
        return cls(backend)

    def to_json(self) -> str:
        return self._backend.to_str(pretty=True)

    def save(self, path: Path | str) -> None:
        Path(path).write_text(self.to_json(), "utf-8")

    @property
    def d_vocab(self) -> int:
        return self._backend.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, without begin-of-text; TextError if it has no UTF-8 form."""
        _require_utf8(text)
        return self._backend.encode(text, add_special_tokens=False).ids

    def encode_with_bos(self, text: str) -> list[int]:
        return [self.bos_id, *self.encode(text)]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """As `encode` for each text, many at once."""
        for text in texts:
            _require_utf8(text)
        encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; begin-of-text is silent, unfinished UTF-8 becomes U+FFFD."""
        return b"".join(self._bytes(i) or b"" for i in ids).decode("utf-8", errors="replace")

    def pieces(self, ids: Iterable[int]) -> list[str]:
        r"""One display string an id: its text, or "\xf0" for bytes that are no whole character."""
        return [
            BOS if (raw := self._bytes(i)) is None else raw.decode("utf-8", "backslashreplace")
            for i in ids
        ]

    @cached_property
    def token_bytes(self) -> tuple[bytes | None, ...]:
        """The bytes of every id, None for begin-of-text: the input of a membership table."""
        found: list[bytes | None] = []
        for i in range(self.d_vocab):
            token = self._backend.id_to_token(i)
            if token is None or (i != self.bos_id and not _BYTE_OF.keys() >= set(token)):
                raise CheckpointError(
                    f"Token {i} of the tokenizer", token, "must stand for bytes", "Train it again"
                )
            found.append(None if i == self.bos_id else bytes(_BYTE_OF[c] for c in token))
        return tuple(found)

    def _bytes(self, token_id: int) -> bytes | None:
        index = int(token_id)
        if not 0 <= index < len(self.token_bytes):
            raise TextError(
                "Token id",
                index,
                f"must lie in [0, {len(self.token_bytes)})",
                "Use this tokenizer's ids",
            )
        return self.token_bytes[index]


def _require_utf8(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TextError(
            f"Character {error.start} of the text",
            text[error.start],
            "is half of a surrogate pair and has no UTF-8 form",
            "Remove it or replace it",
        ) from error

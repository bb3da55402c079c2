"""The one `bytes` object that carries a view to the browser, and its inverse.

Layout (little-endian): magic `LWDV`, uint32 version, uint32 length of the header, the header as
UTF-8 JSON padded with spaces, then the arrays. Header and arrays begin at multiples of 8 bytes, so
that the browser can lay typed arrays over the buffer without a copy. The header's `arrays` names
each array with dtype, shape and byte offset from the first array.

Bytes because the component bridge hands a top-level `bytes` value over untouched, while numbers in
JSON would cost four times the size and lose the exact float32 values.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from model.errors import LocalistError

MAGIC = b"LWDV"
VERSION = 1
_PREFIX = struct.Struct("<4sII")
_ALIGN = 8
# name on the wire -> numpy dtype; each has a typed array in the browser
_DTYPES = {
    "f4": np.dtype("<f4"), "f8": np.dtype("<f8"), "i4": np.dtype("<i4"),
    "u1": np.dtype("u1"), "u2": np.dtype("<u2"),
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


class CanvasError(LocalistError):
    """A view or payload that the canvas cannot show."""


def encode_payload(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """A JSON header and named arrays -> bytes; CanvasError on a dtype or header it cannot carry."""
    if "arrays" in header:
        raise CanvasError(
            "Header key", "arrays", "is written by the encoder", "Name that value otherwise"
        )
    offset, index, parts = 0, {}, []
    for name, array in arrays.items():
        wire = _NAMES.get(
            array.dtype.newbyteorder("<") if array.dtype.itemsize > 1 else array.dtype
        )
        if wire is None:
            raise CanvasError(
                f"Array {name!r}",
                str(array.dtype),
                f"must be one of {', '.join(_DTYPES)}",
                "Convert it first",
            )
        raw = np.ascontiguousarray(array, dtype=_DTYPES[wire]).tobytes()
        index[name] = {"dtype": wire, "shape": list(array.shape), "offset": offset}
        padding = -len(raw) % _ALIGN
        parts += [raw, b"\0" * padding]
        offset += len(raw) + padding
    try:
        text = json.dumps({**header, "arrays": index}, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise CanvasError(
            "Header", str(error), "must be plain JSON without NaN or infinity", "Correct that value"
        ) from error
    text += b" " * (-(_PREFIX.size + len(text)) % _ALIGN)
    return b"".join([_PREFIX.pack(MAGIC, VERSION, len(text)), text, *parts])


def decode_payload(payload: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The inverse of `encode_payload`; CanvasError on anything that is cut short or altered."""
    if len(payload) < _PREFIX.size:
        raise _damaged(len(payload), f"has at least {_PREFIX.size} bytes")
    magic, version, length = _PREFIX.unpack_from(payload)
    if magic != MAGIC:
        raise _damaged(magic, f"begins with {MAGIC!r}")
    if version != VERSION:
        raise _damaged(version, f"has version {VERSION}")
    start = _PREFIX.size + length
    if len(payload) < start:
        raise _damaged(len(payload), f"holds a header up to byte {start}")
    try:
        header = json.loads(payload[_PREFIX.size : start])
        index = header.pop("arrays")
        return header, {name: _array(name, entry, payload, start) for name, entry in index.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, CanvasError):
            raise
        raise _damaged(str(error), "has a readable header") from error


def _array(name: str, entry: Mapping[str, Any], payload: bytes, start: int) -> np.ndarray:
    if entry["dtype"] not in _DTYPES:
        raise _damaged(entry["dtype"], f"has arrays of {', '.join(_DTYPES)}")
    dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
    begin = start + entry["offset"]
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if entry["offset"] < 0 or entry["offset"] % _ALIGN or begin + size > len(payload):
        raise _damaged(name, f"holds all {size} bytes of that array, aligned")
    return np.frombuffer(payload[begin : begin + size], dtype=dtype).reshape(shape)


def _damaged(value: object, rule: str) -> CanvasError:
    return CanvasError("Payload", value, f"a whole payload {rule}", "Encode the view again")

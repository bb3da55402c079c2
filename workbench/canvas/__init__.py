"""The dial canvas: what goes to the browser, what comes back, and the browser's own files."""

from workbench.canvas.events import DialEvent
from workbench.canvas.payload import CanvasError, decode_payload, encode_payload
from workbench.canvas.view import DialView, to_payload

__all__ = [
    "CanvasError",
    "DialEvent",
    "DialView",
    "decode_payload",
    "encode_payload",
    "to_payload",
]

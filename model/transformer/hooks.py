"""The one door to TransformerLens: its hook machinery under our own module."""

from transformer_lens import HookedRootModule
from transformer_lens.hook_points import HookPoint

__all__ = ["HookPoint", "HookedRootModule"]

"""The error that pages catch: pages know the workbench, and not the model behind it."""

from model.errors import LocalistError

__all__ = ["LocalistError"]

"""The app's server for the tests: the benchmarks' own, so that both meet the same app."""

from __future__ import annotations

from benchmarks.served import is_healthy, serve
from workbench.paths import PROJECT as ROOT

__all__ = ["ROOT", "is_healthy", "serve"]

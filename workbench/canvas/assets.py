"""The component's HTML, CSS and JavaScript, joined without a build step.

The scripts are ordinary ES modules, so that a test page can import them one by one. The component
bridge takes one module: `javascript()` puts them in order, without the import lines and export
words between them; only the last one exports its default function.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from workbench.canvas.payload import CanvasError

FOLDER = Path(__file__).parent
# Each may import from those before it.
MODULES = (
    "dial_math.js",
    "dial_payload.js",
    "dial_colour.js",
    "dial_layout.js",
    "dial_axes.js",
    "dial_paint.js",
    "dial_strip.js",
    "dial_heads.js",
    "dial_grid.js",
    "dial_masses.js",
    "dial_table.js",
    "dial_control.js",
    "dial_export.js",
    "dial_curve.js",
    "dial_pointer.js",
    "dial_badge.js",
    "dial_view.js",
    "dial_stage.js",
    "dial_speech.js",
    "dial_link.js",
    "dial.js",
)
_IMPORT = re.compile(r"^import\b[^;]*?\bfrom\s+\"\./[a-z_]+\.js\";\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class|let)\b)", re.MULTILINE)


@cache
def javascript() -> str:
    """One ES module with one default export."""
    parts = []
    for name in MODULES:
        source = _IMPORT.sub("", _read(name))
        if re.search(r"^import\b", source, re.MULTILINE):
            raise CanvasError(
                f"Script {name}", "import", "may import from './file.js' only", "Rewrite that line"
            )
        parts.append(f"// {name}\n{_EXPORT.sub('', source)}")
    joined = "\n".join(parts)
    defaults = re.findall(r"^export\b.*$", joined, re.MULTILINE)
    if len(defaults) != 1 or not defaults[0].startswith("export default function"):
        raise CanvasError(
            "Scripts", defaults, "must export one default function", "Keep it in dial.js alone"
        )
    return joined


@cache
def html() -> str:
    """Markup without any text of a user."""
    return _read("dial.html")


@cache
def css() -> str:
    """Styles, on the page theme's own variables."""
    return _read("dial.css")


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")

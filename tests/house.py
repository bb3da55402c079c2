"""The house's rules as pure functions of a path and its text; each fault is one readable line."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import PurePosixPath

MOST_LINES = 300

# Who may import whom: app.py, pages -> workbench -> model.
ARROWS = {
    "app": {"pages", "workbench"},
    "pages": {"pages", "workbench"},
    "workbench": {"workbench", "model"},
    "model": {"model"},
    "sample_data": {"sample_data", "model"},
    "benchmarks": {"benchmarks", "workbench", "model"},
}
# Packages that are not ours: the only ones that a layer may import, or the ones that it may not.
ONLY = {"app": {"streamlit"}, "pages": {"streamlit"}}
NEVER = {
    "workbench": {"streamlit"},
    "model": {"pandas", "plotly", "networkx", "streamlit"},
    "sample_data": {"plotly", "networkx", "streamlit"},
    "benchmarks": {"streamlit"},
}
ONE_MODULE = {"transformer_lens": "model/transformer/hooks.py"}

CODE_IN_DATA = {
    "pickle",
    "_pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
}
CALLS = {"eval", "exec", "__import__"}
ATTRIBUTES = {
    ("torch", "load"),
    ("torch", "save"),
    ("os", "system"),
    ("os", "popen"),
    ("builtins", "eval"),
    ("builtins", "exec"),
}
METHODS = {"read_pickle", "to_pickle"}
KEYWORDS = {
    "shell": True,
    "allow_pickle": True,
    "weights_only": False,
    "trust_remote_code": True,
    "unsafe_allow_html": True,
    "unsafe_allow_javascript": True,
}

# In pieces, so that this file does not break the rule that it states.
HOSTS = [
    ".".join(parts)
    for parts in [
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("deb", "debian", "org"),
        ("download", "pytorch", "org"),
        ("proxy", "golang", "org"),
    ]
]
_FOLDERS = "|".join(["work", "root", "home", "Users", "tmp", "opt"])
MACHINE_PATH = re.compile(rf"(?<![\w.~$)}}-])/(?:{_FOLDERS})/\w")
UNFINISHED = re.compile(
    r"\b(?:" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"]) + r")\b"
)


def layer_of(path: str) -> str:
    """The house's part that a file belongs to: its first folder, or its own name at the top."""
    return PurePosixPath(path).parts[0].removesuffix(".py")


def imports_of(path: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import in the file, late and dynamic ones included."""
    package = PurePosixPath(path).parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            yield node.lineno, ".".join([*base, *filter(None, [node.module])])
        elif isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = node.func.id if isinstance(node.func, ast.Name) else name
            first = node.args[0]
            if name == "import_module" and isinstance(first, ast.Constant):
                yield node.lineno, str(first.value)


def arrow_faults(path: str, source: str) -> Iterator[str]:
    """Imports against the arrows, and imports of packages that the layer must do without."""
    layer = layer_of(path)
    if layer not in ARROWS:
        return
    for line, name in imports_of(path, ast.parse(source)):
        top = name.partition(".")[0]
        if top in ARROWS or top == "tests":
            wrong = top not in ARROWS[layer]
        elif top in sys.stdlib_module_names:
            wrong = False
        else:
            wrong = top in NEVER.get(layer, ()) or top not in ONLY.get(layer, {top})
        if wrong:
            yield f"{path}:{line}: {layer} may not import {name}"
        elif ONE_MODULE.get(top, path) != path:
            yield f"{path}:{line}: only {ONE_MODULE[top]} may import {top}"


def construct_faults(path: str, source: str) -> Iterator[str]:
    """Constructs by which data or text could become code, or a page's markup."""
    tree = ast.parse(source)
    for line, name in imports_of(path, tree):
        if name.partition(".")[0] in CODE_IN_DATA:
            yield f"{path}:{line}: {name} reads code out of data"
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in CALLS:
            yield f"{path}:{node.lineno}: {node.id} runs text"
        elif isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if (owner, node.attr) in ATTRIBUTES or node.attr in METHODS:
                yield f"{path}:{node.lineno}: .{node.attr} is not used in this house"
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (node.module or "", alias.name) in ATTRIBUTES:
                    yield f"{path}:{node.lineno}: {node.module}.{alias.name} is not used here"
        elif isinstance(node, ast.keyword) and node.arg in KEYWORDS:
            harmless = isinstance(node.value, ast.Constant) and (
                bool(node.value.value) is not KEYWORDS[node.arg]
            )
            if not harmless:
                yield f"{path}:{node.value.lineno}: {node.arg}={ast.unparse(node.value)}"


def shape_faults(path: str, source: str) -> Iterator[str]:
    """Files too long to be one idea, and modules that do not say what they are."""
    lines = len(source.splitlines())
    if lines > MOST_LINES:
        yield f"{path}: {lines} lines, and {MOST_LINES} are the most"
    if path.endswith(".py") and not ast.get_docstring(ast.parse(source)):
        yield f"{path}: has no module docstring"


def place_faults(path: str, text: str) -> Iterator[str]:
    """Words that tie the house to one machine or one package index."""
    for number, line in enumerate(text.splitlines(), start=1):
        yield from (f"{path}:{number}: names {host}" for host in HOSTS if host in line)
        if found := MACHINE_PATH.search(line):
            yield f"{path}:{number}: names a folder of one machine, {found.group()}…"


def unfinished_faults(path: str, text: str) -> Iterator[str]:
    """Notes to self: what is left to do belongs into an issue."""
    for number, line in enumerate(text.splitlines(), start=1):
        if found := UNFINISHED.search(line):
            yield f"{path}:{number}: says {found.group()}"

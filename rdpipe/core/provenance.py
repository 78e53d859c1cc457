"""Origin of a product: versions, commit, machine, and a digest of the source files of a stage."""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import rdpipe

PACKAGES = ("torch", "compressai", "imagecodecs", "numpy", "pillow", "xarray", "zarr")
"""Packages that numbers depend on."""
ROOT = Path(rdpipe.__file__).parent
"""Folder of the package."""
DATA_SUFFIXES = (".safetensors", ".j2", ".css", ".js")
"""Suffixes of files other than source that results depend on: weights and parts of the page."""


def versions() -> dict[str, str]:
    """Return the versions of rdpipe and of the packages that numbers depend on.

    Packages that are not installed are left out.
    """
    names = {"version_rdpipe": rdpipe.__version__}
    for name in PACKAGES:
        try:
            names[f"version_{name}"] = version(name)
        except PackageNotFoundError:
            continue
    return names


def commit() -> str:
    """Return the commit of the source, with ``-dirty`` if files differ from it.

    Outside a clone the commit is unknown.
    """
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown (not a clone)"


def machine() -> str:
    """Return a description of the machine."""
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return f"{system}, Python {platform.python_version()}"


def source_digest(*modules: str) -> str:
    """Return a digest of the source of modules and of every rdpipe module that they import.

    Imports are read from the source and not executed, so a Snakefile can afford it. Imports for
    type checkers only are left out. The ``__init__`` of each parent package counts too, but not
    what it imports. Weights and templates count with the modules in the same folder or in a folder
    above.

    Parameters
    ----------
    *modules : str
        Dotted names. Modules outside rdpipe (plug-ins) count with their own file only.

    Returns
    -------
    str
        Hexadecimal; equal content gives equal digests.
    """
    contents: dict[str, bytes] = {}
    folders: set[Path] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in contents or (file := _source(module)) is None:
            continue
        contents[module] = file.read_bytes()
        if _is_ours(module):
            folders.add(file.parent)
            waiting.extend(_imports(contents[module]))
    for module in list(contents):
        for parent in _parents(module):
            if parent not in contents and (file := _source(parent)) is not None:
                contents[parent] = file.read_bytes()
    for folder in folders - {ROOT}:
        for path in folder.rglob("*"):
            if path.suffix in DATA_SUFFIXES:
                contents[str(path.relative_to(ROOT))] = path.read_bytes()
    digest = hashlib.sha256()
    for name in sorted(contents):
        digest.update(f"{name}\0{len(contents[name])}\0".encode() + contents[name])
    return digest.hexdigest()[:16]


def _is_ours(module: str) -> bool:
    return module.split(".")[0] == "rdpipe"


def _parents(module: str) -> Iterator[str]:
    """Yield the packages of rdpipe that contain a module."""
    parts = module.split(".")
    if _is_ours(module):
        for length in range(1, len(parts)):
            yield ".".join(parts[:length])


def _source(module: str) -> Path | None:
    """Return the file of a module, or None if it has none."""
    if _is_ours(module):
        path = ROOT.parent.joinpath(*module.split("."))
        candidates = (path.with_suffix(".py"), path / "__init__.py")
        return next((file for file in candidates if file.is_file()), None)
    spec = find_spec(module)
    return Path(spec.origin) if spec and spec.origin and Path(spec.origin).is_file() else None


@cache
def _imports(source: bytes) -> list[str]:
    """Return names that may be rdpipe modules: ``from rdpipe.a import b`` gives both a and a.b."""
    names = []
    for node in _runtime_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if _is_ours(name)]


def _runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a syntax tree, without the bodies of ``if TYPE_CHECKING``."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))

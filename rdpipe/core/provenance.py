"""What a product was made from: versions, commit, machine, and a digest of a stage's source files."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import rdpipe

PACKAGES = ("torch", "compressai", "imagecodecs", "numpy", "pillow", "xarray", "zarr")
ROOT = Path(__file__).parent
DATA = (".safetensors", ".j2", ".css", ".js")
"""What else than source makes a result."""


def versions() -> dict[str, str]:
    """Versions of the packages that numbers depend on."""
    packages = {f"version_{name}": version(name) for name in PACKAGES}
    return {"version_rdpipe": rdpipe.__version__, **packages}


def commit() -> str:
    """The commit of the source, with ``-dirty`` where it was changed since; unknown outside a clone."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown (not a clone)"


def machine() -> str:
    """What this runs on, in words."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def source_digest(*modules: str) -> str:
    """Digest of the source of modules and of every rdpipe module that they import.

    Imports are read from the source, not executed, so this is cheap enough for a Snakefile. Weights
    and templates count with the modules that they lie beside, or below.

    Parameters
    ----------
    *modules : str
        Dotted names. Modules outside rdpipe (plugins) count with their own file only.

    Returns
    -------
    str
        Hexadecimal; the same whenever the content is the same.
    """
    seen: dict[str, bytes] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in seen and (file := _source(module)):
            seen[module] = file.read_bytes()
            if module.split(".")[0] == "rdpipe":
                waiting.extend(_imports(seen[module]))
    ours = {_source(module).parent for module in seen if module.split(".")[0] == "rdpipe"}
    for folder in ours - {ROOT}:
        for file in folder.rglob("*"):
            if file.suffix in DATA:
                seen[str(file.relative_to(ROOT))] = file.read_bytes()
    digest = hashlib.sha256()
    for module in sorted(seen):
        digest.update(f"{module}\0{len(seen[module])}\0".encode() + seen[module])
    return digest.hexdigest()[:16]


def _source(module: str) -> Path | None:
    if module.split(".")[0] == "rdpipe":
        path = ROOT.parent.joinpath(*module.split("."))
        candidates = (path.with_suffix(".py"), path / "__init__.py")
        return next((file for file in candidates if file.is_file()), None)
    spec = find_spec(module)
    return Path(spec.origin) if spec and spec.origin and Path(spec.origin).is_file() else None


def _imports(source: bytes) -> list[str]:
    """Names that may be rdpipe modules: ``from rdpipe.a import b`` gives both a and a.b."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.split(".")[0] == "rdpipe"]

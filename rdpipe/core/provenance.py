"""Origin of a product: versions, commit, machine, and a digest of the source files of a stage."""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import subprocess
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import rdpipe

PACKAGES = ("torch", "compressai", "imagecodecs", "numpy", "pillow", "xarray", "zarr")
"""Packages that numbers depend on."""
IMAGES = ("numpy", "imagecodecs", "pillow")
"""Packages that the pixels of images depend on."""
NUMERICAL = ("numpy", "scipy", "torch", "compressai", "pytorch-msssim")
"""Packages that the numbers of most stages depend on."""
TRAINING = (*NUMERICAL, "pillow", "lightning-fabric", "pytorch-optimizer")
"""Packages that trained weights depend on."""
STAGE_PACKAGES = {
    "prepare_dataset": IMAGES,
    "run_baseline": (*IMAGES, "pytorch-msssim"),
    "train_codec": TRAINING,
    "retune_codec": TRAINING,
    "write_bitstreams": (*NUMERICAL, "constriction"),
    "read_bitstreams": (*NUMERICAL, "constriction"),
    "export_curves": (),
    "make_report": (),
}
"""Packages whose versions the products of a stage depend on; of other stages, NUMERICAL."""
ROOT = Path(rdpipe.__file__).parent
"""Folder of the package."""
TEMPLATE_SUFFIXES = (".j2", ".css", ".js")
"""Suffixes of parts of the page."""
INSTALLED = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")}
"""Folders of installed packages, which do not belong to each other."""


def versions() -> dict[str, str]:
    """Return the versions of rdpipe and of the packages that numbers depend on.

    Packages that are not installed are left out.
    """
    names = {"version_rdpipe": rdpipe.__version__}
    found = ((name, _version(name)) for name in PACKAGES)
    return names | {f"version_{name}": number for name, number in found if number is not None}


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


def digests_of(modules: Iterable[str], files: Iterable[Path] = ()) -> list[str]:
    """Return ``name: digest`` of modules, see :func:`source_digest`, and of the bytes of files."""
    of_modules = [f"{module}: {source_digest(module)}" for module in modules]
    return of_modules + [f"{file.name}: {_short_digest(file.read_bytes())}" for file in files]


def installed_versions(stage: str) -> list[str]:
    """Return ``name: version`` of the packages that the product of a stage depends on.

    Packages that are not installed are left out.
    """
    packages = STAGE_PACKAGES.get(stage, NUMERICAL)
    return [f"{name}: {found}" for name in packages if (found := _version(name)) is not None]


def source_digest(*modules: str) -> str:
    """Return a digest of the code of modules and of every module of theirs that they import.

    Those are the modules of rdpipe, and for a plug-in those of its own package or folder. Comments,
    docstrings, the layout of the text and ``__version__`` do not count. Imports are read from the
    source and not executed, so a Snakefile can afford it. Imports for type checkers only are left
    out. The ``__init__`` of each parent package counts too, but not what it imports. Templates
    count with the modules in the same folder or in a folder above.

    Parameters
    ----------
    *modules : str
        Dotted names.

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
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        imported = _imports(contents[module], package)
        waiting.extend(name for name in imported if _is_part_of(name, module))
        waiting.extend(parent for parent in _parents(module) if not _is_ours(module))
    for module in list(contents):
        for parent in filter(_is_ours, _parents(module)):
            if parent not in contents and (file := _source(parent)) is not None:
                contents[parent] = file.read_bytes()
    code = {module: _code(content) for module, content in contents.items()}
    for folder in folders - {ROOT}:
        for path in folder.rglob("*"):
            if path.suffix in TEMPLATE_SUFFIXES:
                code[str(path.relative_to(ROOT))] = path.read_bytes()
    parts = (f"{name}\0{len(code[name])}\0".encode() + code[name] for name in sorted(code))
    return _short_digest(b"".join(parts))


def _short_digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _is_ours(module: str) -> bool:
    return module.split(".")[0] == "rdpipe"


def _is_part_of(name: str, module: str) -> bool:
    """Return whether the digest of a module contains a module that it imports."""
    if _is_ours(name) or _is_ours(module):
        return _is_ours(name)
    top, other = module.split(".")[0], name.split(".")[0]
    if top == other:
        return True
    beside = {_home(top), _home(other)}
    return len(beside) == 1 and None not in beside and not beside & INSTALLED


def _home(package: str) -> Path | None:
    """Return the folder that contains a package or module, without importing it."""
    spec = find_spec(package)
    if spec is None or (spec.submodule_search_locations is None and not spec.has_location):
        return None
    locations = spec.submodule_search_locations or [str(spec.origin)]
    return Path(next(iter(locations))).parent


def _parents(module: str) -> Iterator[str]:
    """Yield the packages that contain a module."""
    parts = module.split(".")
    for length in range(1, len(parts)):
        yield ".".join(parts[:length])


def _source(module: str) -> Path | None:
    """Return the file of a module, or None if it has none, without importing a package."""
    top, *rest = module.split(".")
    home = ROOT.parent if _is_ours(module) else _home(top)
    if home is None:
        return None
    path = home.joinpath(top, *rest)
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)


@cache
def _code(source: bytes) -> bytes:
    """Return what Python executes of a module, without docstrings and ``__version__``."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # of a plug-in: its stage reports it
        return source
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [child for child in body if not _is_text(child)]  # type: ignore[attr-defined]
    return ast.unparse(tree).encode()


def _is_text(node: ast.AST) -> bool:
    """Return whether a statement is a docstring, or assigns ``__version__``."""
    if isinstance(node, ast.Assign):
        return [ast.unparse(target) for target in node.targets] == ["__version__"]
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@cache
def _imports(source: bytes, package: str) -> list[str]:
    """Return names that may be modules: ``from a import b`` gives both a and a.b.

    Parameters
    ----------
    source : bytes
    package : str
        The package of the module, to which relative imports refer.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    names = []
    for node in _runtime_nodes(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, (base, node.module)))
            names += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
    return [name for name in names if name]


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

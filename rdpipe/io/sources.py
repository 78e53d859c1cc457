"""Digests of what Python executes of a stage: its module, and all modules that this one imports."""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import rdpipe
from rdpipe.io.files import read_cache, write_cache

ROOT = Path(rdpipe.__file__).parent
"""Folder of the package."""
TEMPLATE_SUFFIXES = (".j2", ".css", ".js")
"""Suffixes of parts of the page."""
INSTALLED = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")}
"""Folders of installed packages, which do not belong to each other."""
MOST_ENTRIES = 1000
"""Number of entries from which a cache is written without those that are not used."""


class Module(NamedTuple):
    """A module of which there is a source file.

    Parameters
    ----------
    folder : Path
        Where its file is.
    digest : str
        Of what Python executes of it.
    uses : list of str
        Names of what it imports, some of which are no modules.
    """

    folder: Path
    digest: str
    uses: list[str]


class Sources:
    """Digests of the code of modules. Each source is read once, so a Snakefile can afford it.

    Parameters
    ----------
    cache : Path, optional
        A file that keeps what was read of each source, by the content of the source. It is written
        by :meth:`save`.
    """

    def __init__(self, cache: Path | None = None):
        self._cache, self._cached = cache, read_cache(cache)
        self._reader = Path(__file__).read_bytes() + sys.version.encode()
        self._used: dict[str, list[str]] = {}
        self._modules: dict[str, Module | None] = {}
        self._templates: dict[Path, dict[str, str]] = {}

    def digests(self, modules: Iterable[str], files: Iterable[Path] = ()) -> list[str]:
        """Return ``name: digest`` of modules, see :meth:`digest`, and of the bytes of files."""
        of_modules = [f"{module}: {self.digest(module)}" for module in modules]
        return of_modules + [f"{file.name}: {_short_digest(file.read_bytes())}" for file in files]

    def digest(self, module: str) -> str:
        """Return a digest of the code of a module and of every module of its own that it imports.

        Those are the modules of rdpipe, and for a plug-in those of its own package or folder.
        Comments, docstrings, the layout of the text and ``__version__`` do not count. Imports are
        read from the source and not executed. Imports for type checkers only are left out. The
        ``__init__`` of each parent package counts too, but not what it imports. Templates count
        with the modules in the same folder or in a folder above.

        Parameters
        ----------
        module : str
            Dotted name.

        Returns
        -------
        str
            Hexadecimal; equal content gives equal digests.
        """
        parts: dict[str, str] = {}
        folders: set[Path] = set()
        waiting = [module]
        while waiting:
            name = waiting.pop()
            if name in parts or (source := self._module(name)) is None:
                continue
            parts[name] = source.digest
            waiting.extend(source.uses)
            if _is_ours(name):
                folders.add(source.folder)
        for parent in {parent for name in parts if _is_ours(name) for parent in _parents(name)}:
            if parent not in parts and (source := self._module(parent)) is not None:
                parts[parent] = source.digest
        for folder in folders - {ROOT}:
            parts |= self._templates_below(folder)
        return _short_digest("".join(f"{name}\0{parts[name]}\0" for name in sorted(parts)).encode())

    def save(self) -> None:
        """Write the cache if something new was read, and if it can be written."""
        if self._cache is not None and self._used.keys() - self._cached.keys():
            self._cached |= self._used
            if len(self._cached) > MOST_ENTRIES:
                self._cached = dict(self._used)
            write_cache(self._cache, self._cached)

    def _module(self, name: str) -> Module | None:
        """Return a module; None if there is no source of this name."""
        if name not in self._modules:
            file = _source(name)
            self._modules[name] = None if file is None else self._read_module(name, file)
        return self._modules[name]

    def _read_module(self, name: str, file: Path) -> Module:
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        source = file.read_bytes()
        key = _short_digest(b"\0".join([self._reader, package.encode(), source]))
        self._used[key] = self._cached.get(key) or [*_read_code(source, package)]
        digest, *imported = self._used[key]
        uses = [other for other in imported if _is_part_of(other, name)]
        return Module(file.parent, digest, uses + ([] if _is_ours(name) else [*_parents(name)]))

    def _templates_below(self, folder: Path) -> dict[str, str]:
        """Return the digests of the templates in a folder, by their path in the package."""
        if folder not in self._templates:
            self._templates[folder] = {
                str(path.relative_to(ROOT)): _short_digest(path.read_bytes())
                for path in folder.rglob("*")
                if path.suffix in TEMPLATE_SUFFIXES
            }
        return self._templates[folder]


def _short_digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


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


def _read_code(source: bytes, package: str) -> Iterator[str]:
    """Yield a digest of what Python executes of a module, then what it imports.

    Parameters
    ----------
    source : bytes
    package : str
        The package of the module, to which relative imports refer.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # of a plug-in: its stage reports it
        yield _short_digest(source)
        return
    imported = list(_imports(tree, package))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [child for child in body if not _is_text(child)]  # type: ignore[attr-defined]
    yield _short_digest(ast.unparse(tree).encode())
    yield from imported


def _is_text(node: ast.AST) -> bool:
    """Return whether a statement is a docstring, or assigns ``__version__``."""
    if isinstance(node, ast.Assign):
        return [ast.unparse(target) for target in node.targets] == ["__version__"]
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Yield names that may be modules: ``from a import b`` gives both a and a.b."""
    for node in _runtime_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, (base, node.module)))
            if origin:
                yield origin
                yield from (f"{origin}.{alias.name}" for alias in node.names)


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

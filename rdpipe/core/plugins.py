"""Resolve ``"name"`` or ``"module:attribute"``, with which a config names any part of the suite."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rdpipe.core.errors import InputError, attribute_to_user

FIRST = {"codec": "quality as the first parameter, as in (quality: int)"}
"""What the factories of a kind of object must take first."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Return a hint that lists the known names, the most similar ones first."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    return f"{hint}known: {', '.join(names)}"


def locate(what: str, name: str, table: Mapping[str, str]) -> tuple[str, list[int]]:
    """Return the target of a name without importing it.

    Parameters
    ----------
    what : str
        Kind of object ("codec", "variance", ...), for the error message.
    name : str
        A name in ``table``; a family in ``table`` and a number (``window-5``); or
        ``module:attribute``.
    table : mapping of str to str
        ``module:attribute`` of each known name.

    Returns
    -------
    target : str
        ``module:attribute``.
    numbers : list of int
        ``[5]`` for ``window-5``, otherwise empty.

    Raises
    ------
    InputError
        If the name is unknown; suggests the most similar known names.

    Examples
    --------
    >>> locate("variance", "window-5", {"window": "rdpipe.estimators.variances:WindowVariance"})
    ('rdpipe.estimators.variances:WindowVariance', [5])
    """
    if name in table:
        return table[name], []
    if ":" in name:
        return name, []
    numbered = re.fullmatch(r"(.+)-(\d+)", name)
    if numbered and numbered[1] in table:
        return table[numbered[1]], [int(numbered[2])]
    raise InputError(f"unknown {what} {name!r}; {suggest(name, table)}, or 'module:attribute'")


def load_attribute(target: str) -> Any:
    """Import ``module:attribute``; errors in this package are the user's from now on.

    Raises
    ------
    InputError
        If the module cannot be imported, or lacks the attribute.
    """
    module, _, attribute = target.partition(":")
    attribute_to_user(module)
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, SyntaxError) as error:
        places = f"searched {Path.cwd()} and the installed packages"
        raise InputError(f"cannot load {target!r}: {error}; {places}") from error


def bind_entry(
    what: str, name: str, entry: Mapping[str, Any], table: Mapping[str, str], *args: Any
) -> partial[Any]:
    """Return the factory of a config entry with its arguments bound but not called.

    Parameters and errors are those of :func:`build_entry`.
    """
    target, numbers = locate(what, entry.get("use", name), table)
    factory = load_attribute(target)
    if not callable(factory):
        kind = type(factory).__name__
        raise InputError(f"{what} {name!r}: {target} is a {kind}; expected a class or a function")
    if inspect.isabstract(factory):
        missing = ", ".join(sorted(factory.__abstractmethods__))
        raise InputError(f"{what} {name!r}: {target} does not define {missing}")
    signature = inspect.signature(factory)
    try:
        bound = signature.bind(*numbers, *args, **entry.get("args", {}))
    except TypeError as error:
        if what in FIRST and not _takes(signature, len(numbers) + len(args)):
            raise InputError(
                f"{what} {name!r}: {target} takes {signature}; expected {FIRST[what]}"
            ) from error
        raise InputError(f"{what} {name!r}: {error}; expected {signature}") from error
    return partial(factory, *bound.args, **bound.kwargs)


def _takes(signature: inspect.Signature, count: int) -> bool:
    """Return whether a function takes some number of positional arguments."""
    try:
        signature.bind_partial(*range(count))
    except TypeError:
        return False
    return True


def build_entry(
    what: str, name: str, entry: Mapping[str, Any], table: Mapping[str, str], *args: Any
) -> Any:
    """Build the object that a config entry ``name: {use: ..., args: {...}}`` describes.

    Parameters
    ----------
    what, table
        See :func:`locate`.
    name : str
        Name of the entry, and of the object unless the entry has ``use``.
    entry : mapping
        ``use`` and ``args`` (keyword arguments), both optional.
    *args
        Positional arguments that come before the keyword arguments.

    Raises
    ------
    InputError
        If the name is unknown, it names something that cannot be built, or the arguments do not
        fit.
    """
    return bind_entry(what, name, entry, table, *args)()

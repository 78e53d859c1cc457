"""``"name"`` or ``"module:attribute"`` -> object: how a config names any part of the suite."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from functools import partial
from pathlib import Path

from rdpipe.errors import InputError


def nearest(name: str, known) -> str:
    """Say which names are known, the most similar first."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    return f"{hint}known: {', '.join(known)}"


def locate(what: str, name: str, table: dict[str, str]) -> tuple[str, list[int]]:
    """Find what a name stands for, without importing it.

    Parameters
    ----------
    what : str
        What is looked for ("codec", "variance", ...), for the error message.
    name : str
        A name of ``table``; a family of ``table`` and a number (``window-5``); or
        ``module:attribute``.
    table : dict of str to str
        Short names and the ``module:attribute`` that each stands for.

    Returns
    -------
    target : str
        ``module:attribute``.
    numbers : list of int
        ``[5]`` for ``window-5``, otherwise empty.

    Raises
    ------
    InputError
        If the name is unknown; names the nearest known ones.

    Examples
    --------
    >>> locate("variance", "window-5", {"window": "rdpipe.axes.variance:Window"})
    ('rdpipe.axes.variance:Window', [5])
    """
    if name in table:
        return table[name], []
    if ":" in name:
        return name, []
    numbered = re.fullmatch(r"(.+)-(\d+)", name)
    if numbered and numbered[1] in table:
        return table[numbered[1]], [int(numbered[2])]
    raise InputError(f"unknown {what} {name!r}; {nearest(name, table)}, or 'module:attribute'")


def load(target: str):
    """Import ``module:attribute``."""
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        places = f"looked for in {Path.cwd()} and among what is installed"
        raise InputError(f"cannot load {target!r}: {error}; {places}") from error


def bind(what: str, name: str, entry: dict, table: dict[str, str], *args) -> partial:
    """What builds what a config entry describes: its factory, with arguments that fit. As :func:`make` takes them."""
    target, numbers = locate(what, entry.get("use", name), table)
    factory = load(target)
    signature = inspect.signature(factory)
    try:
        bound = signature.bind(*numbers, *args, **entry.get("args", {}))
    except TypeError as error:
        raise InputError(f"{what} {name!r}: {error}; it takes {signature}") from error
    return partial(factory, *bound.args, **bound.kwargs)


def make(what: str, name: str, entry: dict, table: dict[str, str], *args):
    """Build what a config entry ``name: {use: ..., args: {...}}`` describes.

    Parameters
    ----------
    what, table
        As for :func:`locate`.
    name : str
        Name of the entry, and what it uses unless the entry says otherwise.
    entry : dict
        ``use`` (optional) and ``args``, keyword arguments (optional).
    *args
        Further positional arguments.

    Raises
    ------
    InputError
        If the name is unknown, or the arguments do not fit.
    """
    return bind(what, name, entry, table, *args)()

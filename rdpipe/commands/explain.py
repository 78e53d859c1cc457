"""Explain a word of the page, the tables and the terminal."""

from __future__ import annotations

import textwrap

from rdpipe.core.errors import InputError
from rdpipe.core.plugins import suggest
from rdpipe.report.words import GLOSSARY


def run(term: str = "", /) -> None:
    """Explain a term; without one, list all terms.

    Parameters
    ----------
    term : str
        A word of the page, such as ``quantization`` or ``test-channel``. Case does not matter.

    Raises
    ------
    InputError
        If the term is not known; names similar ones.
    """
    if not term:
        print(*GLOSSARY, sep="\n")
        return
    known = {key(name): name for name in GLOSSARY}
    if key(term) not in known:
        raise InputError(f"{term!r} is not a term; {suggest(key(term), known)}")
    name = known[key(term)]
    print(textwrap.fill(f"{name}: {GLOSSARY[name]}.", 100))


def key(term: str) -> str:
    """Return a term without case, and with spaces for hyphens."""
    return term.casefold().replace("-", " ")

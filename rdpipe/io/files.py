"""Write a file completely or not at all; keep what was computed of files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, save: Callable[[Path], object]) -> None:
    """Write a temporary file and rename it into place.

    Parameters
    ----------
    path : Path
        The file to write. Its folder is created if it does not exist.
    save : callable
        Writes the file whose path it receives.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        save(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_cache(cache: Path | None) -> dict[str, list[str]]:
    """Return the entries of a cache; none if it cannot be read."""
    try:
        entries = json.loads(cache.read_text()) if cache else {}
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def write_cache(cache: Path, entries: Mapping[str, list[str]]) -> None:
    """Write the entries of a cache, if it can be written."""
    with suppress(OSError):
        write_atomically(cache, lambda out: out.write_text(json.dumps(entries)))

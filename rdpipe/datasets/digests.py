"""Digests of the content of files, which are read only if they have changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from rdpipe.io.files import write_atomically


def content_digests(files: Iterable[str], cache: Path | None = None) -> list[str]:
    """Return a digest of the content of each file; of a broken link, of its target.

    Parameters
    ----------
    files : iterable of str
        Absolute paths.
    cache : Path, optional
        Where size, time of modification and digest of each file are stored. A file with the size
        and time of the cache is not read. The cache is replaced, if its folder can be written.
    """
    known = _read(cache)
    entries = {}
    for file in files:
        path = Path(file)
        status = path.stat() if path.exists() else path.lstat()
        stamp = f"{status.st_size} {status.st_mtime_ns}"
        former, digest = known.get(file, ("", ""))
        entries[file] = [stamp, digest if stamp == former else _digest(path)]
    if cache is not None and entries != known:
        with suppress(OSError):
            write_atomically(cache, lambda out: out.write_text(json.dumps(entries)))
    return [digest for _, digest in entries.values()]


def _digest(path: Path) -> str:
    """Return the digest of a file."""
    if not path.exists():
        return str(path.readlink())
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]


def _read(cache: Path | None) -> dict[str, list[str]]:
    """Return the entries of a cache; none if it cannot be read."""
    try:
        entries = json.loads(cache.read_text()) if cache else {}
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}

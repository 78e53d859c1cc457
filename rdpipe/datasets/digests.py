"""Digests of the content of files, which are read only if they have changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from rdpipe.io.files import read_cache, write_cache


def content_digests(files: Iterable[str], cache: Path | None = None) -> list[str]:
    """Return a digest of the content of each file; of a broken link, of its target.

    A file that cannot be read has the error as its digest: the job that reads it reports it.

    Parameters
    ----------
    files : iterable of str
        Absolute paths.
    cache : Path, optional
        Where the digest of each file is stored, with its size, inode, and times of modification and
        of change. A file with those of the cache is not read. The cache is replaced, if its folder
        can be written.
    """
    known = read_cache(cache)
    entries = {}
    for file in files:
        try:
            stamp = _stamp(Path(file))
            former, digest = known.get(file, ("", ""))
            entries[file] = [stamp, digest if stamp == former else _digest(Path(file))]
        except OSError as error:
            entries[file] = ["", str(error)]
    if cache is not None and entries != known:
        write_cache(cache, entries)
    return [digest for _, digest in entries.values()]


def _stamp(path: Path) -> str:
    """Return what changes with the content of a file."""
    status = path.stat() if path.exists() else path.lstat()
    numbers = status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
    return " ".join(map(str, numbers))


def _digest(path: Path) -> str:
    """Return the digest of a file."""
    if not path.exists():
        return str(path.readlink())
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]

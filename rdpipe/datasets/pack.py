"""The image files of a dataset in one archive, for jobs on machines without its folder.

The path of an image in a pack is that of the pack, followed by a name: ``images.zip/000012.png``.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from rdpipe.io.files import write_atomically

NAME = "images.zip"
"""Name of a pack, by which it is known from a file of the user in a path."""
DATE = (1980, 1, 1, 0, 0, 0)
"""Date of every file of a pack: the same images give the same bytes."""


def write_pack(pack: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write a pack, completely or not at all.

    Parameters
    ----------
    pack : Path
    files : iterable of (str, bytes)
        Name in the pack and content of each file.
    """

    def save(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # images are compressed
            for name, content in files:
                archive.writestr(zipfile.ZipInfo(name, DATE), content)

    write_atomically(pack, save)


def read_packed(file: Path) -> bytes | None:
    """Return the content of a file in a pack; None if it is not in one.

    Raises
    ------
    OSError
        If the pack is damaged, or has no such file.
    """
    pack = file.parent
    if pack.name != NAME or not pack.is_file():
        return None
    try:
        status = pack.stat()
        archive = _open(pack, status.st_size, status.st_mtime_ns, os.getpid())
        return archive.read(file.name)
    except (zipfile.BadZipFile, KeyError) as error:
        raise OSError(f"{pack}: damaged, delete it and run the workflow again: {error}") from error


@lru_cache(maxsize=4)
def _open(pack: Path, size: int, time: int, process: int) -> zipfile.ZipFile:
    """Open a version of a pack and keep it open; forked processes do not share its position."""
    return zipfile.ZipFile(pack)

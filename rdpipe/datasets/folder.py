"""A folder of image files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from rdpipe.core.errors import InputError
from rdpipe.datasets.source import Source

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")


def find(root: str, pattern: str = "**/*") -> list[Source]:
    """Return the images below a folder, sorted by relative path, without hidden files.

    Parameters
    ----------
    root : str
        The folder; a relative path starts at the working directory.
    pattern : str
        Pattern of the files below it, see :meth:`pathlib.Path.glob`.

    Raises
    ------
    InputError
        If the folder does not exist, or has no PNG, JPEG, WebP or TIFF file, or the name of one is
        not UTF-8.
    """
    for name, value in {"root": root, "pattern": pattern}.items():
        if not isinstance(value, str) or "\0" in value:
            raise InputError(f"{name}: {value!r} is not a text without null characters")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise InputError(f"{root!r} ({folder.resolve()}) is not a folder")
    try:
        matches = [(file, file.relative_to(folder)) for file in folder.glob(pattern)]
    except (ValueError, NotImplementedError) as error:
        raise InputError(
            f"pattern: {pattern!r} is not valid; expected a pattern of files in the folder"
        ) from error
    sources = []
    for file, relative in matches:
        hidden = any(part.startswith(".") for part in relative.parts)
        if file.suffix.lower() in SUFFIXES and not hidden and _is_file_or_broken_link(file):
            sources.append(Source(_checked_name(relative.as_posix()), str(file.absolute())))
    if not sources:
        raise InputError(
            f"{root!r}: no image matches {pattern!r}; expected files that end in"
            f" {', '.join(SUFFIXES)}"
        )
    return sorted(sources, key=lambda source: source.name)


def _is_file_or_broken_link(file: Path) -> bool:
    """Return whether a path is meant to be an image; a broken link is refused when it is read."""
    return file.is_file() or (file.is_symlink() and not file.exists())


def _checked_name(name: str) -> str:
    """Return a name if it can be written to a file."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the name {os.fsencode(name)!r} is not UTF-8; rename the file") from error
    return name


def fingerprint(root: str, pattern: str = "**/*") -> str:
    """Return a digest of the names, sizes and times of modification of the images of :func:`find`.

    It shows before every run whether the folder has changed, without reading the images.
    """
    digest = hashlib.sha256()
    for source in find(root, pattern):
        file = Path(source.file)
        status = file.stat() if file.exists() else file.lstat()
        digest.update(f"{source.name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()

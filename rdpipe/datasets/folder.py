"""Any directory of images."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from rdpipe.datasets.source import Source
from rdpipe.core.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")


def find(root: str, pattern: str = "**/*") -> list[Source]:
    """The images below a directory, sorted by relative path; hidden files are left out.

    Parameters
    ----------
    root : str
        The directory; a relative one counts from where the workflow runs.
    pattern : str
        Which files below it, as for :meth:`pathlib.Path.glob`.

    Raises
    ------
    InputError
        If the directory is absent, or holds no PNG, JPEG, WebP or TIFF, or one whose name is no UTF-8.
    """
    for name, value in {"root": root, "pattern": pattern}.items():
        if not isinstance(value, str) or "\0" in value:
            raise InputError(f"{name} {value!r}: allowed is a text without null characters")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise InputError(f"{root!r} ({folder.resolve()}) is no directory")
    try:
        matching = [(file, file.relative_to(folder)) for file in folder.glob(pattern)]
    except (ValueError, NotImplementedError) as error:
        raise InputError(f"pattern {pattern!r}: allowed are those that stay in the folder") from error
    sources = []
    for file, relative in matching:
        hidden = any(part.startswith(".") for part in relative.parts)
        if file.suffix.lower() in SUFFIXES and not hidden and is_file_or_broken_link(file):
            sources.append(Source(checked(relative.as_posix()), str(file.absolute())))
    if not sources:
        raise InputError(f"{root!r}: no image matches {pattern!r}; known: {', '.join(SUFFIXES)}")
    return sorted(sources, key=lambda source: source.name)


def is_file_or_broken_link(file: Path) -> bool:
    """Whether somebody means this to be an image; a link to nothing is then named as unreadable."""
    return file.is_file() or (file.is_symlink() and not file.exists())


def checked(name: str) -> str:
    """A name that can be written down."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the name {os.fsencode(name)!r} is no UTF-8; rename the file") from error
    return name


def fingerprint(**args) -> str:
    """Digest of the names, sizes and times of the images that :func:`find` gives.

    Cheap enough to ask before every run whether anything in the directory has changed.
    """
    digest = hashlib.sha256()
    for source in find(**args):
        file = Path(source.file)
        status = file.stat() if file.exists() else file.lstat()
        digest.update(f"{source.name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()

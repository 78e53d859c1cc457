"""Any directory of images."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rdpipe.datasets.source import Source
from rdpipe.errors import InputError

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
        If the directory is absent, or holds no PNG, JPEG, WebP or TIFF.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise InputError(f"{root!r} ({folder.resolve()}) is no directory")
    sources = []
    for file in folder.glob(pattern):
        relative = file.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if file.suffix.lower() in SUFFIXES and not hidden and file.is_file():
            sources.append(Source(relative.as_posix(), str(file.absolute())))
    if not sources:
        raise InputError(f"{root!r}: no image matches {pattern!r}; known: {', '.join(SUFFIXES)}")
    return sorted(sources, key=lambda source: source.name)


def fingerprint(**args) -> str:
    """Digest of the names, sizes and times of the images that :func:`find` gives.

    Cheap enough to ask before every run whether anything in the directory has changed.
    """
    digest = hashlib.sha256()
    for source in find(**args):
        status = Path(source.file).stat()
        digest.update(f"{source.name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()

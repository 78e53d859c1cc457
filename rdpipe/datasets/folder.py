"""A folder of image files."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

from rdpipe.core.errors import InputError
from rdpipe.datasets.digests import content_digests
from rdpipe.datasets.formats import MAX_PIXELS, SUFFIXES
from rdpipe.datasets.source import Source, Sources

NO_SUFFIX, LINKED_FOLDER = "without suffix", "links to folders"
"""What is counted under these names instead of a suffix."""


def find(root: str | list[str], pattern: str = "**/*", max_pixels: int = MAX_PIXELS) -> Sources:
    """Return the images below a folder or several, sorted by relative path, without hidden files.

    Files with other suffixes than :data:`~rdpipe.datasets.formats.SUFFIXES` are counted. Links to
    folders are not followed.

    Parameters
    ----------
    root : str or list of str
        The folder, or several; a relative path starts at the working directory. With several, the
        names of images begin with the name of their folder, or, if two folders have the same name,
        with the path from the folder that contains all of them.
    pattern : str
        Pattern of the files below each, see :meth:`pathlib.Path.glob`.
    max_pixels : int
        Largest accepted number of pixels of an image.

    Raises
    ------
    InputError
        If an argument is not valid, a folder does not exist, has no image or contains another one,
        or the name of an image is not UTF-8.
    """
    roots: list[Any] = root if isinstance(root, list) and root else [root]
    _check_arguments(roots, pattern, max_pixels)
    images, others = list[Source](), Counter[str]()
    for path, label in _labels(roots).items():
        sources = _find_in(path, label, pattern, max_pixels)
        images += sources
        others.update(sources.other_files)
    return Sources(sorted(images, key=lambda source: source.name), others)


def _labels(roots: Sequence[str]) -> dict[str, str]:
    """Return what the names of images begin with, by folder; empty for a single folder."""
    paths = [os.path.abspath(os.path.expanduser(root)) for root in roots]
    for folder, other in permutations(map(os.path.realpath, paths), 2):
        if Path(folder).is_relative_to(other):
            raise InputError(
                f"root: {folder!r} is twice in the list, or lies in {other!r}; expected it once"
            )
    labels = [os.path.basename(path) for path in paths]
    if len(set(labels)) < len(labels):
        labels = [os.path.relpath(path, os.path.commonpath(paths)) for path in paths]
    return dict(zip(roots, labels if len(roots) > 1 else [""], strict=True))


def _find_in(root: str, label: str, pattern: str, max_pixels: int) -> Sources:
    """Return the images below one folder; their names begin with the label."""
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise InputError(f"{root!r} ({folder.resolve()}) is not a folder")
    images, others = [], Counter[str]()
    for file, relative in _matches(folder, pattern):
        if any(part.startswith(".") for part in relative.parts):
            continue
        if file.suffix.lower() in SUFFIXES and _is_file_or_broken_link(file):
            name = _checked_name((label / relative).as_posix())
            images.append(Source(name, str(file), max_pixels))
        elif file.is_dir():
            others[LINKED_FOLDER] += file.is_symlink()
        else:
            others[file.suffix.lower() or NO_SUFFIX] += 1
    if not images:
        counts = counts_text(+others)
        raise InputError(
            f"{root!r}: no image matches {pattern!r}{f' (but {counts})' * bool(counts)}; expected"
            f" files that end in {', '.join(SUFFIXES)}"
        )
    return Sources(images, +others)


def counts_text(counts: Mapping[str, int]) -> str:
    """Return the numbers of files by suffix in words, such as "3 .txt, 1 .db"."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {suffix}" for suffix, count in ordered)


def _check_arguments(roots: Sequence[str], pattern: str, max_pixels: int) -> None:
    """Refuse arguments of a wrong type, which a config may contain."""
    for root in roots:
        if not _is_path(root):
            raise InputError(
                f"root: {root!r} is not a text without null characters; expected a folder or a list"
                " of folders"
            )
    if not _is_path(pattern):
        raise InputError(f"pattern: {pattern!r} is not a text without null characters")
    if not isinstance(max_pixels, int) or isinstance(max_pixels, bool) or max_pixels < 1:
        raise InputError(
            f"max_pixels: {max_pixels!r} is not a number of pixels; expected 1 or more"
        )


def _is_path(value: object) -> bool:
    """Return whether a value can be a path."""
    return isinstance(value, str) and "\0" not in value


def _matches(folder: Path, pattern: str) -> list[tuple[Path, Path]]:
    """Return the matching paths, each with its path relative to the folder."""
    try:
        return [(file, file.relative_to(folder)) for file in folder.glob(pattern)]
    except (ValueError, NotImplementedError) as error:
        raise InputError(
            f"pattern: {pattern!r} is not valid; expected a pattern of files in the folder"
        ) from error


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


def fingerprint(
    root: str | list[str],
    pattern: str = "**/*",
    max_pixels: int = MAX_PIXELS,
    *,
    cache: Path | None = None,
) -> str:
    """Return a digest of the names and the content of the images of :func:`find`.

    It shows before every run whether the folder has changed. With a ``cache``, only files with
    another size or time of modification are read, see
    :func:`~rdpipe.datasets.digests.content_digests`.
    """
    sources = list(find(root, pattern, max_pixels))
    contents = content_digests((os.path.abspath(source.file) for source in sources), cache)
    digest = hashlib.sha256()
    for source, content in zip(sources, contents, strict=True):
        digest.update(f"{source.name}\0{content}\0".encode())
    return digest.hexdigest()


def canonical_root(root: Any) -> Any:
    """Return the folder, or several, in the same way however it is written.

    It is relative to the working directory if it lies below it, and absolute otherwise. What is not
    a path is returned unchanged; :func:`find` refuses it.
    """
    if isinstance(root, list):
        return list(map(canonical_root, root))
    if not _is_path(root):
        return root
    path = os.path.abspath(os.path.expanduser(root))
    below = Path(path).is_relative_to(os.getcwd())
    return os.path.relpath(path) if below else path

"""Data sets that are published as one zip archive."""

from __future__ import annotations

import shutil
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rdpipe.datasets.download import alone, fetch, place, sha256_of
from rdpipe.datasets.source import Source
from rdpipe.core.errors import InputError
from rdpipe.io.files import write_atomically

CHECKSUMS = "SHA256SUMS"
LARGEST = 1 << 28
"""Bytes of an image; one of a few kilobytes can unpack to more than a disk holds."""


@dataclass(frozen=True)
class Archive:
    """A zip archive of images.

    Parameters
    ----------
    dataset : str
    url : str
    sha256 : str or None
        Of the archive. Where none is published, that of the first download is recorded beside it, and any
        other is refused from then on.
    folder : str
        Name of the folder of the archive that the images are in, of whichever depth; any if empty.
    count : int
        How many there are.
    """

    dataset: str
    url: str
    sha256: str | None
    folder: str
    count: int


def find(archive: Archive, root: str | None) -> list[Source]:
    """The images of an archive, downloaded and unpacked where they are not there yet.

    They are unpacked once, with their checksums (``sha256sum -c SHA256SUMS``), which are compared
    whenever the data set is prepared.

    Raises
    ------
    InputError
        If the archive cannot be had, is another one or no archive, or an image has changed.
    """
    folder = place(archive.dataset, root)
    file = folder / PurePosixPath(archive.url).name
    images = folder / file.stem
    if images.is_dir():
        check_pinned(archive, file)
    else:
        with alone(archive.dataset, folder):
            if not images.is_dir():  # another process may have made it meanwhile
                obtain(archive, file)
                unpack(archive, file, images)
    return check(archive.dataset, images)


def check_pinned(archive: Archive, file: Path) -> None:
    """Refuse what was unpacked from another archive than the one that is asked for."""
    record = file.with_name(f"{file.name}.sha256")
    kept = record.read_text().split()[0] if record.exists() else None
    if archive.sha256 and kept and kept != archive.sha256:
        raise InputError(
            f"{archive.dataset}: {file.parent / file.stem} is of an archive with the SHA-256 {kept}; asked for"
            f" is {archive.sha256}; remove it, {file.name} and {record.name}"
        )


def obtain(archive: Archive, file: Path) -> None:
    """The archive in its place, with a checksum that is published, or recorded when it first came."""
    record = file.with_name(f"{file.name}.sha256")
    wanted = archive.sha256 or (record.read_text().split()[0] if record.exists() else None)
    if came := not file.exists():
        fetch(archive.dataset, archive.url, file, wanted)
    if not zipfile.is_zipfile(file):
        if came:
            file.unlink()
        raise InputError(
            f"{archive.dataset}: {archive.url if came else file} is no zip archive;"
            f" put the right {file.name} into {file.parent}"
        )
    found = sha256_of(file)
    if wanted and found != wanted:
        source = "published" if archive.sha256 else f"recorded in {record}"
        raise InputError(
            f"{archive.dataset}: {file} has the SHA-256 {found}; {source} is {wanted}"
        )
    if not record.exists():
        write_atomically(record, lambda new: new.write_text(f"{found}  {file.name}\n"))
    if not wanted:
        print(
            f"{archive.dataset}: no checksum of {file.name} is published; its SHA-256, {found}, is recorded"
            f" in {record}, and any other archive is refused from now on",
            file=sys.stderr,
        )


def unpack(archive: Archive, file: Path, images: Path) -> None:
    """The images of an archive in a folder, all of them or none, with their checksums."""
    new = images.with_name(f".{images.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        with zipfile.ZipFile(file) as opened:
            members = [name for name in opened.namelist() if wanted(archive, PurePosixPath(name))]
            names = {PurePosixPath(name).name for name in members}
            if not len(names) == len(members) == archive.count:
                raise InputError(
                    f"{archive.dataset}: {file} has {len(names)} images; wanted are {archive.count}"
                )
            for name in members:
                if opened.getinfo(name).file_size > LARGEST:
                    raise InputError(
                        f"{archive.dataset}: {file} has {name!r} of {opened.getinfo(name).file_size} bytes;"
                        f" allowed are {LARGEST}"
                    )
                with opened.open(name) as packed, (new / PurePosixPath(name).name).open("wb") as image:
                    shutil.copyfileobj(packed, image)
        lines = [f"{sha256_of(new / name)}  {name}\n" for name in sorted(names)]
        (new / CHECKSUMS).write_text("".join(lines))
        new.rename(images)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{archive.dataset}: {file} is damaged: {error}; remove it") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def wanted(archive: Archive, member: PurePosixPath) -> bool:
    """Whether a member is one of the images; archives made on a Mac have shadows of them."""
    shadow = member.name.startswith("._") or "__MACOSX" in member.parts
    inside = not archive.folder or archive.folder in member.parts[:-1]
    return member.suffix.lower() == ".png" and inside and not shadow and member.name.isprintable()


def check(dataset: str, images: Path) -> list[Source]:
    """The unpacked images, if all are what was unpacked."""
    sources = []
    for line in (images / CHECKSUMS).read_text().splitlines():
        digest, name = line.split(maxsplit=1)
        file = images / name
        if not file.is_file() or sha256_of(file) != digest:
            raise InputError(
                f"{dataset}: {file} is missing or has changed; remove {images}, and it is unpacked again"
            )
        sources.append(Source(name, str(file)))
    return sources

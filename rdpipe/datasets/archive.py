"""Datasets that are published as one zip archive."""

from __future__ import annotations

import logging
import shutil
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rdpipe.core.errors import InputError
from rdpipe.datasets.download import dataset_folder, exclusive_access, fetch, file_sha256
from rdpipe.datasets.source import Source
from rdpipe.io.files import write_atomically

logger = logging.getLogger(__name__)

CHECKSUMS = "SHA256SUMS"
"""File of the checksums of the unpacked images."""
LARGEST_IMAGE = 1 << 28
"""Largest accepted size of an unpacked image, bytes.

A member of a few kilobytes can unpack to more than a disk can hold.
"""


@dataclass(frozen=True)
class Archive:
    """A zip archive of images.

    Parameters
    ----------
    dataset : str
        Name of the dataset.
    url : str
        Address of the archive.
    sha256 : str or None
        SHA-256 of the archive. If None, the checksum of the first download is recorded beside it,
        and any other archive is refused from then on.
    folder : str
        Name of the folder inside the archive that has the images, at any depth; empty for all
        folders.
    count : int
        Number of images.
    """

    dataset: str
    url: str
    sha256: str | None
    folder: str
    count: int


def find(archive: Archive, root: str | None) -> list[Source]:
    """Return the images of an archive; download and unpack it if it is not there yet.

    The images are unpacked once, with their checksums (``sha256sum -c SHA256SUMS``), which are
    verified whenever the dataset is prepared.

    Parameters
    ----------
    archive : Archive
    root : str or None
        Folder of the dataset, see :mod:`rdpipe.datasets.download`.

    Raises
    ------
    InputError
        If the archive cannot be downloaded, is not the expected one or not a zip archive, or an
        image has changed.
    """
    folder = dataset_folder(archive.dataset, root)
    file = folder / PurePosixPath(archive.url).name
    images = folder / file.stem
    if images.is_dir():
        _check_unpacked_archive(archive, file)
    else:
        with exclusive_access(archive.dataset, folder):
            if not images.is_dir():  # another process may have unpacked it meanwhile
                _provide_archive(archive, file)
                _unpack(archive, file, images)
    return _verified_images(archive.dataset, images)


def _checksum_record(file: Path) -> Path:
    """Return the file that records the checksum of an archive."""
    return file.with_name(f"{file.name}.sha256")


def _recorded_checksum(file: Path) -> str | None:
    """Return the checksum that was recorded when an archive was first used."""
    record = _checksum_record(file)
    return record.read_text().split()[0] if record.exists() else None


def _check_unpacked_archive(archive: Archive, file: Path) -> None:
    """Refuse images that were unpacked from another archive than the requested one."""
    recorded = _recorded_checksum(file)
    if archive.sha256 and recorded and recorded != archive.sha256:
        raise InputError(
            f"{archive.dataset}: {file.parent / file.stem} comes from an archive with the SHA-256"
            f" {recorded}; expected {archive.sha256}; remove it, {file.name} and"
            f" {_checksum_record(file).name}"
        )


def _provide_archive(archive: Archive, file: Path) -> None:
    """Download an archive if it is absent, verify its checksum, and record it."""
    expected = archive.sha256 or _recorded_checksum(file)
    if downloaded := not file.exists():
        fetch(archive.dataset, archive.url, file, expected)
    if not zipfile.is_zipfile(file):
        if downloaded:
            file.unlink()
        raise InputError(
            f"{archive.dataset}: {archive.url if downloaded else file} is not a zip archive;"
            f" put the right {file.name} into {file.parent}"
        )
    record, digest = _checksum_record(file), file_sha256(file)
    if expected and digest != expected:
        source = "published" if archive.sha256 else f"recorded in {record}"
        raise InputError(
            f"{archive.dataset}: {file} has the SHA-256 {digest}; expected {expected} ({source})"
        )
    if not record.exists():
        write_atomically(record, lambda temporary: temporary.write_text(f"{digest}  {file.name}\n"))
    if not expected:
        logger.warning(
            "%s: no checksum of %s is published; its SHA-256, %s, is recorded in %s,"
            " and any other archive is refused from now on",
            archive.dataset, file.name, digest, record,
        )  # fmt: skip


def _unpack(archive: Archive, file: Path, images: Path) -> None:
    """Unpack the images of an archive with their checksums, completely or not at all."""
    temporary = images.with_name(f".{images.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        with zipfile.ZipFile(file) as reader:
            members = [name for name in reader.namelist() if _is_image(archive, name)]
            names = {PurePosixPath(name).name for name in members}
            if not len(names) == len(members) == archive.count:
                raise InputError(
                    f"{archive.dataset}: {file} has {len(names)} images; expected {archive.count}"
                )
            for member in members:
                size = reader.getinfo(member).file_size
                if size > LARGEST_IMAGE:
                    raise InputError(
                        f"{archive.dataset}: {member!r} in {file} has {size} bytes; expected at"
                        f" most {LARGEST_IMAGE}"
                    )
                target = temporary / PurePosixPath(member).name
                with reader.open(member) as packed, target.open("wb") as image:
                    shutil.copyfileobj(packed, image)
        lines = [f"{file_sha256(temporary / name)}  {name}\n" for name in sorted(names)]
        (temporary / CHECKSUMS).write_text("".join(lines))
        temporary.rename(images)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{archive.dataset}: {file} is damaged: {error}; remove it") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_image(archive: Archive, name: str) -> bool:
    """Return whether a member is one of the images; skips the resource files of macOS."""
    member = PurePosixPath(name)
    resource = member.name.startswith("._") or "__MACOSX" in member.parts
    inside = not archive.folder or archive.folder in member.parts[:-1]
    return member.suffix.lower() == ".png" and inside and not resource and member.name.isprintable()


def _verified_images(dataset: str, images: Path) -> list[Source]:
    """Return the unpacked images after verifying their checksums."""
    sources = []
    for line in (images / CHECKSUMS).read_text().splitlines():
        digest, name = line.split(maxsplit=1)
        file = images / name
        if not file.is_file() or file_sha256(file) != digest:
            raise InputError(
                f"{dataset}: {file} is missing or has changed; remove {images} to unpack it again"
            )
        sources.append(Source(name, str(file)))
    return sources

"""The manifest of a dataset: a description of its images, against which later stages check them.

In memory, a relative path starts at the working directory. In the file, a path below the folder of
the manifest is relative to that folder, and any other path is absolute or a name.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict

from rdpipe.core.errors import InputError
from rdpipe.datasets import gaussian_field
from rdpipe.datasets.folder import counts_text
from rdpipe.datasets.formats import SUFFIXES
from rdpipe.datasets.image import read_file, read_image
from rdpipe.datasets.pack import write_pack
from rdpipe.datasets.source import Source, Sources
from rdpipe.io.files import write_atomically


class ImageEntry(TypedDict):
    """An image of a dataset.

    ``sha256`` is the digest of the file, ``conversion`` says how it becomes 8-bit RGB.
    """

    name: str
    file: str
    width: int
    height: int
    pixels: int
    sha256: str
    conversion: str


class QuarantinedEntry(TypedDict):
    """A file that cannot be read as an image."""

    name: str
    file: str
    error: str


class Manifest(TypedDict):
    """The images of a dataset, and the files that were skipped.

    ``other_files`` has the number of files that are not meant to be images, by suffix.
    """

    images: list[ImageEntry]
    quarantined: list[QuarantinedEntry]
    other_files: dict[str, int]


def build(sources: Sequence[Source], on_error: str = "stop") -> Manifest:
    """Decode every image once and describe it.

    Parameters
    ----------
    sources : sequence of Source
    on_error : {"stop", "skip"}
        Whether an image that cannot be read is an error, or is listed under ``quarantined``.

    Raises
    ------
    InputError
        If an image cannot be read (the message names all of them), two images have the same name,
        or no image remains.
    """
    counts = Counter(source.name for source in sources)
    if repeated := [name for name, count in counts.items() if count > 1]:
        raise InputError(f"several images have the same name: {', '.join(map(repr, repeated))}")
    others = sources.other_files if isinstance(sources, Sources) else {}
    manifest = Manifest(images=[], quarantined=[], other_files=others)
    for source in sources:
        try:
            pixels, digest, conversion = read_image(source.file, source.max_pixels)
        except InputError as error:
            manifest["quarantined"].append(
                QuarantinedEntry(name=source.name, file=source.file, error=str(error))
            )
            continue
        height, width = pixels.shape[:2]
        manifest["images"].append(
            ImageEntry(
                name=source.name,
                file=source.file,
                width=width,
                height=height,
                pixels=width * height,
                sha256=digest,
                conversion=conversion,
            )
        )
    if manifest["quarantined"] and on_error == "stop":
        errors = "\n  ".join(entry["error"] for entry in manifest["quarantined"])
        raise InputError(
            f"{len(manifest['quarantined'])} of {len(sources)} images cannot be read"
            f" (`on_error: skip` continues without them):\n  {errors}"
        )
    if not manifest["images"]:
        raise InputError("the dataset has no image that can be read")
    return manifest


def pack_images(manifest: Manifest, pack: Path) -> Manifest:
    """Write the files of the images into a pack, and return a manifest of those in it.

    Gaussian fields have no files.

    Parameters
    ----------
    manifest : Manifest
    pack : Path
        The zip archive to write.
    """
    images, files = list[ImageEntry](), dict[str, str]()
    for index, image in enumerate(manifest["images"]):
        file = image["file"]
        if not file.startswith(gaussian_field.PREFIX):
            name = f"{index:06}{Path(file).suffix.lower()}"  # its own may be invalid in a zip
            files[name], file = file, str(pack / name)
        images.append({**image, "file": file})
    write_pack(pack, ((name, read_file(file)) for name, file in files.items()))
    return {**manifest, "images": images}


def remarks(manifest: Manifest) -> list[str]:
    """Return what a user should know about the images of a dataset, as sentences."""
    texts = []
    if counts := manifest["other_files"]:
        texts.append(
            f"Beside the images, not read: {counts_text(counts)}."
            f" Images are files that end in {', '.join(SUFFIXES)}."
        )
    first: dict[str, str] = {}
    copies = [
        (image["name"], original)
        for image in manifest["images"]
        if (original := first.setdefault(image["sha256"], image["name"])) != image["name"]
    ]
    if copies:
        name, original = copies[0]
        texts.append(
            f"{len(copies)} of {len(manifest['images'])} images are copies of another image, such"
            f" as {name!r} of {original!r}. Means and intervals count them as different images."
        )
    return texts


def write(path: Path, manifest: Manifest) -> None:
    """Write a manifest as JSON."""
    folder = path.absolute().parent

    def relative(file: str) -> str:
        below = Path(file).is_relative_to(folder)
        return os.path.relpath(file, folder) if below or not os.path.isabs(file) else file

    manifest = _with_files(manifest, relative)
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def load(path: Path) -> Manifest:
    """Read a manifest.

    Raises
    ------
    InputError
        If the file is not a manifest.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        images, quarantined = content["images"], content["quarantined"]
        others = content.get("other_files", {})
        manifest = Manifest(images=images, quarantined=quarantined, other_files=others)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a manifest of a dataset: {error!r}") from error
    folder = os.path.dirname(path)
    return _with_files(manifest, lambda file: os.path.normpath(os.path.join(folder, file)))


def _with_files(manifest: Manifest, change: Callable[[str], str]) -> Manifest:
    """Return a manifest in which the paths of files are changed; Gaussian fields have none."""

    def changed(entry: Any) -> Any:
        if entry.get("file", gaussian_field.PREFIX).startswith(gaussian_field.PREFIX):
            return entry
        return {**entry, "file": change(entry["file"])}

    images, quarantined = (list(map(changed, manifest[key])) for key in ("images", "quarantined"))
    return {**manifest, "images": images, "quarantined": quarantined}


def load_shard(path: Path, index: int = 0, shards: int = 1) -> list[ImageEntry]:
    """Read the images of one shard of a dataset.

    A shard is a range of consecutive images. The numbers of images of two shards differ by at most
    one.

    Parameters
    ----------
    path : Path
        The manifest.
    index, shards : int
        Index of the shard, and number of shards.

    Raises
    ------
    InputError
        If the file is not a manifest, or the dataset has fewer images than shards.
    """
    images = load(path)["images"]
    if len(images) < shards:
        raise InputError(
            f"{path}: {shards} shards of {len(images)} images; expected 1 to {len(images)} shards"
        )
    return images[len(images) * index // shards : len(images) * (index + 1) // shards]

"""The manifest of a data set: what its images are, so that later stages can trust them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from rdpipe.datasets.image import read
from rdpipe.datasets.source import Source
from rdpipe.core.errors import InputError
from rdpipe.io.files import write_atomically


def build(sources: list[Source], on_error: str = "stop") -> dict:
    """Decode every image once and write down what it is.

    Parameters
    ----------
    sources : list of Source
    on_error : {"stop", "skip"}
        What an image that cannot be read does: stop the stage, or stand under ``quarantined``.

    Returns
    -------
    dict
        ``images``: name, file, width, height, pixels, sha256 (of the file) and conversion (what
        was done to make it 8-bit RGB) of each; ``quarantined``: name, file and error of each.

    Raises
    ------
    InputError
        If an image cannot be read (all are named), names repeat, or no image is left.
    """
    counts = Counter(source.name for source in sources)
    if repeated := [name for name, count in counts.items() if count > 1]:
        raise InputError(f"images of the same name: {', '.join(map(repr, repeated))}")
    images, quarantined = [], []
    for source in sources:
        identity = {"name": source.name, "file": source.file}
        try:
            pixels, digest, conversion = read(source.file)
        except InputError as error:
            quarantined.append({**identity, "error": str(error)})
            continue
        height, width = pixels.shape[:2]
        images.append({**identity, "width": width, "height": height, "pixels": width * height,
                       "sha256": digest, "conversion": conversion})  # fmt: skip
    if quarantined and on_error == "stop":
        listed = "\n  ".join(one["error"] for one in quarantined)
        raise InputError(
            f"{len(quarantined)} of {len(sources)} images cannot be read (`on_error: skip` goes on "
            f"without them):\n  {listed}"
        )
    if not images:
        raise InputError("the data set has no image that can be read")
    return {"images": images, "quarantined": quarantined}


def write(path: Path, manifest: dict) -> None:
    """Write a manifest whole or not at all."""
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def load_shard(path: Path, index: int = 0, shards: int = 1) -> list[dict]:
    """The images of one shard of a data set: as many in a row as in any other, or one more.

    Parameters
    ----------
    path : Path
        The manifest.
    index, shards : int
        Which shard, of how many.

    Returns
    -------
    list of dict
        See :func:`build`.

    Raises
    ------
    InputError
        If the data set has fewer images than shards.
    """
    images = load(path)["images"]
    if len(images) < shards:
        raise InputError(f"{path}: {len(images)} images make no {shards} shards; allowed are 1 to {len(images)}")
    return images[len(images) * index // shards : len(images) * (index + 1) // shards]


def load(path: Path) -> dict:
    """Read a manifest back."""
    try:
        manifest = json.loads(Path(path).read_text(encoding="utf-8"))
        manifest["images"], manifest["quarantined"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no manifest of a data set: {error!r}") from error
    return manifest

"""Write bitstreams of every cell that has an entropy coder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import xarray as xr
from torch import Tensor

from rdpipe.core.rng import noise_key
from rdpipe.datasets.image import load_image
from rdpipe.evaluation.bitstreams import codable_cells, encode
from rdpipe.io import store
from rdpipe.stages.inputs import StoredLatents, codec_of, load_images, read_fits
from rdpipe.stages.specs import CellSpec


class WriteBitstreamsSpec(CellSpec, frozen=True, kw_only=True):
    """One codec at one quality, and the estimators of the cells to code."""


def run(
    spec: WriteBitstreamsSpec, manifest_file: Path, latents: Path, fits: list[Path], out: Path
) -> None:
    """Encode every image in every cell of :func:`~rdpipe.evaluation.bitstreams.codable_cells`.

    Parameters
    ----------
    spec : WriteBitstreamsSpec
    manifest_file, latents : Path
        Manifest from ``prepare_dataset``, and latents from ``extract_latents``.
    fits : list of Path
        Stores from ``fit_estimator`` of all fitted estimators in the cells.
    out : Path
        Store to write: ``size`` (bytes) and the SHA-256 of y_hat over (cell, image), and a group
        ``0``, ``1``, ... for each image with its bitstreams, one after the other.
    """
    codec, stored = codec_of(spec), StoredLatents([latents])
    states = read_fits(fits, stored.table)
    cells = codable_cells(spec.entries, states, stored[0])
    images = load_images(manifest_file, spec.shard, stored)
    sizes, digests = [], []
    with store.create(out, spec) as writer:
        for i, (entry, image) in enumerate(zip(images, stored, strict=True)):
            pixels = load_image(entry["file"], entry["sha256"])
            key = noise_key(spec.seed, entry["name"])
            coded = [encode(codec, cell, image, pixels, key) for cell in cells.values()]
            sizes.append([len(stream) for stream, _ in coded])
            digests.append([digest(decoded.y_hat) for _, decoded in coded])
            streams = np.frombuffer(b"".join(stream for stream, _ in coded), np.uint8)
            writer.write(xr.Dataset({"stream": ("byte", streams)}), group=str(i))
        shape = len(images), len(cells)
        arrays = {
            "size": (("image", "cell"), np.reshape(sizes, shape), {"units": "byte"}),
            "y_hat_sha256": (("image", "cell"), np.reshape(digests, shape)),
        }
        names = [str(cell_id) for cell_id in cells]
        coords = {"cell": names, "image": stored.names, **stored.run.coordinates()}
        writer.write(xr.Dataset(arrays, coords).transpose("cell", "image"))


def digest(y_hat: Iterable[Tensor]) -> str:
    """Return the SHA-256 of decoded latents."""
    digests = hashlib.sha256()
    for part in y_hat:
        digests.update(part.contiguous().numpy().tobytes())
    return digests.hexdigest()

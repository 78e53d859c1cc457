"""Write every cell that is a real code as real bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import xarray as xr

from rdpipe import store
from rdpipe.bitstream import codes, encode
from rdpipe.datasets import manifest
from rdpipe.datasets.image import load
from rdpipe.random import noise_key
from rdpipe.stages.inputs import StoredLatents, identity, make_codec, read_fits


def run(spec: dict, manifest_file: Path, latents: Path, fits: list[Path], out: Path) -> None:
    """Encode every image with every cell that is decodable and realisable.

    Parameters
    ----------
    spec : dict
        ``codec``, ``quality``, ``entry`` and ``device`` as for ``extract_latents``; ``means``, ``variances``,
        ``quantizers`` (names and config entries) and ``seed``.
    manifest_file, latents : Path
        From ``prepare_dataset`` and ``extract_latents``.
    fits : list of Path
        From ``fit_estimator``, of every fitted estimator among them.
    out : Path
        Store of ``size`` (bytes) over (cell, image), of all bitstreams one after the other, and of
        the SHA-256 of the y_hat that each must decode to.
    """
    table = store.read(latents)
    codec = make_codec(spec)
    stored = StoredLatents(latents)
    cells = codes(spec, read_fits(fits, table), stored[0].with_context)
    images = manifest.load(manifest_file)["images"]
    streams, digests = [], []
    for cell in cells.values():
        for i, one in enumerate(stored):
            image = load(images[i]["file"], images[i]["sha256"])
            stream, y_hat = encode(codec, cell, one, image, noise_key(spec["seed"], one.name))
            streams.append(np.frombuffer(stream, np.uint8))
            digests.append(digest(y_hat))
    shape = len(cells), len(images)
    sizes = np.reshape([len(stream) for stream in streams], shape)
    dims = ("cell", "image")
    arrays = {
        "size": (dims, sizes, {"units": "byte"}),
        "y_hat_sha256": (dims, np.reshape(digests, shape)),
        "stream": ("byte", np.concatenate([*streams, np.empty(0, np.uint8)])),
    }
    coords = {"cell": list(cells), "image": table["image"].values, **identity(table)}
    with store.create(out, spec) as writer:
        writer.write(xr.Dataset(arrays, coords))


def digest(y_hat) -> str:
    """SHA-256 of decoded latents."""
    return hashlib.sha256(y_hat.contiguous().numpy().tobytes()).hexdigest()

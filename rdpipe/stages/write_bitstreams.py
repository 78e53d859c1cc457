"""Write every cell that is a real code as real bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import xarray as xr

from rdpipe.io import store
from rdpipe.evaluation.bitstreams import codes, encode
from rdpipe.datasets import manifest
from rdpipe.datasets.image import load
from rdpipe.core.rng import noise_key
from rdpipe.stages.inputs import StoredLatents, identity, make_codec, read_fits


def run(spec: dict, manifest_file: Path, latents: Path, fits: list[Path], out: Path) -> None:
    """Encode every image with every cell that is decodable and realisable.

    Parameters
    ----------
    spec : dict
        ``codec``, ``quality``, ``entry``, ``device`` and ``shard`` as for ``extract_latents``; ``means``, ``variances``,
        ``quantizers`` (names and config entries) and ``seed``.
    manifest_file, latents : Path
        From ``prepare_dataset`` and ``extract_latents``.
    fits : list of Path
        From ``fit_estimator``, of every fitted estimator among them.
    out : Path
        Store of ``size`` (bytes) over (cell, image), and of the SHA-256 of the y_hat that each must
        decode to; for each image a group ``0``, ``1``, ... of its bitstreams one after the other.
    """
    codec, stored = make_codec(spec), StoredLatents([latents])
    cells = codes(spec, read_fits(fits, stored.table), stored[0].with_context)
    images = manifest.load_shard(manifest_file, *spec.get("shard", ()))
    sizes, digests = [], []
    with store.create(out, spec) as writer:
        for i, one in enumerate(stored):
            image, key = load(images[i]["file"], images[i]["sha256"]), noise_key(spec["seed"], one.name)
            both = [encode(codec, cell, one, image, key) for cell in cells.values()]
            sizes.append([len(stream) for stream, _ in both])
            digests.append([digest(y_hat) for _, y_hat in both])
            stream = np.frombuffer(b"".join(stream for stream, _ in both), np.uint8)
            writer.write(xr.Dataset({"stream": ("byte", stream)}), group=str(i))
        shape = len(images), len(cells)
        arrays = {
            "size": (("image", "cell"), np.reshape(sizes, shape), {"units": "byte"}),
            "y_hat_sha256": (("image", "cell"), np.reshape(digests, shape)),
        }
        coords = {"cell": list(cells), "image": stored.names, **identity(stored.table)}
        writer.write(xr.Dataset(arrays, coords).transpose("cell", "image"))


def digest(y_hat) -> str:
    """SHA-256 of decoded latents."""
    return hashlib.sha256(y_hat.contiguous().numpy().tobytes()).hexdigest()

"""Run a classical codec at one quality over a data set, with real bytes."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from rdpipe.io import store
from rdpipe.codecs import ANCHORS
from rdpipe.core.metrics import mean_squared_error, psnr
from rdpipe.datasets import manifest
from rdpipe.datasets.image import load
from rdpipe.core.errors import InputError
from rdpipe.core.plugins import build_entry


def run(spec: dict, manifest_file: Path, out: Path) -> None:
    """Encode and decode every image.

    Parameters
    ----------
    spec : dict
        ``dataset``, ``anchor`` (a name), ``entry`` (its ``use`` and ``args`` from the config),
        ``quality``, and ``shard`` as for ``extract_latents``.
    manifest_file : Path
        From ``prepare_dataset``.
    out : Path
        Store of ``bytes``, ``mse``, ``psnr`` and ``pixels`` over image.
    """
    encode_decode = build_entry("anchor", spec["anchor"], spec["entry"], ANCHORS)
    images = manifest.load_shard(manifest_file, *spec.get("shard", ()))
    size, mse = [], []
    for image in images:
        original = load(image["file"], image["sha256"])
        if original.shape[2] != 3:
            raise InputError(f"{spec['anchor']} takes RGB; {image['name']!r} has one channel")
        stream, decoded = encode_decode(original, spec["quality"])
        if decoded.shape != original.shape:
            raise InputError(
                f"{spec['anchor']} decodes {image['name']!r} to an array of shape {decoded.shape};"
                f" wanted is {original.shape}"
            )
        size.append(len(stream))
        mse.append(mean_squared_error(original, decoded))
    table = {
        "bytes": ("image", size, {"units": "byte"}),
        "mse": ("image", mse, {"units": "squared 8-bit levels"}),
        "psnr": ("image", psnr(mse), {"units": "dB"}),
        "pixels": ("image", [image["pixels"] for image in images], {"units": "pixel"}),
    }
    identity = {key: spec[key] for key in ("dataset", "anchor", "quality")}
    coords = {"image": [image["name"] for image in images], **identity}
    with store.create(out, spec) as writer:
        writer.write(xr.Dataset(table, coords))

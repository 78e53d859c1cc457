"""Run a classical codec at one quality over a data set, with real bytes."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from rdpipe import store
from rdpipe.codecs.classical import encode_decode
from rdpipe.curves import mean_squared_error, psnr
from rdpipe.datasets import manifest
from rdpipe.datasets.image import load
from rdpipe.errors import InputError


def run(spec: dict, manifest_file: Path, out: Path) -> None:
    """Encode and decode every image.

    Parameters
    ----------
    spec : dict
        ``dataset``, ``anchor`` (a name of ``rdpipe.codecs.classical``) and ``quality``.
    manifest_file : Path
        From ``prepare_dataset``.
    out : Path
        Store of ``bytes``, ``mse``, ``psnr`` and ``pixels`` over image.
    """
    images = manifest.load(manifest_file)["images"]
    size, mse = [], []
    for image in images:
        original = load(image["file"], image["sha256"])
        if original.shape[2] != 3:
            raise InputError(f"{spec['anchor']} takes RGB; {image['name']!r} has one channel")
        stream, decoded = encode_decode(original, spec["anchor"], spec["quality"])
        size.append(len(stream))
        mse.append(mean_squared_error(original, decoded))
    table = {
        "bytes": ("image", size, {"units": "byte"}),
        "mse": ("image", mse, {"units": "squared 8-bit levels"}),
        "psnr": ("image", psnr(mse), {"units": "dB"}),
        "pixels": ("image", [image["pixels"] for image in images], {"units": "pixel"}),
    }
    coords = {"image": [image["name"] for image in images], **spec}
    with store.create(out, spec) as writer:
        writer.write(xr.Dataset(table, coords))

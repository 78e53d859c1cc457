"""Run a classical codec at one quality over a dataset, with real bytes."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from rdpipe.baselines import BASELINES
from rdpipe.core.errors import InputError
from rdpipe.core.metrics import mean_squared_error, ms_ssim, psnr
from rdpipe.core.plugins import build_entry
from rdpipe.core.specs import Spec
from rdpipe.datasets import manifest
from rdpipe.datasets.image import load_image
from rdpipe.io import store
from rdpipe.stages.specs import Entry


class RunBaselineSpec(Spec, frozen=True, kw_only=True):
    """One classical codec at one quality on one shard of a dataset.

    Parameters
    ----------
    dataset, baseline : str
        Names in the config.
    quality : int
        Quality of the encoder.
    entry : dict
        ``use`` and ``args`` of the baseline.
    shard : tuple of int
        Index of the shard, and number of shards. Default: the whole dataset.
    """

    dataset: str
    baseline: str
    quality: int
    entry: Entry
    shard: tuple[int, int] = (0, 1)


def run(spec: RunBaselineSpec, manifest_file: Path, out: Path) -> None:
    """Encode and decode every image.

    Parameters
    ----------
    spec : RunBaselineSpec
    manifest_file : Path
        Manifest from ``prepare_dataset``.
    out : Path
        Store to write: ``bytes``, ``mse``, ``psnr``, ``ms_ssim`` and ``pixels`` over image.

    Raises
    ------
    InputError
        If an image is not RGB, or is decoded to another shape.
    """
    encode_decode = build_entry("baseline", spec.baseline, spec.entry, BASELINES)
    images = manifest.load_shard(manifest_file, *spec.shard)
    size, mse, similarity = [], [], []
    for image in images:
        original, name = load_image(image["file"], image["sha256"]), image["name"]
        if original.shape[2] != 3:
            channels = original.shape[2]
            raise InputError(f"image {name!r} has {channels} channels; expected 3 (RGB)")
        stream, decoded = encode_decode(original, spec.quality)
        if decoded.shape != original.shape:
            raise InputError(
                f"{spec.baseline} decodes {name!r} to an array of shape {decoded.shape}; expected"
                f" {original.shape}"
            )
        size.append(len(stream))
        mse.append(mean_squared_error(original, decoded))
        similarity.append(ms_ssim(original, decoded))
    table = {
        "bytes": ("image", size, {"units": "byte"}),
        "mse": ("image", mse, {"units": "squared 8-bit levels"}),
        "psnr": ("image", psnr(mse), {"units": "dB"}),
        "ms_ssim": ("image", similarity, {"units": "multiscale structural similarity"}),
        "pixels": ("image", [image["pixels"] for image in images], {"units": "pixel"}),
    }
    coords = {
        "image": [image["name"] for image in images],
        "dataset": spec.dataset,
        "baseline": spec.baseline,
        "quality": spec.quality,
    }
    with store.create(out, spec) as writer:
        writer.write(xr.Dataset(table, coords))

"""Run a codec over a data set: latents, their prediction, real bytes, decoded quality."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from rdpipe.io import store
from rdpipe.codecs.protocol import Analysis, decoded_latents, gain_of
from rdpipe.core.metrics import mean_squared_error, psnr
from rdpipe.datasets import manifest
from rdpipe.datasets.image import load
from rdpipe.core.errors import InputError
from rdpipe.stages.inputs import make_codec

UNITS = {"bytes": "byte", "latent_bits": "bit", "side_bits": "bit", "forward_bits": "bit",
         "real": "whether the bytes exist", "mse": "squared 8-bit levels", "psnr": "dB", "pixels": "pixel", "height": "pixel",
         "width": "pixel"}  # fmt: skip


def run(spec: dict, manifest_file: Path, table: Path, out: Path) -> None:
    """Extract the latents of every image, one at a time.

    Parameters
    ----------
    spec : dict
        ``dataset``, ``codec``, ``quality``, ``entry`` (``use`` and ``args``) and ``device``; ``shard``,
        its index and how many there are, unless it is the whole data set; ``decoder_gain``,
        whether to ask for that: nobody reads it but of calibration images.
    manifest_file : Path
        From ``prepare_dataset``.
    table : Path
        Store of a table over ``image``, and a group ``references`` where the codec knows the limit of
        its source: what stays when latents are dropped.
    out : Path
        Store of the same table, and a group ``0``, ``1``, ... of ``y``, ``mean`` and ``scale`` over
        (channel, row, column) for each image, ``hyper``, ``gain`` and ``own_bits`` where the codec has
        them.
    """
    codec = make_codec(spec)
    listed = manifest.load_shard(manifest_file, *spec.get("shard", ()))
    rows = []
    with store.create(out, spec) as writer:
        for index, image in enumerate(listed):
            pixels = load(image["file"], image["sha256"])
            row, latents = extract(codec, image["name"], pixels, spec.get("decoder_gain", False))
            rows.append(row)
            writer.write(latents, group=str(index))
        images = tabulate(rows, listed, spec)
        writer.write(images)
    with store.create(table, spec) as writer:
        writer.write(images)
        if hasattr(codec, "references"):
            known = {
                name: (("axis", "point"), np.stack(curve))
                for name, curve in codec.references().items()
            }
            writer.write(xr.Dataset(known, {"axis": ["mse", "bpp"]}), group="references")


def tabulate(rows: list[dict], images: list[dict], spec: dict) -> xr.Dataset:
    """The table of images, labelled with what they are of."""
    table = {key: ("image", [row[key] for row in rows], {"units": UNITS[key]}) for key in UNITS}
    table["sha256"] = ("image", [image["sha256"] for image in images])
    identity = {key: spec[key] for key in ("dataset", "codec", "quality")}
    return xr.Dataset(table, {"image": [image["name"] for image in images], **identity})


def extract(codec, name: str, image: np.ndarray, gain: bool = False) -> tuple[dict, xr.Dataset]:
    """One image through a codec: a row of the table, and its latents."""
    analysis = codec.analyse(name, image)
    for key, value in vars(analysis.latents).items():
        if isinstance(value, torch.Tensor) and not value.isfinite().all():
            raise InputError(f"{name!r}: the codec's {key} holds values that are not finite")
    if getattr(codec, "recode", None) is not None and not analysis.latents.with_context:
        raise InputError(
            f"{name!r}: a codec with recode has a context model; its latents need hyper, the mean without it"
        )
    if gain and hasattr(codec, "decoder_gain"):
        try:
            found = gain_of(codec, analysis.latents, *image.shape[:2])
        except InputError as error:
            raise InputError(f"{name!r}: {error}") from error
        analysis = replace(analysis, latents=replace(analysis.latents, gain=found))
    size, decoded = coded(codec, analysis, image)
    mse = mean_squared_error(image, decoded)
    height, width = image.shape[:2]
    forward = np.nan if analysis.forward_bits is None else analysis.forward_bits
    row = {"bytes": size, "real": hasattr(codec, "compress"), "latent_bits": analysis.latent_bits,
           "side_bits": analysis.side_bits, "forward_bits": forward, "mse": mse, "psnr": psnr(mse),
           "pixels": height * width, "height": height, "width": width}  # fmt: skip
    dims = ("channel", "row", "column")
    arrays = {
        key: (dims[: value.ndim], value.cpu().numpy())
        for key, value in vars(analysis.latents).items()
        if isinstance(value, torch.Tensor)
    }
    return row, xr.Dataset(arrays, attrs={"units": "quantization steps of the codec"})


def coded(codec, analysis: Analysis, image: np.ndarray) -> tuple[int, np.ndarray]:
    """Bytes of an image and what the decoder makes of them; of a codec without a bitstream, what
    rounding its latents would cost under its own likelihood, and gives."""
    if hasattr(codec, "compress"):
        stream = codec.compress(image)
        return len(stream), codec.decompress(stream)
    bits = analysis.latent_bits + analysis.side_bits
    y_hat = decoded_latents(codec, analysis.latents)
    return math.ceil(bits / 8), codec.synthesise(y_hat, *image.shape[:2])

"""Decode the bitstreams in another process, from the bytes and the codec alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from rdpipe.core.axes import CellId
from rdpipe.core.metrics import mean_squared_error, ms_ssim
from rdpipe.datasets.image import load_image
from rdpipe.evaluation.bitstreams import decode
from rdpipe.io import store
from rdpipe.stages.inputs import StoredLatents, codec_of, load_images, read_fits
from rdpipe.stages.write_bitstreams import BitstreamSpec, cells_to_code, digest


class ReadBitstreamsSpec(BitstreamSpec, frozen=True, kw_only=True):
    """One codec at one quality, and the cells to decode."""


def run(
    spec: ReadBitstreamsSpec,
    manifest_file: Path,
    streams: Path,
    latents: Path,
    fits: list[Path],
    out: Path,
) -> None:
    """Decode every bitstream, compare its latents with those of the encoder, and the images.

    Parameters
    ----------
    spec : ReadBitstreamsSpec
    manifest_file : Path
        Manifest from ``prepare_dataset``; the decoded images are compared with its images.
    streams : Path
        Bitstreams from ``write_bitstreams``.
    latents : Path
        Latents from ``extract_latents``. Only the table of images is used, and what of the codec
        depends on decoded latents.
    fits : list of Path
        Stores from ``fit_estimator`` and ``fit_reconstruction`` for the cells.
    out : Path
        Store to write over (cell, image): ``size`` (bytes) of the bitstreams, all of which were
        decoded, the ``seconds`` of their encoder, and ``mse`` and ``ms_ssim`` of the decoded
        images.

    Raises
    ------
    ValueError
        If a bitstream does not decode to exactly the latents of the encoder.
    """
    codec, stored, written = codec_of(spec), StoredLatents([latents]), store.read(streams)
    names = written["image"].values.tolist()
    store.check_same_images(stored.names, names, str(streams))
    cells = cells_to_code(codec, spec, read_fits(fits, stored.table), stored)
    entries = load_images(manifest_file, spec.shard, stored)
    errors = np.full((2, written.sizes["cell"], len(names)), np.nan)
    for i, (image, entry) in enumerate(zip(names, entries, strict=True)):
        pixels = load_image(entry["file"], entry["sha256"])
        data = store.read(streams, group=str(i))["stream"].values.tobytes()
        of_image = written.isel(image=i)
        sizes = np.nan_to_num(of_image["size"].values).astype(int)
        ends = np.cumsum(sizes)
        for c, (name, size, end, expected) in enumerate(
            zip(
                of_image["cell"].values,
                sizes,
                ends,
                of_image["y_hat_sha256"].values,
                strict=True,
            )
        ):
            if not size:
                continue
            decoded = decode(codec, cells[CellId.parse(name)], data[end - size : end])
            if digest(decoded.y_hat) != expected:
                raise ValueError(f"{name}: the bitstream of {image} does not decode to its latents")
            picture = decoded.image
            errors[:, c, i] = mean_squared_error(pixels, picture), ms_ssim(pixels, picture)
    mse, similarity = errors
    measured = {
        "mse": (("cell", "image"), mse, {"units": "squared 8-bit levels"}),
        "ms_ssim": (("cell", "image"), similarity, {"units": "multiscale structural similarity"}),
    }
    with store.create(out, spec) as writer:
        writer.write(xr.merge([written[["size", "seconds"]], xr.Dataset(measured)]))

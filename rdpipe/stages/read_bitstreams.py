"""Decode the bitstreams in another process, from the bytes and the codec alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rdpipe.core.axes import CellId
from rdpipe.evaluation.bitstreams import codable_cells, decode
from rdpipe.io import store
from rdpipe.stages.inputs import StoredLatents, codec_of, read_fits
from rdpipe.stages.specs import CellSpec
from rdpipe.stages.write_bitstreams import digest


class ReadBitstreamsSpec(CellSpec, frozen=True, kw_only=True):
    """One codec at one quality, and the estimators of the cells to decode."""


def run(
    spec: ReadBitstreamsSpec, streams: Path, latents: Path, fits: list[Path], out: Path
) -> None:
    """Decode every bitstream, and compare its latents with those of the encoder.

    Parameters
    ----------
    spec : ReadBitstreamsSpec
    streams : Path
        Bitstreams from ``write_bitstreams``.
    latents : Path
        Latents from ``extract_latents``. Only the table of images is used, and what of the codec
        depends on decoded latents.
    fits : list of Path
        Stores from ``fit_estimator`` of all fitted estimators in the cells.
    out : Path
        Store to write: ``size`` (bytes) over (cell, image) of the bitstreams, all of which were
        decoded.

    Raises
    ------
    ValueError
        If a bitstream does not decode to exactly the latents of the encoder.
    """
    codec, stored, written = codec_of(spec), StoredLatents([latents]), store.read(streams)
    names = written["image"].values.tolist()
    store.check_same_images(stored.names, names, str(streams))
    cells = codable_cells(spec.entries, read_fits(fits, stored.table), stored[0])
    for i, image in enumerate(names):
        data = store.read(streams, group=str(i))["stream"].values.tobytes()
        of_image = written.isel(image=i)
        sizes, digests = of_image["size"].values, of_image["y_hat_sha256"].values
        ends = np.cumsum(sizes)
        for name, size, end, expected in zip(
            of_image["cell"].values, sizes, ends, digests, strict=True
        ):
            decoded = decode(codec, cells[CellId.parse(name)], data[end - size : end])
            if digest(decoded.y_hat) != expected:
                raise ValueError(f"{name}: the bitstream of {image} does not decode to its latents")
    with store.create(out, spec) as writer:
        writer.write(written[["size"]])

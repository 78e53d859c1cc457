"""Decode the bitstreams in a process of its own, from the bytes and the codec alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rdpipe.io import store
from rdpipe.evaluation.bitstreams import codes, decode
from rdpipe.stages.inputs import StoredLatents, make_codec, read_fits
from rdpipe.stages.write_bitstreams import digest


def run(spec: dict, streams: Path, latents: Path, fits: list[Path], out: Path) -> None:
    """Decode every bitstream and compare its latents with what the encoder said they are.

    Parameters
    ----------
    spec : dict
        As for ``write_bitstreams``.
    streams : Path
        From ``write_bitstreams``.
    latents : Path
        From ``extract_latents``; read are its table of images, and whether the codec has a context model.
    fits : list of Path
        From ``fit_estimator``, of every fitted estimator among them.
    out : Path
        Store of ``size`` (bytes) over (cell, image), each of which has been decoded.

    Raises
    ------
    ValueError
        If a bitstream does not decode to exactly the latents that it should.
    """
    written = store.read(streams)
    codec, stored = make_codec(spec), StoredLatents([latents])
    cells = codes(spec, read_fits(fits, stored.table), stored[0].with_context)
    for i, image in enumerate(written["image"].values):
        data = store.read(streams, group=str(i))["stream"].values.tobytes()
        one = written.isel(image=i)
        ends = np.cumsum(one["size"].values)
        for c, name in enumerate(one["cell"].values):
            y_hat = decode(codec, cells[name], data[ends[c] - one["size"].values[c] : ends[c]])
            if digest(y_hat) != one["y_hat_sha256"].values[c]:
                raise ValueError(f"{name}: the bitstream of {image} does not decode to its latents")
    with store.create(out, spec) as writer:
        writer.write(written[["size"]])

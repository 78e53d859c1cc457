"""Decode the bitstreams in a process of its own, from the bytes and the codec alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rdpipe import store
from rdpipe.bitstream import codes, decode
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
    codec = make_codec(spec)
    stored = StoredLatents(latents)
    cells = codes(spec, read_fits(fits, store.read(latents)), stored[0].with_context)
    data = written["stream"].values.tobytes()
    ends = np.cumsum(written["size"].values).reshape(written["size"].shape)
    for c, name in enumerate(written["cell"].values):
        for i, image in enumerate(written["image"].values):
            size, end = written["size"].values[c, i], ends[c, i]
            y_hat = decode(codec, cells[name], data[end - size : end])
            if digest(y_hat) != written["y_hat_sha256"].values[c, i]:
                raise ValueError(f"{name}: the bitstream of {image} does not decode to its latents")
    with store.create(out, spec) as writer:
        writer.write(written[["size"]])

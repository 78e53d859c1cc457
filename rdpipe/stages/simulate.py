"""Push a quantizer's output through the decoder: true PSNR beside the rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from rdpipe import store
from rdpipe.axes.cube import Cell
from rdpipe.codecs import CODECS
from rdpipe.curves import mean_squared_error
from rdpipe.datasets import manifest
from rdpipe.datasets.image import load
from rdpipe.plugins import make
from rdpipe.stages.inputs import StoredLatents, identity


def run(spec: dict, manifest_file: Path, latents: Path, out: Path) -> None:
    """Simulate cells of the array over a sweep of levels.

    Parameters
    ----------
    spec : dict
        ``codec``, ``quality``, ``entry``, ``device`` as for ``extract_latents``; ``means``,
        ``variances``, ``quantizers``; ``curves`` (name to one of each, by axis); ``levels`` (theta) and
        ``seed``.
    manifest_file, latents : Path
        From ``prepare_dataset`` and ``extract_latents``.
    out : Path
        Store of ``bits`` and ``mse`` over (curve, image, level); a quantizer with a level of its
        own (rounding) stands at the first level, the others are NaN.
    """
    entry = {**spec["entry"], "args": {"device": spec["device"], **spec["entry"].get("args", {})}}
    codec = make("codec", spec["codec"], entry, CODECS, spec["quality"])
    cells = {name: Cell(spec, **corner) for name, corner in spec["curves"].items()}
    images = manifest.load(manifest_file)["images"]
    shape = (len(cells), len(images), len(spec["levels"]))
    bits, mse, levels = (np.full(shape, np.nan) for _ in range(3))
    for i, one in enumerate(StoredLatents(latents)):
        image = load(images[i]["file"], images[i]["sha256"])
        for c, cell in enumerate(cells.values()):
            for k, level in enumerate(cell.levels(spec["levels"])):
                rate, y_hat = cell.send(one, level, spec["seed"])
                decoded = codec.synthesise(y_hat, *image.shape[:2])
                bits[c, i, k], levels[c, i, k] = rate, level
                mse[c, i, k] = mean_squared_error(image, decoded)
    with store.create(out, spec) as writer:
        writer.write(_label(bits, mse, levels, cells, identity(store.read(latents)), images))


def _label(bits, mse, levels, cells: dict, identity: dict, images: list) -> xr.Dataset:
    dims = ("curve", "image", "level")
    return xr.Dataset(
        {
            "bits": (dims, bits, {"units": "bit"}),
            "mse": (dims, mse, {"units": "squared 8-bit levels"}),
            "theta": (("curve", "level"), levels[:, 0], {"units": "squared latent units"}),
        },
        {
            "curve": list(cells),
            "image": [image["name"] for image in images],
            "kind": ("curve", [cell.kind for cell in cells.values()]),
            "side_counted": ("curve", [cell.side_counted for cell in cells.values()]),
            **identity,
        },
    )

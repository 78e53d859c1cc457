"""Push a quantizer's output through the decoder: true PSNR beside the rate."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

from rdpipe.io import store
from rdpipe.evaluation.cell import Cell, as_codec
from rdpipe.codecs.protocol import decoded_latents
from rdpipe.core.metrics import mean_squared_error
from rdpipe.datasets import manifest
from rdpipe.datasets.image import load
from rdpipe.core.rng import noise_key
from rdpipe.stages.inputs import StoredLatents, identity, make_codec, read_fits


def run(spec: dict, manifest_file: Path, latents: Path, fits: list[Path], out: Path) -> None:
    """Simulate cells of the array over a sweep of levels.

    Parameters
    ----------
    spec : dict
        ``codec``, ``quality``, ``entry``, ``device``, ``shard`` as for ``extract_latents``; ``means``,
        ``variances``, ``quantizers``; ``curves`` (name to one of each, by axis); ``levels`` (theta) and
        ``seed``.
    manifest_file, latents : Path
        From ``prepare_dataset`` and ``extract_latents``.
    fits : list of Path
        From ``fit_estimator``, of every fitted estimator among them.
    out : Path
        Store of ``bits`` and ``mse`` over (curve, image, level); a quantizer with a level of its
        own (rounding) stands at the first level, the others are NaN.
    """
    codec = make_codec(spec)
    stored = StoredLatents([latents])
    found = read_fits(fits, stored.table)
    context = stored[0].with_context
    cells, anew = {}, set()
    for name, corner in spec["curves"].items():
        cells[name] = Cell.from_spec(spec, found, corner, context)
        if context and runs_anew(codec, cells[name]):
            cells[name] = Cell.from_spec(spec, found, corner)
            anew.add(name)
    images = manifest.load_shard(manifest_file, *spec.get("shard", ()))
    shape = (len(cells), len(images), len(spec["levels"]))
    bits, mse, levels = (np.full(shape, np.nan) for _ in range(3))
    for i, one in enumerate(stored):
        image = load(images[i]["file"], images[i]["sha256"])
        for c, (name, cell) in enumerate(cells.items()):
            walk = partial(codec.recode, image) if name in anew else None
            prepared = cell.prepare(one, noise_key(spec["seed"], one.name))
            for k, level in enumerate(cell.levels(spec["levels"])):
                sent = cell.send(prepared, level, walk)
                own = as_codec(cell.mean, cell.quantizer)
                y_hat = decoded_latents(codec, one) if own else sent.y_hat
                decoded = codec.synthesise(y_hat, *image.shape[:2])
                bits[c, i, k], levels[c, i, k] = sent.bits, level
                mse[c, i, k] = mean_squared_error(image, decoded)
    with store.create(out, spec) as writer:
        writer.write(_label(bits, mse, levels, cells, identity(stored.table), images))


def runs_anew(codec, cell: Cell) -> bool:
    """Whether the codec's context model is run again on what a cell's own quantizer leaves.

    It must be wherever that is not what the codec leaves itself, or the cell were a genie's.
    """
    another = not as_codec(cell.mean, cell.quantizer)
    return cell.predicts_as_codec and another and getattr(codec, "recode", None) is not None


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

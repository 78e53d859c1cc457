"""The curves of what was measured: codecs, their simulated cells, known sources, classical codecs."""

from __future__ import annotations

import sys
from collections import defaultdict

import numpy as np
import xarray as xr

from rdpipe.analysis.curves import Curve, at_equal_psnr
from rdpipe.core.errors import InputError


def stack(run: dict[int, xr.Dataset], name: str) -> np.ndarray:
    """One variable over (image, quality)."""
    return np.stack([product[name].values for product in run.values()], 1).astype(np.float64)


def image_sizes(run: dict[int, xr.Dataset]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and names of the images, which are the same at every quality."""
    table = next(iter(run.values()))
    return table["pixels"].values, table["image"].values


def codec_curves(tables: dict, sweeps: dict, beside: dict[str, str]) -> list[Curve]:
    """The codec's own curve, and one for each simulated cell.

    Of a codec beside another one, its simulated cell under its own name, as a curve of the other's.
    """
    curves, joint = [], []
    for (dataset, codec), run in tables.items():
        images, side, sweep = image_sizes(run), stack(run, "side_bits"), sweeps[dataset, codec]
        if codec not in beside:
            own = 8 * stack(run, "bytes"), stack(run, "mse")
            kind = "achieved" if stack(run, "real").all() else "achievable"
            curves.append(Curve(dataset, codec, "codec", kind, list(run), *own, *images))
        first = next(iter(sweep.values()))
        for name in first["curve"].values.tolist():
            cell = first.sel(curve=name)
            bits, mse = cell_at_equal_psnr(name, sweep, run)
            bits = bits + side * cell["side_counted"].item()
            points = cell["kind"].item(), list(run), bits, mse, *images
            if codec in beside:
                joint.append(Curve(dataset, beside[codec], codec, *points))
            else:
                curves.append(Curve(dataset, codec, name, *points))
    return curves + joint


def cell_at_equal_psnr(name: str, sweeps: dict, run: dict) -> tuple[np.ndarray, np.ndarray]:
    """Bits and MSE over (image, quality): swept cells at the codec's mean PSNR, others as is.

    NaN where the sweep does not reach that PSNR.
    """
    columns = []
    for quality, sweep in sweeps.items():
        cell = sweep.sel(curve=name).dropna("level", how="all")
        bits, mse, levels = cell["bits"].values, cell["mse"].values, cell["theta"].values
        if len(levels) > 1:
            target = run[quality]["psnr"].mean().item()
            try:
                columns.append(at_equal_psnr(levels, bits, mse, target))
            except InputError as error:  # the other points are worth having
                print(f"{name}, quality {quality}: {error}", file=sys.stderr)
                columns.append((np.full(len(bits), np.nan),) * 2)
        else:
            columns.append((bits[:, 0], mse[:, 0]))
    bits, mse = zip(*columns)
    return np.stack(bits, 1), np.stack(mse, 1)


def reference_curves(known: dict[tuple[str, str], xr.Dataset], tables: dict) -> list[Curve]:
    """The rate-distortion functions that codecs know of their sources, by (dataset, codec)."""
    curves = []
    for identity, functions in known.items():
        pixels, images = image_sizes(tables[identity])
        for name, function in functions.data_vars.items():
            mse, bpp = (np.tile(axis, (len(pixels), 1)) for axis in function.values)
            points = list(range(mse.shape[1])), bpp * pixels[:, None], mse
            curves.append(Curve(*identity, name, "reference", *points, pixels, images))
    return curves


def anchor_curves(products: list[xr.Dataset]) -> list[Curve]:
    """One curve for each data set and classical codec."""
    runs = defaultdict(dict)
    for product in products:
        identity = product["dataset"].item(), product["anchor"].item()
        runs[identity][product["quality"].item()] = product
    curves = []
    for (dataset, anchor), run in runs.items():
        run = dict(sorted(run.items()))
        own = 8 * stack(run, "bytes"), stack(run, "mse")
        curves.append(Curve(dataset, "", anchor, "achieved", list(run), *own, *image_sizes(run)))
    return curves

"""From the codec's real bytes to the limit: the terms of the gap (SCIENCE.md, section 3)."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import xarray as xr

from rdpipe.core.axes import START
from rdpipe.theory import shapley

TERMS = {"variance": "variance", "quantizer": "quantization", "mean": "context"}
"""The axes in the paper's order, and the term that moving along each gives."""


def path_to(limit: dict[str, str]) -> list[tuple[str, dict[str, str], dict[str, str]]]:
    """The way from the codec's cell to a limit in the paper's order: term, cell before, cell after.

    Axes along which the two are the same are left out.
    """
    steps, before = [], dict(START)
    for axis, term in TERMS.items():
        if limit[axis] != before[axis]:
            after = {**before, axis: limit[axis]}
            steps.append((term, before, after))
            before = after
    return steps


def decompose(table: xr.Dataset, cube: xr.Dataset, limit: dict[str, str]) -> xr.Dataset:
    """Split the bits between a codec's real bytes and a limit cell.

    Parameters
    ----------
    table : xarray.Dataset
        Over image: ``bytes``, ``latent_bits``, ``side_bits``, ``pixels``.
    cube : xarray.Dataset
        From :func:`rdpipe.axes.evaluate`, with the corners between the codec's cell and the limit.
    limit : dict of str to str
        ``mean``, ``variance`` and ``quantizer`` of the limit.

    Returns
    -------
    xarray.Dataset
        ``bits`` over (order, term, image): terms ``coder`` (real bytes minus the model's bits),
        ``prior`` (the model's bits minus those of a Gaussian with escapes for floors), ``side``,
        ``variance``, ``quantization`` and ``context``, for the paper's order and the Shapley
        average over all orders. ``total`` over image is the sum of the terms in either order.
        Attributes ``kind`` of the limit, and ``latent_mse`` as :func:`latent_mse` has it.
    """
    corners = {
        moved: _bits(cube, {axis: (limit if axis in moved else START)[axis] for axis in TERMS})
        for size in range(len(TERMS) + 1)
        for moved in map(frozenset, combinations(TERMS, size))
    }
    start, end = corners[frozenset()], corners[frozenset(TERMS)]
    side_kept = table["side_bits"] if cube["side_counted"].sel(limit).item() else 0.0
    outside = {
        "coder": 8 * table["bytes"] - table["latent_bits"] - table["side_bits"],
        "prior": table["latent_bits"] - start,
        "side": table["side_bits"] - side_kept,
    }
    orders = {"paper": _in_order(corners), "shapley": _shapley(corners)}
    bits = [
        [*(term.values for term in outside.values()), *(order[axis] for axis in TERMS)]
        for order in orders.values()
    ]
    coords = {"order": list(orders), "term": [*outside, *TERMS.values()], "image": table["image"]}
    return xr.Dataset(
        {
            "bits": (("order", "term", "image"), np.array(bits), {"units": "bit"}),
            "total": ("image", (8 * table["bytes"] - end - side_kept).values, {"units": "bit"}),
            "pixels": table["pixels"],
        },
        coords,
        attrs={"kind": cube["kind"].sel(limit).item(), "latent_mse": latent_mse(cube, limit)},
    )


def latent_mse(cube: xr.Dataset, cell: dict[str, str]) -> float:
    """Distortion of the latents in a cell, over all images, relative to the codec as it is.

    Bits of two cells compare at equal distortion only where this is 1. The test channel has the
    distortion that rounding has with the same mean; other quantizers have their own, and another mean
    leaves rounding with another one.
    """
    total = cube["distortion"].sum("image")
    return (total.sel(cell) / total.sel(START)).item()


def _bits(cube: xr.Dataset, corner: dict[str, str]) -> np.ndarray:
    return cube["bits"].sel(corner).values


def _in_order(corners: dict[frozenset, np.ndarray]) -> dict[str, np.ndarray]:
    """What each axis saves when they are moved one after the other, in the order of TERMS."""
    axes = list(TERMS)
    steps = [corners[frozenset(axes[:count])] for count in range(len(axes) + 1)]
    return {axis: before - after for axis, before, after in zip(axes, steps, steps[1:])}


def _shapley(corners: dict[frozenset, np.ndarray]) -> dict[str, np.ndarray]:
    """What each axis saves on each image, averaged over all orders."""
    images = range(len(corners[frozenset()]))
    values = [shapley({moved: -bits[i] for moved, bits in corners.items()}) for i in images]
    return {axis: np.array([value[axis] for value in values]) for axis in TERMS}

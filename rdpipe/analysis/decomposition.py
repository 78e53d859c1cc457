"""Decomposition of the bits between a codec's real bytes and a limit.

The terms compare the rates of cells that have something in common: the quality of the picture, if
they were simulated through the decoder, or the distortion of the latents, if they are those of the
labeled array. Only the former say what a codec loses. See ``docs/explanation/science.md``, section
4.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from rdpipe.analysis.rates import cell_side_bits, matched_at, select_cell
from rdpipe.core.axes import BASELINE_CELL, PAPER_ORDER, CellId, corners
from rdpipe.theory import shapley

Values = NDArray[np.float64]
Corners = Mapping[frozenset[str], Values]
"""Values of each image, by the set of axes along which the limit replaces the codec."""
OUTSIDE = ("coder", "prior", "side")
"""Terms between the real bytes and the codec's cell."""


class Step(NamedTuple):
    """A step along one axis on the way from the codec's cell to a limit."""

    term: str
    before: CellId
    after: CellId


def path_to(limit: CellId) -> list[Step]:
    """Return the steps from the codec's cell to a limit, in the paper's order.

    Axes along which the two are equal are left out.
    """
    cells, moved, steps = corners(limit), frozenset[str](), []
    for axis in PAPER_ORDER:
        before, moved = cells[moved], moved | {axis.name}
        if cells[moved] != before:
            steps.append(Step(axis.term, before, cells[moved]))
    return steps


def decompose(table: xr.Dataset, measured: xr.Dataset, limit: CellId) -> xr.Dataset:
    """Decompose the bits between a codec's real bytes and a limit.

    Parameters
    ----------
    table : xarray.Dataset
        Over image: ``bytes``, ``latent_bits``, ``side_bits``, ``pixels``.
    measured : xarray.Dataset
        All corners between the codec's cell and the limit, from ``simulate`` or from
        :func:`rdpipe.evaluation.evaluate`.
    limit : CellId

    Returns
    -------
    xarray.Dataset
        ``bits`` over (order, term, image), for the paper's order and the Shapley average over all
        orders, with the terms

        - ``coder``: real bytes minus the model's bits;
        - ``prior``: the model's bits minus those of a Gaussian with escapes instead of floors;
        - ``side``: side information that the limit does not use. A limit uses it if its mean, its
          variance or the image is computed from it, a genie's limit, too;
        - ``variance``, ``quantization`` and ``context``: NaN for an axis along which the limit has
          the codec's own estimator, because nothing was measured.

        ``total`` over image is the sum of the measured terms, in either order. Attributes:
        ``kind`` of the limit; ``matched_at``, what is equal; and ``latent_mse_ratio``, see
        :func:`latent_mse_ratio`, NaN for what was simulated.

    Raises
    ------
    InputError
        If table and array do not name the same images in the same order.
    """
    at_limit = select_cell(measured, limit)
    side_bits = cell_side_bits(at_limit, table)
    bits = {
        moved: select_cell(measured, cell)["bits"].values for moved, cell in corners(limit).items()
    }
    start = bits[frozenset()]
    outside = {
        "coder": 8 * table["bytes"] - table["latent_bits"] - table["side_bits"],
        "prior": table["latent_bits"] - start,
        "side": table["side_bits"] - side_bits.values,
    }
    orders = {"paper": in_paper_order(bits), "shapley": shapley_values(bits)}
    measured_axes = {step.term for step in path_to(limit)}
    values = [
        [
            *(term.values for term in outside.values()),
            *(
                saved[axis.name] if axis.term in measured_axes else np.full(len(start), np.nan)
                for axis in PAPER_ORDER
            ),
        ]
        for saved in orders.values()
    ]
    total = 8 * table["bytes"] - at_limit["bits"].values - side_bits.values
    latent_matched = "distortion" in measured
    return xr.Dataset(
        {
            "bits": (("order", "term", "image"), np.array(values), {"units": "bit"}),
            "total": ("image", total.values, {"units": "bit"}),
            "pixels": table["pixels"],
        },
        {
            "order": list(orders),
            "term": [*OUTSIDE, *(axis.term for axis in PAPER_ORDER)],
            "image": table["image"],
        },
        attrs={
            "kind": str(at_limit["kind"].item()),
            "matched_at": matched_at(measured),
            "latent_mse_ratio": latent_mse_ratio(measured, limit) if latent_matched else np.nan,
        },
    )


def latent_mse_ratio(array: xr.Dataset, cell: CellId) -> float:
    """Return the distortion of the latents in a cell, over all images, relative to the codec's.

    Rates of two cells of the labeled array can only be compared where this is 1. The test channel
    has the distortion of rounding with the same mean. Other quantizers have their own, and rounding
    with another mean has another distortion, too.
    """
    total = array["distortion"].sum("image")
    ratio = total.sel(cell.selector()) / total.sel(BASELINE_CELL.selector())
    return float(ratio.item())


def in_paper_order(values: Mapping[frozenset[str], Any]) -> dict[str, Any]:
    """Return what each axis saves if the axes are replaced one after the other."""
    axes = [axis.name for axis in PAPER_ORDER]
    path = [values[frozenset(axes[:count])] for count in range(len(axes) + 1)]
    return {
        axis: before - after for axis, (before, after) in zip(axes, pairwise(path), strict=True)
    }


def shapley_values(values: Corners) -> dict[str, Values]:
    """Return what each axis saves on each image, averaged over all orders; NaN if unknown."""
    saved = {axis.name: np.full(len(values[frozenset()]), np.nan) for axis in PAPER_ORDER}
    known = np.isfinite(list(values.values())).all(0)
    for i in known.nonzero()[0]:
        of_image = shapley({moved: -corner[i] for moved, corner in values.items()})
        for axis, value in of_image.items():
            saved[axis][i] = value
    return saved

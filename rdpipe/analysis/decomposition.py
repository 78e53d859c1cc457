"""Decomposition of the bits between a codec's real bytes and a limit.

The terms compare rates at equal distortion of the latents, not at equal PSNR. They are therefore
called latent-matched. See ``docs/explanation/science.md``, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, pairwise
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from rdpipe.analysis.rates import cell_side_bits
from rdpipe.core.axes import BASELINE_CELL, PAPER_ORDER, CellId
from rdpipe.theory import shapley

Corners = Mapping[frozenset[str], NDArray[np.float64]]
"""Bits of each image, by the set of axes along which the limit replaces the codec."""


class Step(NamedTuple):
    """A step along one axis on the way from the codec's cell to a limit."""

    term: str
    before: CellId
    after: CellId


def path_to(limit: CellId) -> list[Step]:
    """Return the steps from the codec's cell to a limit, in the paper's order.

    Axes along which the two are equal are left out.
    """
    steps, before = [], BASELINE_CELL
    for axis in PAPER_ORDER:
        after = before.replace(**{axis.name: getattr(limit, axis.name)})
        if after != before:
            steps.append(Step(axis.term, before, after))
            before = after
    return steps


def decompose(table: xr.Dataset, array: xr.Dataset, limit: CellId) -> xr.Dataset:
    """Decompose the bits between a codec's real bytes and a limit.

    Parameters
    ----------
    table : xarray.Dataset
        Over image: ``bytes``, ``latent_bits``, ``side_bits``, ``pixels``.
    array : xarray.Dataset
        From :func:`rdpipe.evaluation.evaluate`, with all corners between the codec's cell and the
        limit.
    limit : CellId

    Returns
    -------
    xarray.Dataset
        ``bits`` over (order, term, image), for the paper's order and the Shapley average over all
        orders, with the terms

        - ``coder``: real bytes minus the model's bits;
        - ``prior``: the model's bits minus those of a Gaussian with escapes instead of floors;
        - ``side``: side information that the limit does not need;
        - ``variance``, ``quantization`` and ``context``.

        ``total`` over image is the sum of the terms, in either order. Attributes: ``kind`` of the
        limit, and ``latent_mse_ratio``, see :func:`latent_mse_ratio`.

    Raises
    ------
    InputError
        If table and array do not name the same images in the same order.
    """
    side_bits = cell_side_bits(array, table).sel(limit.selector())
    corners = {
        frozenset(moved): array["bits"].sel(_corner(limit, moved).selector()).values
        for size in range(len(PAPER_ORDER) + 1)
        for moved in combinations([axis.name for axis in PAPER_ORDER], size)
    }
    start, end = corners[frozenset()], array["bits"].sel(limit.selector()).values
    outside = {
        "coder": 8 * table["bytes"] - table["latent_bits"] - table["side_bits"],
        "prior": table["latent_bits"] - start,
        "side": table["side_bits"] - side_bits.values,
    }
    orders = {"paper": _in_paper_order(corners), "shapley": _shapley(corners)}
    bits = [
        [*(term.values for term in outside.values()), *(saved[axis.name] for axis in PAPER_ORDER)]
        for saved in orders.values()
    ]
    total = 8 * table["bytes"] - end - side_bits.values
    terms = [*outside, *(axis.term for axis in PAPER_ORDER)]
    return xr.Dataset(
        {
            "bits": (("order", "term", "image"), np.array(bits), {"units": "bit"}),
            "total": ("image", total.values, {"units": "bit"}),
            "pixels": table["pixels"],
        },
        {"order": list(orders), "term": terms, "image": table["image"]},
        attrs={
            "kind": str(array["kind"].sel(limit.selector()).item()),
            "latent_mse_ratio": latent_mse_ratio(array, limit),
        },
    )


def latent_mse_ratio(array: xr.Dataset, cell: CellId) -> float:
    """Return the distortion of the latents in a cell, over all images, relative to the codec's.

    Rates of two cells can only be compared at equal distortion, that is, where this is 1. The test
    channel has the distortion of rounding with the same mean. Other quantizers have their own, and
    rounding with another mean has another distortion, too.
    """
    total = array["distortion"].sum("image")
    ratio = total.sel(cell.selector()) / total.sel(BASELINE_CELL.selector())
    return float(ratio.item())


def _corner(limit: CellId, moved: tuple[str, ...]) -> CellId:
    """Return the codec's cell with the limit's estimators along some axes."""
    return BASELINE_CELL.replace(**{axis: getattr(limit, axis) for axis in moved})


def _in_paper_order(corners: Corners) -> dict[str, NDArray[np.float64]]:
    """Return what each axis saves if the axes are replaced one after the other."""
    axes = [axis.name for axis in PAPER_ORDER]
    bits = [corners[frozenset(axes[:count])] for count in range(len(axes) + 1)]
    return {
        axis: before - after for axis, (before, after) in zip(axes, pairwise(bits), strict=True)
    }


def _shapley(corners: Corners) -> dict[str, NDArray[Any]]:
    """Return what each axis saves on each image, averaged over all orders."""
    images = range(len(corners[frozenset()]))
    values = [shapley({moved: -bits[i] for moved, bits in corners.items()}) for i in images]
    return {axis.name: np.array([value[axis.name] for value in values]) for axis in PAPER_ORDER}

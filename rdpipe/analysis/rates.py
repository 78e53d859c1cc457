"""The rate of a cell: its bits, and the codec's side information if it uses it.

Every comparison of cells takes its rates from here.
"""

from __future__ import annotations

import xarray as xr

from rdpipe.core.axes import CellId
from rdpipe.io.store import check_same_images

LATENT_MSE = "latent-mse"
"""What is equal in cells of the labeled array; cells of ``simulate`` have a quality in common."""


def cell_bits(array: xr.Dataset, table: xr.Dataset) -> xr.DataArray:
    """Return the rate of each cell for each image, bit.

    Parameters
    ----------
    array : xarray.Dataset
        ``bits`` over image and any other dimensions, and the coordinate ``includes_side`` over some
        of them. From :func:`rdpipe.evaluation.evaluate`, or from ``simulate``.
    table : xarray.Dataset
        ``side_bits`` over the same images.

    Raises
    ------
    InputError
        If the two do not name the same images in the same order.
    """
    return array["bits"] + cell_side_bits(array, table)


def cell_side_bits(array: xr.Dataset, table: xr.Dataset) -> xr.DataArray:
    """Return the side information in the rate of each cell for each image, bit.

    Parameters and errors are those of :func:`cell_bits`.
    """
    check_same_images(table["image"].values, array["image"].values, "the array")
    return array["includes_side"] * table["side_bits"]


def select_cell(measured: xr.Dataset, cell: CellId) -> xr.Dataset:
    """Return one cell of what was measured of several.

    Parameters
    ----------
    measured : xarray.Dataset
        The labeled array, or a store of ``simulate``, which has the cells by the name of the curve.
    cell : CellId
    """
    if "curve" in measured.dims:
        return measured.sel(curve=str(cell))
    return measured.sel(cell.selector())


def matched_at(measured: xr.Dataset) -> str:
    """Return what is equal in the cells that were measured: a quality, or the latent MSE."""
    return str(measured["measure"].item()) if "measure" in measured.coords else LATENT_MSE

"""The rate of a cell: its bits, and the codec's side information if a decoder needs it.

Every comparison of cells takes its rates from here.
"""

from __future__ import annotations

import xarray as xr

from rdpipe.io.store import check_same_images


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

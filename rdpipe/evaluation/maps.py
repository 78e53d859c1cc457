"""Where in the image, and in which channels, a codec and its limits spend their bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from rdpipe.core.axes import BASELINE_CELL, CellId
from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents
from rdpipe.core.runs import RunId
from rdpipe.evaluation import statistics
from rdpipe.evaluation.array import LEVEL_UNITS
from rdpipe.evaluation.cell import Cell

LAYOUT: dict[str, tuple[tuple[str, ...], str]] = {
    "bits": (("cell", "channel"), "bit"),
    "level": (("cell",), LEVEL_UNITS),
    "second_moment": (("channel",), "squared latent units"),
    "predicted": (("channel",), "squared latent units"),
    "calibration": (("sum", "scale_bin"), ""),
    "residuals": (("scale_class", "bin"), ""),
    "stride": ((), ""),
    "height": ((), ""),
    "width": ((), ""),
}
"""Variables of the table of all images: their dimensions besides ``image``, and their units."""
Row = dict[str, Any]
"""A row of that table."""


def map_image(
    latents: Latents, cells: Mapping[CellId, Cell], levels: Mapping[CellId, float], key: int
) -> tuple[Row, NDArray[np.float32]]:
    """Map the bits of one image in several cells.

    Parameters
    ----------
    latents : Latents
    cells, levels : mapping
        The cells, including the codec's own, and the level at which each codes the image.
    key : int
        Key of the noise of random quantizers.

    Returns
    -------
    row : dict
        Variables of :data:`LAYOUT`: ``bits``; ``level``; ``second_moment`` of the codec's
        residuals, and the mean variance ``predicted`` for them; ``calibration`` and ``residuals``
        of :mod:`rdpipe.evaluation.statistics`.
    maps : array of float32 of shape (cell, row, column)
        Bits of all channels.

    Notes
    -----
    Neither contains the bits that a variance estimator transmits.
    """
    outputs = []
    for cell_id, cell in cells.items():
        prepared = cell.prepare(latents, key)
        outputs.append(cell.code(prepared, levels[cell_id]))
        if cell_id == BASELINE_CELL:
            scale, r = latents.scale.double(), prepared.residual
    bits = np.stack([output.element_bits.numpy() for output in outputs])
    second_moment, predicted = statistics.moments(scale, r)
    row = {
        "bits": bits.sum((2, 3)),
        "level": np.array([levels[cell_id] for cell_id in cells]),
        "second_moment": second_moment,
        "predicted": predicted,
        "calibration": statistics.calibration(scale, r),
        "residuals": statistics.residual_histograms(scale, r),
    }
    return row, bits.sum(1).astype(np.float32)


class MapTable:
    """The rows of all images of a run.

    Its arrays are allocated once, for the first row: small allocations between large temporary
    ones would fragment the memory.

    Parameters
    ----------
    images : sequence of str
        Names of the images.
    """

    def __init__(self, images: Sequence[str]):
        self.images = list(images)
        self.columns: dict[str, NDArray[Any]] = {}

    def add(self, index: int, row: Row) -> None:
        """Set the row of one image.

        Raises
        ------
        InputError
            If a variable has another shape than in the first row.
        """
        for name, value in row.items():
            shape = np.shape(value)
            if name not in self.columns:
                self.columns[name] = np.zeros((len(self.images), *shape), np.asarray(value).dtype)
            column = self.columns[name]
            if column.shape[1:] != shape:
                raise InputError(
                    f"image {self.images[index]!r}: {name} has shape {shape}; expected"
                    f" {column.shape[1:]}, the shape for the first image"
                )
            column[index] = value

    def label(self, cells: Mapping[CellId, Cell], run: RunId) -> xr.Dataset:
        """Return the table with names, units and the computed labels."""
        variables: dict[str, Any] = {}
        for name, column in self.columns.items():
            dimensions, units = LAYOUT[name]
            variables[name] = (("image", *dimensions), column, {"units": units} if units else {})
        coords: dict[str, Any] = {
            "image": self.images,
            "cell": [str(cell_id) for cell_id in cells],
            "kind": ("cell", [str(cell.kind) for cell in cells.values()]),
            "level_kind": ("cell", [str(cell.quantizer.level_kind) for cell in cells.values()]),
            "sum": list(statistics.SUMS),
            **run.coordinates(),
        }
        return xr.Dataset(variables, coords)

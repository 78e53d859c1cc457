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
from rdpipe.evaluation.array import LEVEL_UNITS, latent_noise_key, latent_weights
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
    image: Sequence[Latents],
    cells: Mapping[CellId, Mapping[str, Cell]],
    levels: Mapping[CellId, float],
    seed: int,
) -> tuple[Row, NDArray[np.float32]]:
    """Map the bits of one image in several cells.

    Parameters
    ----------
    image : sequence of Latents
        The latents of the image.
    cells : mapping of CellId to mapping of str to Cell
        The cells, including the codec's own, for each latent.
    levels : mapping
        The level at which each cell codes the image.
    seed : int
        Seed of the noise of random quantizers.

    Returns
    -------
    row : dict
        Variables of :data:`LAYOUT`: ``bits``; ``level``; ``second_moment`` of the codec's
        residuals, and the mean variance ``predicted`` for them; ``calibration`` and ``residuals``
        of :mod:`rdpipe.evaluation.statistics`; ``stride`` of the maps. Channels of several latents
        follow each other.
    maps : array of float32 of shape (cell, row, column)
        Bits of all channels, on the grid of the finest latent.

    Notes
    -----
    Neither contains the bits that a variance estimator transmits.
    """
    weights = latent_weights(image)
    parts = [
        _map_latent(
            latent,
            {cell_id: of_cell[latent.latent] for cell_id, of_cell in cells.items()},
            {cell_id: level / weight for cell_id, level in levels.items()},
            latent_noise_key(seed, image, latent),
        )
        for latent, weight in zip(image, weights, strict=True)
    ]
    rows = [row for row, _ in parts]
    together = {
        name: np.concatenate([row[name] for row in rows], axis=-1)
        for name in ("bits", "second_moment", "predicted")
    }
    summed = {name: sum(row[name] for row in rows) for name in ("calibration", "residuals")}
    strides = [latent.stride or 1 for latent in image]
    maps = _on_finest_grid([bits for _, bits in parts], strides)
    level = np.array([levels[cell_id] for cell_id in cells])
    return {**together, "level": level, **summed, "stride": min(strides)}, maps


def _map_latent(
    latents: Latents, cells: Mapping[CellId, Cell], levels: Mapping[CellId, float], key: int
) -> tuple[Row, NDArray[np.float64]]:
    """Return the variables of one latent, and its bits over (cell, row, column)."""
    outputs = []
    for cell_id, cell in cells.items():
        prepared = cell.prepare(latents, key)
        level = cell.quantizer.level
        outputs.append(cell.code(prepared, levels[cell_id] if level is None else level))
        if cell_id == BASELINE_CELL:
            scale, r = latents.scale.double(), prepared.residual
    bits = np.stack([output.element_bits.numpy() for output in outputs])
    second_moment, predicted = statistics.moments(scale, r)
    row = {
        "bits": bits.sum((2, 3)),
        "second_moment": second_moment,
        "predicted": predicted,
        "calibration": statistics.calibration(scale, r),
        "residuals": statistics.residual_histograms(scale, r),
    }
    return row, bits.sum(1)


def _on_finest_grid(
    maps: Sequence[NDArray[np.float64]], strides: Sequence[int]
) -> NDArray[np.float32]:
    """Return the sum of maps of several strides; elements of coarse ones are spread evenly."""
    finest = min(strides)
    scales = [stride // finest for stride in strides]
    fine = [
        bits.repeat(scale, 1).repeat(scale, 2) / scale**2
        for bits, scale in zip(maps, scales, strict=True)
    ]
    shape = tuple(max(bits.shape[axis] for bits in fine) for axis in range(3))
    total = np.zeros(shape)
    for bits in fine:
        total[:, : bits.shape[1], : bits.shape[2]] += bits
    return total.astype(np.float32)


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

    def label(self, cells: Mapping[CellId, Mapping[str, Cell]], run: RunId) -> xr.Dataset:
        """Return the table with names, units and the computed labels."""
        variables: dict[str, Any] = {}
        for name, column in self.columns.items():
            dimensions, units = LAYOUT[name]
            variables[name] = (("image", *dimensions), column, {"units": units} if units else {})
        first = [next(iter(of_cell.values())) for of_cell in cells.values()]
        coords: dict[str, Any] = {
            "image": self.images,
            "cell": [str(cell_id) for cell_id in cells],
            "kind": ("cell", [str(cell.kind) for cell in first]),
            "level_kind": ("cell", [str(cell.quantizer.level_kind) for cell in first]),
            "sum": list(statistics.SUMS),
            **run.coordinates(),
        }
        return xr.Dataset(variables, coords)

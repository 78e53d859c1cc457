"""Where in the image, and in which channels, a codec and its limits spend their bits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from rdpipe.core.axes import BASELINE_CELL, CellId
from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents
from rdpipe.core.runs import RunId
from rdpipe.evaluation import statistics
from rdpipe.evaluation.array import LEVEL_UNITS, latent_noise_key, latent_weights
from rdpipe.evaluation.cell import Cell
from rdpipe.evaluation.content import CONTENT

LAYOUT: dict[str, tuple[tuple[str, ...], str]] = {
    "bits": (("cell", "channel"), "bit"),
    "unplaced": (("cell",), "bit"),
    "level": (("cell", "channel"), LEVEL_UNITS),
    "count": (("channel",), ""),
    "second_moment": (("channel",), "squared latent units"),
    "predicted": (("channel",), "squared latent units"),
    "calibration": (("sum", "scale_bin"), ""),
    "residuals": (("scale_class", "bin"), ""),
    "content_pixels": (("content",), "pixel"),
    "content_bits": (("cell", "content"), "bit"),
    "content_latent_error": (("cell", "content"), "squared latent units"),
    "content_error": (("content",), "squared 8-bit levels"),
    "stride": ((), ""),
    "height": ((), ""),
    "width": ((), ""),
}
"""Variables of the table of all images: their dimensions besides ``image``, and their units."""
COARSE = 16
"""Stride of the maps if no latent has a place in the image, pixels."""
Row = dict[str, Any]
"""A row of that table."""


class ImageMaps(NamedTuple):
    """Maps of all channels over one image, of shape (cell, row, column).

    Parameters
    ----------
    bits : array of float32
    latent_error : array of float32
        Squared error of y_hat, squared latent units, weighted as the distortions of several latents
        are.
    """

    bits: NDArray[np.float32]
    latent_error: NDArray[np.float32]


def map_image(
    image: Sequence[Latents],
    cells: Mapping[CellId, Mapping[str, Cell]],
    levels: Mapping[CellId, float],
    seed: int,
    size: tuple[int, int],
) -> tuple[Row, ImageMaps]:
    """Map the bits and the error of the latents of one image in several cells.

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
    size : tuple of int
        Height and width of the image, pixels.

    Returns
    -------
    row : dict
        Variables of :data:`LAYOUT`: ``bits``; ``unplaced``, those of them that belong to latents
        without a place in the image; ``level``; ``count``, the number of elements that are coded;
        ``second_moment`` of the codec's residuals, and the mean variance ``predicted`` for them,
        NaN where nothing is coded; ``calibration`` and ``residuals`` of
        :mod:`rdpipe.evaluation.statistics`; ``stride`` of the maps. Channels of several latents
        follow each other.
    maps : ImageMaps
        The stride is the greatest common divisor of those of all latents, or :data:`COARSE`. What
        belongs to a latent without a place in the image is spread evenly.

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
    rows, bits, errors = zip(*parts, strict=True)
    together = {
        name: np.concatenate([row[name] for row in rows], axis=-1)
        for name in ("bits", "level", "count", "second_moment", "predicted")
    }
    summed = {name: sum(row[name] for row in rows) for name in ("calibration", "residuals")}
    unplaced = np.zeros(len(cells))
    for of_latent, latent in zip(bits, image, strict=True):
        if latent.stride is None:
            unplaced += of_latent.sum((1, 2))
    strides = [latent.stride for latent in image]
    stride, whole = _on_one_grid(bits, strides, size)
    weighted = [weight * error for weight, error in zip(weights, errors, strict=True)]
    maps = ImageMaps(whole, _on_one_grid(weighted, strides, size)[1])
    return {**together, **summed, "unplaced": unplaced, "stride": stride}, maps


def _map_latent(
    latents: Latents, cells: Mapping[CellId, Cell], levels: Mapping[CellId, float], key: int
) -> tuple[Row, NDArray[np.float64], NDArray[np.float64]]:
    """Return the variables of one latent, and its bits and error over (cell, row, column)."""
    outputs, channel_levels = [], []
    for cell_id, cell in cells.items():
        prepared = cell.prepare(latents, key)
        level = cell.quantizer.level
        outputs.append(cell.code(prepared, levels[cell_id] if level is None else level))
        channel_levels.append(cell.levels_of_channels(levels[cell_id], len(prepared.y)))
        if cell_id == BASELINE_CELL:
            scale, r = latents.scale.double(), prepared.residual
    bits = np.stack([output.element_bits.numpy() for output in outputs])
    coded = torch.ones_like(r, dtype=torch.bool) if latents.coded is None else latents.coded
    second_moment, predicted = statistics.moments(scale, r, coded)
    row = {
        "bits": bits.sum((2, 3)),
        "level": np.stack(channel_levels),
        "count": coded.sum((1, 2)).numpy(),
        "second_moment": second_moment,
        "predicted": predicted,
        "calibration": statistics.calibration(scale[coded], r[coded]),
        "residuals": statistics.residual_histograms(scale[coded], r[coded]),
    }
    errors = [(output.y_hat - latents.y).double().square().sum(0).numpy() for output in outputs]
    return row, bits.sum(1), np.stack(errors)


def _on_one_grid(
    maps: Sequence[NDArray[np.float64]], strides: Sequence[int | None], size: tuple[int, int]
) -> tuple[int, NDArray[np.float32]]:
    """Return the stride and the sum of maps of several strides, or of none.

    Bits of an element are spread evenly over its part of the image.
    """
    placed = [stride for stride in strides if stride is not None]
    common = math.gcd(*placed) if placed else COARSE
    fine = []
    for bits, stride in zip(maps, strides, strict=True):
        if stride is None:
            rows, columns = (-(-side // common) for side in size)
            total = bits.sum((1, 2), keepdims=True)
            fine.append(np.tile(total / (rows * columns), (1, rows, columns)))
        else:
            scale = stride // common
            fine.append(bits.repeat(scale, 1).repeat(scale, 2) / scale**2)
    shape = tuple(max(bits.shape[axis] for bits in fine) for axis in range(3))
    whole = np.zeros(shape)
    for bits in fine:
        whole[:, : bits.shape[1], : bits.shape[2]] += bits
    return common, whole.astype(np.float32)


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
            "content": list(CONTENT),
            **run.coordinates(),
        }
        return xr.Dataset(variables, coords)

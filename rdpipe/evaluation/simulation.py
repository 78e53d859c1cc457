"""Simulation of cells: what their quantizer leaves goes through the codec's decoder.

.. code-block:: none

    latents --(quantizer of a cell, at each level)--> y_hat --synthesise--> image: true PSNR
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from rdpipe.core.axes import CellId
from rdpipe.core.latents import Latents
from rdpipe.core.metrics import mean_squared_error
from rdpipe.core.protocols import Codec, Image, SupportsContext
from rdpipe.core.runs import RunId
from rdpipe.evaluation.array import LEVEL_UNITS
from rdpipe.evaluation.cell import Cell, Entries, Fits


class Simulation:
    """Some cells of a codec over a sweep of levels.

    Parameters
    ----------
    codec : Codec
    cells : mapping of str to CellId
        The cells by the name of their curve.
    entries, fits : mapping
        Config entries by section and name; states of fitted estimators.
    context : bool
        Whether the codec has a context model.
    sweep : sequence of float
        Levels of the cells whose quantizer has no level of its own: theta, squared latent units.

    Attributes
    ----------
    cells : dict of str to Cell
    walks : set of str
        The curves for which the context model runs again, see :func:`reruns_context`.
    """

    def __init__(
        self,
        codec: Codec,
        cells: Mapping[str, CellId],
        entries: Entries,
        fits: Fits,
        context: bool,
        sweep: Sequence[float],
    ):
        self.codec, self.sweep = codec, list(sweep)
        self.cells: dict[str, Cell] = {}
        self.walks: set[str] = set()
        for name, cell_id in cells.items():
            self.cells[name] = Cell.from_entries(cell_id, entries, fits, context)
            if context and reruns_context(codec, self.cells[name]):
                self.cells[name] = Cell.from_entries(cell_id, entries, fits)
                self.walks.add(name)

    def run(
        self, latents: Latents, image: Image, codec_y_hat: Tensor, key: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Simulate all cells on one image.

        Parameters
        ----------
        latents : Latents
        image : array
        codec_y_hat : Tensor of shape (channel, row, column)
            What the codec's own decoder obtains.
        key : int
            Key of the noise of random quantizers.

        Returns
        -------
        bits, mse : array of shape (curve, sweep)
            Bits without the codec's side information, and mean squared error of the image in
            squared 8-bit levels. A cell whose quantizer has a level of its own stands at the first
            place of the sweep; its other places are NaN.
        """
        bits, mse = (np.full((len(self.cells), len(self.sweep)), np.nan) for _ in range(2))
        for c, (name, cell) in enumerate(self.cells.items()):
            walk = None
            if name in self.walks and isinstance(self.codec, SupportsContext):
                walk = partial(self.codec.recode, image)
            prepared = cell.prepare(latents, key)
            for k, level in enumerate(cell.levels(self.sweep)):
                output = cell.code(prepared, level, walk)
                y_hat = codec_y_hat if cell.has_codec_past else output.y_hat
                decoded = self.codec.synthesise(y_hat, *image.shape[:2])
                bits[c, k], mse[c, k] = output.bits, mean_squared_error(image, decoded)
        return bits, mse

    def label(
        self,
        results: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
        images: Sequence[str],
        run: RunId,
    ) -> xr.Dataset:
        """Return the results of all images with names, units and the computed labels.

        Parameters
        ----------
        results : sequence of tuple of array
            From :meth:`run`, for each image.
        images : sequence of str
            Names of the images.
        run : RunId
        """
        bits, mse = (np.stack(parts, axis=1) for parts in zip(*results, strict=True))
        levels = np.full((len(self.cells), len(self.sweep)), np.nan)
        for c, cell in enumerate(self.cells.values()):
            cell_levels = cell.levels(self.sweep)
            levels[c, : len(cell_levels)] = cell_levels
        cells = self.cells.values()
        data: dict[str, Any] = {
            "bits": (("curve", "image", "sweep"), bits, {"units": "bit"}),
            "mse": (("curve", "image", "sweep"), mse, {"units": "squared 8-bit levels"}),
            "level": (("curve", "sweep"), levels, {"units": LEVEL_UNITS}),
        }
        coords: dict[str, Any] = {
            "curve": list(self.cells),
            "image": list(images),
            "kind": ("curve", [str(cell.kind) for cell in cells]),
            "includes_side": ("curve", [cell.includes_side for cell in cells]),
            "level_kind": ("curve", [str(cell.quantizer.level_kind) for cell in cells]),
            **run.coordinates(),
        }
        return xr.Dataset(data, coords)


def reruns_context(codec: Codec, cell: Cell) -> bool:
    """Return whether the codec's context model must run on what the cell's quantizer leaves.

    It must if the cell uses the codec's own mean and variance but does not obtain the codec's
    y_hat; otherwise the cell would be genie-aided.
    """
    return cell.predicts_as_codec and not cell.has_codec_past and isinstance(codec, SupportsContext)

"""Simulation of cells: what their quantizer leaves goes through the codec's decoder.

.. code-block:: none

    latents --(quantizer of a cell, at each level)--> y_hat --code--> image: true PSNR
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from rdpipe.core.axes import CellId
from rdpipe.core.latents import Latents, Structure
from rdpipe.core.metrics import mean_squared_error
from rdpipe.core.protocols import Codec, Image
from rdpipe.core.running import decode_image, device_of
from rdpipe.core.runs import RunId
from rdpipe.core.walk import Replay, Walk
from rdpipe.evaluation.array import LEVEL_UNITS, latent_noise_key, latent_weights, prepare
from rdpipe.evaluation.cell import Cell, Entries, Fits
from rdpipe.evaluation.cell_walk import CellOfLatent, CellWalk

CellsOfLatents = Mapping[str, Cell]
"""The cell of each latent."""


class Simulation:
    """Some cells of a codec over a sweep of levels.

    Parameters
    ----------
    codec : Codec
    cells : mapping of str to CellId
        The cells by the name of their curve.
    entries, fits : mapping
        Config entries by section and name; states of fitted estimators.
    latents : sequence of Latents
        The latents of an image of the codec.
    sweep : sequence of float
        Levels of the cells whose quantizer has no level of its own: theta, squared latent units.
    seed : int
        Seed of the noise of random quantizers.

    Attributes
    ----------
    cells : dict of str to dict of str to Cell
        The cells of each curve, for each latent.
    walks : set of str
        The curves for which the whole decoder runs on the cell's own output, see
        :func:`cells_of_latents`.
    """

    def __init__(
        self,
        codec: Codec,
        cells: Mapping[str, CellId],
        entries: Entries,
        fits: Fits,
        latents: Sequence[Latents],
        sweep: Sequence[float],
        seed: int = 0,
    ):
        self.codec, self.sweep, self.seed = codec, list(sweep), seed
        self.cells: dict[str, CellsOfLatents] = {}
        self.walks: set[str] = set()
        for name, cell_id in cells.items():
            of_curve, walks = cells_of_latents(cell_id, entries, fits, latents)
            self.cells[name] = of_curve
            if walks:
                self.walks.add(name)

    def run(
        self, latents: Sequence[Latents], image: Image
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Simulate all cells on one image.

        Parameters
        ----------
        latents : sequence of Latents
        image : array

        Returns
        -------
        bits, mse : array of shape (curve, sweep)
            Bits without the codec's side information, and mean squared error of the image in
            squared 8-bit levels. A cell whose quantizer has a level of its own stands at the first
            place of the sweep; its other places are NaN.
        """
        bits, mse = (np.full((len(self.cells), len(self.sweep)), np.nan) for _ in range(2))
        own_image: Image | None = None
        for c, (name, cells) in enumerate(self.cells.items()):
            first = next(iter(cells.values()))
            prepared = [] if name in self.walks else prepare(cells, latents, self.seed)
            for k, level in enumerate(first.levels(self.sweep)):
                if name in self.walks:
                    bits[c, k], decoded = self._walk(cells, latents, image, level)
                else:
                    outputs = [of_latent.code(level) for of_latent in prepared]
                    bits[c, k] = sum(output.bits for output in outputs)
                    if first.has_codec_past:
                        if own_image is None:
                            own_image = decode_image(self.codec, Walk(), image)
                        decoded = own_image
                    else:
                        y_hats = [output.y_hat for output in outputs]
                        decoded = decode_latents(self.codec, latents, y_hats, image)
                mse[c, k] = mean_squared_error(image, decoded)
        return bits, mse

    def _walk(
        self, cells: CellsOfLatents, latents: Sequence[Latents], image: Image, level: float
    ) -> tuple[float, Image]:
        """Run the whole decoder on what the cells leave; return bits and image."""
        weights = latent_weights(latents)
        walk = CellWalk(
            {
                latent.latent: CellOfLatent(
                    cells[latent.latent],
                    level / weight,
                    latent_noise_key(self.seed, latents, latent),
                    latent.y.shape,
                )
                for latent, weight in zip(latents, weights, strict=True)
            }
        )
        decoded = decode_image(self.codec, walk, image)
        return walk.bits, decoded

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
        cells = [next(iter(of_curve.values())) for of_curve in self.cells.values()]
        levels = np.full((len(cells), len(self.sweep)), np.nan)
        for c, cell in enumerate(cells):
            cell_levels = cell.levels(self.sweep)
            levels[c, : len(cell_levels)] = cell_levels
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


def cells_of_latents(
    cell_id: CellId, entries: Entries, fits: Fits, latents: Sequence[Latents]
) -> tuple[CellsOfLatents, bool]:
    """Return the cell for each latent, and whether the decoder must run on its own output.

    It must if mean and variance are the codec's own and depend on decoded latents, but the cell
    does not obtain the codec's y_hat. The cell is then no genie: it has its own past.

    Parameters
    ----------
    cell_id : CellId
    entries, fits : mapping
        Config entries by section and name; states of fitted estimators.
    latents : sequence of Latents
        The latents of an image of the codec.
    """
    structure = latents[0].structure
    cells = build(cell_id, entries, fits, latents, structure)
    cell = next(iter(cells.values()))
    if not (structure.follows_past and cell.predicts_as_codec and not cell.has_codec_past):
        return cells, False
    return build(cell_id, entries, fits, latents, own_past(structure)), True


def own_past(structure: Structure) -> Structure:
    """Return the structure for a cell that decodes its own past."""
    return Structure(image_needs_side=structure.image_needs_side)


def build(
    cell_id: CellId,
    entries: Entries,
    fits: Fits,
    latents: Sequence[Latents],
    structure: Structure,
) -> CellsOfLatents:
    """Return the cell for each latent."""
    return {
        latent.latent: Cell.from_entries(cell_id, entries, fits, structure, latent.latent)
        for latent in latents
    }


def decode_latents(
    codec: Codec, latents: Sequence[Latents], y_hats: Sequence[Tensor], image: Image
) -> Image:
    """Return the decoded image of decoded latents, in units of the step.

    Side information is that of the image.
    """
    given = {
        latent.latent: y_hat if latent.step is None else y_hat * latent.step
        for latent, y_hat in zip(latents, y_hats, strict=True)
    }
    return decode_image(codec, Replay(given, device_of(codec)), image)

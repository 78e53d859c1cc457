"""The labelled array: bits and distortion over (image, mean, variance, quantizer)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import xarray as xr

from rdpipe.axes import TABLES
from rdpipe.axes.cell import Cell, Fits, Prepared, build, kind, side_counted
from rdpipe.errors import InputError
from rdpipe.latents import Latents
from rdpipe.plugins import nearest
from rdpipe.random import noise_key

LEVEL_BITS = 32
"""What it costs to tell the decoder a level solved for each image: one float32."""
MATCHINGS = ("image", "dataset")


def evaluate(
    latents,
    means,
    variances,
    quantizers,
    matching: str = "image",
    seed: int = 0,
    fits: Fits | None = None,
) -> xr.Dataset:
    """Rates and distortions of every combination of estimators on every image.

    Parameters
    ----------
    latents : Latents, or sequence of Latents
        One for each image; one at a time is asked for, so a sequence may read them from a file.
    means, variances, quantizers : iterable of str, or mapping of str to config entry
        Names from ``MEANS``, ``VARIANCES``, ``QUANTIZERS``.
    matching : {"image", "dataset"}
        The test channel's level equals its distortion to that of rounding on the same elements:
        of each image, or of all images together.
    seed : int
        Seed of the noise of random quantizers.
    fits : mapping
        What the fitted estimators found: arrays by name, by (axis, estimator).

    Returns
    -------
    xarray.Dataset
        Over exactly (image, mean, variance, quantizer): ``bits``, what the elements and the
        estimators' own side information cost, bit (the codec's side information is not in it);
        ``distortion``, the sum of squared errors of the latents; ``level``, theta or step. Over
        image: ``elements``, the number of latents.
        Coordinates ``mean_information``, ``variance_information`` and ``quantizer_information``
        (decodable or genie), ``kind`` of each cell, and ``side_counted``: whether the codec's side
        information must be added to its rate.

    Raises
    ------
    InputError
        If a name or ``matching`` is unknown.
    """
    if matching not in MATCHINGS:
        raise InputError(f"unknown matching {matching!r}; {nearest(matching, MATCHINGS)}")
    latents = [latents] if isinstance(latents, Latents) else latents
    entries = dict(zip(TABLES, map(as_entries, (means, variances, quantizers))))
    axes = {
        axis: {name: build(axis, name, entry, fits or {}) for name, entry in named.items()}
        for axis, named in entries.items()
    }
    shape = tuple(map(len, axes.values()))
    results, names, elements = np.empty((3, len(latents), *shape)), [], []
    context = len(latents) > 0 and latents[0].with_context
    cells = {
        place: Cell(*(list(axis.values())[i] for axis, i in zip(axes.values(), place)), context)
        for place in np.ndindex(shape)
    }
    shared = {} if matching == "image" else shared_levels(cells, latents, seed)
    for i, one in enumerate(latents):
        names.append(one.name)
        elements.append(one.y.numel())
        common = {}
        for place, cell in cells.items():
            prepared = cell.prepare(one, noise_key(seed, one.name), common)
            level, told = cell.quantizer.level, 0
            if level is None and matching == "image":
                level, told = cell.matched_level([prepared]), LEVEL_BITS
            elif level is None:
                level = shared[place]
            sent = cell.send(prepared, level)
            results[:, i, *place] = sent.bits + told, sent.distortion, level
    cells = dict(zip(("bits", "distortion", "level"), results))
    return label(cells, names, axes, context).assign(elements=("image", elements))


class PreparedImages:
    """Images as one cell sees them, each prepared anew whenever its turn comes: memory does not grow with their number."""

    def __init__(self, cell: Cell, latents, seed: int):
        self.cell, self.latents, self.seed = cell, latents, seed

    def __iter__(self) -> Iterator[Prepared]:
        for one in self.latents:
            yield self.cell.prepare(one, noise_key(self.seed, one.name))


def shared_levels(cells: dict[tuple, Cell], latents, seed: int) -> dict[tuple, float]:
    """The level of each cell without one of its own at which all images together distort like rounding."""
    return {
        place: cell.matched_level(PreparedImages(cell, latents, seed))
        for place, cell in cells.items()
        if cell.quantizer.level is None
    }


def as_entries(estimators: Iterable[str] | Mapping[str, dict]) -> Mapping[str, dict]:
    """Config entries by name, from them or from names alone."""
    return estimators if isinstance(estimators, Mapping) else {name: {} for name in estimators}


def label(
    cells: dict[str, np.ndarray], images: list[str], axes: dict[str, dict], context: bool
) -> xr.Dataset:
    """Put names, units and the computed labels on the bare arrays."""
    dims = ("image", "mean", "variance", "quantizer")
    names = {axis: list(estimators) for axis, estimators in axes.items()}
    means, variances, quantizers = (list(axis.values()) for axis in axes.values())
    coords = {"image": images, **names}
    for axis, estimators in axes.items():
        coords[f"{axis}_information"] = (axis, [e.information for e in estimators.values()])
    for name, rule in (("kind", kind), ("side_counted", side_counted)):
        values = [[[rule(m, v, q, context) for q in quantizers] for v in variances] for m in means]
        coords[name] = (dims[1:], np.array(values))
    units = {"bits": "bit", "distortion": "squared latent units", "level": "latent units"}
    data = {name: (dims, cells[name], {"units": units[name]}) for name in cells}
    return xr.Dataset(data, coords)

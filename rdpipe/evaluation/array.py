"""The labeled array: bits and distortion over (image, mean, variance, quantizer)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from rdpipe.core.axes import AXES, CellId
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import Information
from rdpipe.core.latents import Latents
from rdpipe.core.plugins import suggest
from rdpipe.core.rng import noise_key
from rdpipe.evaluation.cell import Cell, CellCache, Fits, PreparedImage, build_part

LEVEL_BITS = 32
"""Bits to transmit the level that is solved for one image: one float32."""
LEVEL_UNITS = "theta: squared latent units; step: latent units"
"""Units of a level; the coordinate ``level_kind`` says which of the two it is."""
MATCHINGS = ("image", "dataset")
Names = Iterable[str] | Mapping[str, Mapping[str, Any]]


def evaluate(
    latents: Latents | Sequence[Latents],
    means: Names,
    variances: Names,
    quantizers: Names,
    matching: str = "image",
    seed: int = 0,
    fits: Fits | None = None,
) -> xr.Dataset:
    """Evaluate every combination of estimators on every image.

    Parameters
    ----------
    latents : Latents or sequence of Latents
        Latents of each image. They are accessed one at a time, so a sequence may read them from a
        file.
    means, variances, quantizers : iterable of str, or mapping of str to config entry
        Names of :data:`rdpipe.core.axes.AXES`, or entries with ``use`` and ``args``.
    matching : {"image", "dataset"}
        Whether a quantizer without a fixed level gets one level per image, or one for all images,
        such that its (weighted) distortion equals that of rounding on the same elements.
    seed : int
        Seed of the noise of random quantizers.
    fits : mapping, optional
        States of fitted estimators, by (axis, name).

    Returns
    -------
    xarray.Dataset
        Over exactly (image, mean, variance, quantizer):

        - ``bits``: bits of the elements and of the estimators' own side information, without the
          codec's side information;
        - ``distortion``: sum of squared errors of the latents, squared latent units;
        - ``level``: theta or step, see the coordinate ``level_kind`` over quantizer.

        Over image: ``elements``, the number of latents. Coordinates ``mean_information``,
        ``variance_information`` and ``quantizer_information`` (decodable or genie); ``kind`` of
        each cell; and ``includes_side``: whether the codec's side information must be added to its
        rate.

    Raises
    ------
    InputError
        If a name or ``matching`` is unknown, or an estimator breaks its contract.
    """
    if matching not in MATCHINGS:
        raise InputError(f"unknown matching {matching!r}; {suggest(matching, MATCHINGS)}")
    images = [latents] if isinstance(latents, Latents) else latents
    parts = {
        axis.name: {
            name: build_part(axis.name, name, entry, fits or {})
            for name, entry in as_entries(names).items()
        }
        for axis, names in zip(AXES, (means, variances, quantizers), strict=True)
    }
    context = len(images) > 0 and images[0].with_context
    cells = build_cells(parts, context)
    levels = {} if matching == "image" else dataset_levels(cells, images, seed)
    shape = tuple(map(len, parts.values()))
    results: NDArray[np.float64] = np.empty((3, len(images), *shape))
    names, elements = [], []
    for i, image in enumerate(images):
        names.append(image.name)
        elements.append(image.y.numel())
        if image.with_context != context:
            raise InputError(
                f"images {images[0].name!r} and {image.name!r}: only one has hyper; expected"
                " latents of one codec"
            )
        cache = CellCache()
        for place, cell in cells.items():
            prepared = cell.prepare(image, noise_key(seed, image.name), cache)
            level, level_bits = cell.quantizer.level, 0
            if level is None and matching == "image":
                level, level_bits = cell.matched_level([prepared]), LEVEL_BITS
            elif level is None:
                level = levels[place]
            output = cell.code(prepared, level)
            results[:, i, *place] = output.bits + level_bits, output.distortion, level
    return label(results, names, parts, cells).assign(elements=("image", elements))


def as_entries(names: Names) -> Mapping[str, Mapping[str, Any]]:
    """Return config entries by name, from entries or from names alone.

    Raises
    ------
    InputError
        If it is a text instead of a collection of names.
    """
    if isinstance(names, str):
        raise InputError(f"{names!r} is a text; expected a list of names such as [{names!r}]")
    return names if isinstance(names, Mapping) else {name: {} for name in names}


def build_cells(parts: dict[str, dict[str, Any]], context: bool) -> dict[tuple[int, ...], Cell]:
    """Return all cells by their place in the array."""
    cells = {}
    for place in np.ndindex(tuple(map(len, parts.values()))):
        names = [list(named)[i] for named, i in zip(parts.values(), place, strict=True)]
        mean, variance, quantizer = (
            named[name] for named, name in zip(parts.values(), names, strict=True)
        )
        cells[place] = Cell(CellId(*names), mean, variance, quantizer, context)
    return cells


class PreparedImages:
    """Images prepared for one cell, again at each iteration, so that memory stays constant."""

    def __init__(self, cell: Cell, images: Sequence[Latents], seed: int):
        self.cell, self.images, self.seed = cell, images, seed

    def __iter__(self) -> Iterator[PreparedImage]:
        for image in self.images:
            yield self.cell.prepare(image, noise_key(self.seed, image.name))


def dataset_levels(
    cells: dict[tuple[int, ...], Cell], images: Sequence[Latents], seed: int
) -> dict[tuple[int, ...], float]:
    """Return the level of each cell at which all images together have rounding's distortion."""
    return {
        place: cell.matched_level(PreparedImages(cell, images, seed))
        for place, cell in cells.items()
        if cell.quantizer.level is None
    }


def label(
    results: NDArray[np.float64],
    images: list[str],
    parts: dict[str, dict[str, Any]],
    cells: dict[tuple[int, ...], Cell],
) -> xr.Dataset:
    """Return the array with names, units and the computed labels."""
    dims = tuple(axis.name for axis in AXES)
    coords: dict[str, Any] = {"image": images, **{axis: list(parts[axis]) for axis in dims}}
    for axis in dims:
        labels = [str(Information.parse(part.information)) for part in parts[axis].values()]
        coords[f"{axis}_information"] = (axis, labels)
    shape = tuple(len(parts[axis]) for axis in dims)
    kinds = np.array([str(cell.kind) for cell in cells.values()]).reshape(shape)
    side = np.array([cell.includes_side for cell in cells.values()]).reshape(shape)
    coords |= {"kind": (dims, kinds), "includes_side": (dims, side)}
    level_kinds = [str(quantizer.level_kind) for quantizer in parts["quantizer"].values()]
    coords["level_kind"] = ("quantizer", level_kinds)
    units = {
        "bits": "bit",
        "distortion": "squared latent units",
        "level": LEVEL_UNITS,
    }
    data = {
        name: (("image", *dims), values, {"units": unit})
        for (name, unit), values in zip(units.items(), results, strict=True)
    }
    return xr.Dataset(data, coords)

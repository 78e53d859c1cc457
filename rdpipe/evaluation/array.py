"""The labeled array: bits and distortion over (image, mean, variance, quantizer)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from rdpipe.core.axes import AXES, BASELINE_CELL, CONTEXT_FREE_CELL, CellId
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import Information
from rdpipe.core.latents import ImageLatents, Latents, Structure, as_sequence
from rdpipe.core.plugins import suggest
from rdpipe.core.rng import latent_key, noise_key
from rdpipe.evaluation.cell import Cell, CellCache, Fits, Prepared, build_part, matched_level
from rdpipe.evaluation.claims import INDEPENDENT

LEVEL_BITS = 32
"""Bits to transmit the level that is solved for one image: one float32."""
LEVEL_UNITS = "theta: squared latent units; step: latent units"
"""Units of a level; the coordinate ``level_kind`` says which of the two it is."""
MATCHINGS = ("image", "dataset")
Names = Iterable[str] | Mapping[str, Mapping[str, Any]]
Parts = dict[str, dict[str, Any]]
"""Estimators by axis and name."""
Cells = dict[tuple[int, ...], Cell]
"""Cells by their place in the array."""


def evaluate(
    latents: Latents | Sequence[ImageLatents],
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
        Latents of each image; of a codec with several, a sequence of them for each image. Images
        are accessed one at a time, so the outer sequence may read them from a file.
    means, variances, quantizers : iterable of str, or mapping of str to config entry
        Names of :data:`rdpipe.core.axes.AXES`, or entries with ``use`` and ``args``.
    matching : {"image", "dataset"}
        Whether a quantizer without a fixed level gets one level per image, or one for all images,
        such that its (weighted) distortion equals that of rounding on the same elements. Each of
        several latents has that level over its weight, the decoder's gain.
    seed : int
        Seed of the noise of random quantizers.
    fits : mapping, optional
        States of fitted estimators, by (axis, name), for each latent.

    Returns
    -------
    xarray.Dataset
        Over exactly (image, mean, variance, quantizer):

        - ``bits``: bits of the elements and of the estimators' own side information, without the
          codec's side information;
        - ``distortion``: sum of squared errors of the latents, squared latent units; of several
          latents, weighted by the decoder's gain;
        - ``level``: theta or step, see the coordinate ``level_kind`` over quantizer.

        Over image: ``elements``, the number of elements that are coded. Coordinates:
        ``mean_information``, ``variance_information`` and ``quantizer_information`` (decodable or
        genie); ``kind`` of each cell; and ``includes_side``: whether the codec's side information
        must be added to its rate.

    Raises
    ------
    InputError
        If a name or ``matching`` is unknown, or an estimator breaks its contract.
    """
    if matching not in MATCHINGS:
        raise InputError(f"unknown matching {matching!r}; {suggest(matching, MATCHINGS)}")
    images = [latents] if isinstance(latents, Latents) else latents
    described = describe(images[0]) if len(images) else [("y", INDEPENDENT)]
    entries = [as_entries(names) for names in (means, variances, quantizers)]
    parts = {latent: build_parts(entries, fits or {}, latent) for latent, _ in described}
    cells = {latent: build_cells(parts[latent], structure) for latent, structure in described}
    places = list(next(iter(cells.values())))
    levels = {} if matching == "image" else dataset_levels(cells, places, images, seed)
    shape = tuple(map(len, entries))
    results: NDArray[np.float64] = np.empty((3, len(images), *shape))
    names, elements = [], []
    for i, image in enumerate(map(as_sequence, images)):
        if describe(image) != described:
            raise InputError(
                f"image {image[0].name!r} has other latents than the first image, or only one of"
                " them has hyper; expected latents of one codec"
            )
        names.append(image[0].name)
        elements.append(sum(latent.coded_elements for latent in image))
        caches = {latent.latent: CellCache() for latent in image}
        for place in places:
            prepared = prepare(cells_at(cells, place), image, seed, caches)
            level, level_bits = prepared[0].cell.quantizer.level, 0
            if level is None and matching == "image":
                level, level_bits = matched_level([prepared]), LEVEL_BITS
            elif level is None:
                level = levels[place]
            outputs = [(latent.weight, latent.code(level)) for latent in prepared]
            bits = sum(output.bits for _, output in outputs)
            distortion = sum(weight * output.distortion for weight, output in outputs)
            results[:, i, *place] = bits + level_bits, distortion, level
    array = label(results, names, next(iter(parts.values())), next(iter(cells.values())))
    if len(described) > 1:
        array["distortion"].attrs["units"] = "squared latent units, weighted by the decoder's gain"
    return array.assign(elements=("image", elements))


def evaluate_context(latents: Latents | Sequence[ImageLatents]) -> xr.Dataset:
    """Evaluate the codec's rounding with and without its context model.

    Parameters
    ----------
    latents : Latents or sequence of Latents
        See :func:`evaluate`.

    Returns
    -------
    xarray.Dataset
        See :func:`evaluate`. Mean and variance are ``hyper``, without context, and ``codec``.
    """
    cells = CONTEXT_FREE_CELL, BASELINE_CELL
    means, variances = [cell.mean for cell in cells], [cell.variance for cell in cells]
    return evaluate(latents, means, variances, [BASELINE_CELL.quantizer])


def build_parts(
    entries: Sequence[Mapping[str, Mapping[str, Any]]], fits: Fits, latent: str
) -> Parts:
    """Return the estimators of each axis by name, for one latent."""
    return {
        axis.name: {
            name: build_part(axis.name, name, entry, fits, latent)
            for name, entry in axis_entries.items()
        }
        for axis, axis_entries in zip(AXES, entries, strict=True)
    }


def describe(image: ImageLatents) -> list[tuple[str, Structure]]:
    """Return name and structure of each latent of an image."""
    return [(latent.latent, latent.structure) for latent in as_sequence(image)]


def cells_at(cells: Mapping[str, Cells], place: tuple[int, ...]) -> dict[str, Cell]:
    """Return the cell of each latent at a place in the array."""
    return {latent: of_latent[place] for latent, of_latent in cells.items()}


def prepare(
    cells: Mapping[str, Cell],
    image: Sequence[Latents],
    seed: int,
    caches: Mapping[str, CellCache] | None = None,
) -> list[Prepared]:
    """Prepare all latents of an image for the cell of each."""
    weights = latent_weights(image)
    prepared = []
    for latent, weight in zip(image, weights, strict=True):
        cell = cells[latent.latent]
        cache = None if caches is None else caches[latent.latent]
        key = latent_noise_key(seed, image, latent)
        prepared.append(Prepared(cell, cell.prepare(latent, key, cache), weight))
    return prepared


def latent_noise_key(seed: int, image: Sequence[Latents], latent: Latents) -> int:
    """Return the key of the noise of a latent; it differs between the latents of an image."""
    return latent_key(noise_key(seed, latent.name), latent.latent, len(image))


def latent_weights(image: Sequence[Latents]) -> list[float]:
    """Return the weight of the distortion of each latent of an image.

    It is a constant of the codec, so a decoder knows it. A single latent has the weight 1.

    Raises
    ------
    InputError
        If one of several latents has no weight.
    """
    if len(image) == 1:
        return [1.0]
    without = [latent.latent for latent in image if latent.weight is None]
    if without:
        raise InputError(
            f"image {image[0].name!r}: latent {without[0]!r} has no weight, so the distortions of"
            " several latents cannot be compared; expected a decoder that PyTorch can differentiate"
        )
    return [latent.weight for latent in image if latent.weight is not None]


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


def build_cells(parts: Parts, structure: Structure) -> Cells:
    """Return all cells by their place in the array."""
    cells = {}
    for place in np.ndindex(tuple(map(len, parts.values()))):
        names = [list(estimators)[i] for estimators, i in zip(parts.values(), place, strict=True)]
        mean, variance, quantizer = (
            estimators[name] for estimators, name in zip(parts.values(), names, strict=True)
        )
        cell_id = CellId.from_mapping(dict(zip(parts, names, strict=True)))
        cells[place] = Cell(cell_id, mean, variance, quantizer, structure)
    return cells


class PreparedImages:
    """Images prepared for one cell, again at each iteration, so that memory stays constant."""

    def __init__(self, cells: Mapping[str, Cell], images: Sequence[ImageLatents], seed: int):
        self.cells, self.images, self.seed = cells, images, seed

    def __iter__(self) -> Iterator[Sequence[Prepared]]:
        for image in self.images:
            yield prepare(self.cells, as_sequence(image), self.seed)


def dataset_levels(
    cells: Mapping[str, Cells],
    places: Sequence[tuple[int, ...]],
    images: Sequence[ImageLatents],
    seed: int,
) -> dict[tuple[int, ...], float]:
    """Return the level of each cell at which all images together have rounding's distortion."""
    of_first_latent = next(iter(cells.values()))
    return {
        place: matched_level(PreparedImages(cells_at(cells, place), images, seed))
        for place in places
        if of_first_latent[place].quantizer.level is None
    }


def label(
    results: NDArray[np.float64],
    images: list[str],
    parts: Parts,
    cells: Cells,
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

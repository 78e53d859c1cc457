"""The labelled array: bits and distortion over (image, mean, variance, quantizer)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import xarray as xr

from rdpipe.axes.cell import TABLES, Cell, Fits, build, kind, side_counted
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
        One for each image.
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
    latents = [latents] if isinstance(latents, Latents) else list(latents)
    entries = dict(zip(TABLES, map(as_entries, (means, variances, quantizers))))
    axes = {
        axis: {name: build(axis, name, entry, fits or {}) for name, entry in named.items()}
        for axis, named in entries.items()
    }
    results = np.empty((3, len(latents), *map(len, axes.values())))
    context = len(latents) > 0 and latents[0].with_context
    groups = [[i] for i in range(len(latents))] if matching == "image" else [range(len(latents))]
    for place in np.ndindex(results.shape[2:]):
        cell = Cell(*(list(axis.values())[i] for axis, i in zip(axes.values(), place)), context)
        for group in groups:
            prepared = [cell.prepare(latents[i], noise_key(seed, latents[i].name)) for i in group]
            solved = cell.quantizer.level is None
            level = cell.matched_level(prepared) if solved else cell.quantizer.level
            told = LEVEL_BITS if solved and matching == "image" else 0
            for i, one in zip(group, prepared):
                sent = cell.send(one, level)
                results[:, i, *place] = sent.bits + told, sent.distortion, level
    elements = ("image", [one.y.numel() for one in latents])
    cells = dict(zip(("bits", "distortion", "level"), results))
    return label(cells, [one.name for one in latents], axes, context).assign(elements=elements)


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

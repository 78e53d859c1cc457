"""The labelled array: bits and distortion over (image, mean, variance, quantizer)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
import torch
import xarray as xr
from scipy.optimize import brentq

from rdpipe.axes import MEANS, QUANTIZERS, VARIANCES
from rdpipe.axes.quantizer import Rounding
from rdpipe.errors import InputError
from rdpipe.latents import Latents
from rdpipe.plugins import make, nearest
from rdpipe.random import generator

TABLES = {"mean": MEANS, "variance": VARIANCES, "quantizer": QUANTIZERS}
LEVEL_BITS = 32
"""What it costs to tell the decoder a level solved for each image: one float32."""
GENIE = "genie-aided estimate"
MATCHINGS = ("image", "dataset")


def build(axis: str, entries: Iterable[str] | Mapping[str, dict]) -> dict:
    """Estimators of one axis by name, from names or from config entries."""
    if not isinstance(entries, Mapping):
        entries = {name: {} for name in entries}
    return {name: make(axis, name, entry, TABLES[axis]) for name, entry in entries.items()}


def kind(mean, variance, quantizer) -> str:
    """What a curve of this cell may be called (SCIENCE.md, section 5); computed, never typed."""
    if any(part.information == "genie" for part in (mean, variance, quantizer)):
        return GENIE
    return "achievable" if quantizer.realisable else "upper bound on R(D)"


def side_counted(mean, variance, quantizer) -> bool:
    """Whether this cell's rate must include the codec's side information.

    It must where a real decoder would need it to know the mean or the variance. A genie is told
    everything, so nothing is sent to it.
    """
    needed = mean.uses_side or variance.uses_side
    return needed and kind(mean, variance, quantizer) != GENIE


def residual(latents: Latents, mean, variance) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Residuals and variances in float64, and the bits the variance estimator sends."""
    latents = Latents(latents.name, *(t.double() for t in (latents.y, latents.mean, latents.scale)))
    r = latents.y - mean(latents)
    v, bits = variance(latents, r)
    return r, v, bits


def solve_level(distortion, target: float, start: float) -> float:
    """The lowest level at which a quantizer's distortion reaches a target, to 1e-12.

    Parameters
    ----------
    distortion : callable
        Total distortion at a level; 0 at level 0 and continuous.
    target : float
        The distortion wanted, at most that of sending nothing.
    start : float
        A guess at the level, positive.
    """
    if target <= 0:
        return 0.0

    def excess(log_level: float) -> float:
        return distortion(math.exp(log_level)) / target - (1 - 1e-13)

    low = high = math.log(start)
    while excess(high) < 0:
        low, high = high, high + 0.5
    while excess(low) > 0:
        low, high = low - 0.5, low
    return math.exp(low if low == high else brentq(excess, low, high, xtol=1e-12, rtol=1e-12))


def evaluate(latents, means, variances, quantizers, matching: str = "image") -> xr.Dataset:
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
    axes = {"mean": build("mean", means), "variance": build("variance", variances),
            "quantizer": build("quantizer", quantizers)}  # fmt: skip
    shape = (len(latents), *(len(axis) for axis in axes.values()))
    cells = {name: np.empty(shape) for name in ("bits", "distortion", "level")}
    groups = [[i] for i in range(len(latents))] if matching == "image" else [range(len(latents))]
    for m, mean in enumerate(axes["mean"].values()):
        for v, variance in enumerate(axes["variance"].values()):
            for group in groups:
                draw = [partial(residual, latents[i], mean, variance) for i in group]
                if matching == "image":  # one image fits in memory: estimate once
                    draw = [lambda drawn=draw[0](): drawn]
                for q, quantizer in enumerate(axes["quantizer"].values()):
                    level = quantizer.level or matched_level(quantizer, draw)
                    for i, one in zip(group, draw):
                        r, var, side = one()
                        if quantizer.level is None and matching == "image":
                            side = side + LEVEL_BITS
                        cells["bits"][i, m, v, q] = quantizer.rate(r, var, level).sum() + side
                        cells["distortion"][i, m, v, q] = quantizer.distortion(r, var, level).sum()
                        cells["level"][i, m, v, q] = level
    elements = ("image", [one.y.numel() for one in latents])
    return label(cells, [one.name for one in latents], axes).assign(elements=elements)


def matched_level(quantizer, draw) -> float:
    """Level at which a quantizer has the distortion of rounding on the same elements."""
    rounding = Rounding(quantizer.step)
    target, count = 0.0, 0
    for one in draw:
        r, v, _ = one()
        target += rounding.distortion(r, v, rounding.level).sum().item()
        count += r.numel()

    def distortion(level: float) -> float:
        total = 0.0
        for one in draw:
            r, v, _ = one()
            total += quantizer.distortion(r, v, level).sum().item()
        return total

    return solve_level(distortion, target, target / count)


def label(cells: dict[str, np.ndarray], images: list[str], axes: dict[str, dict]) -> xr.Dataset:
    """Put names, units and the computed labels on the bare arrays."""
    dims = ("image", "mean", "variance", "quantizer")
    names = {axis: list(estimators) for axis, estimators in axes.items()}
    means, variances, quantizers = (list(axis.values()) for axis in axes.values())
    coords = {"image": images, **names}
    for axis, estimators in axes.items():
        coords[f"{axis}_information"] = (axis, [e.information for e in estimators.values()])
    for name, rule in (("kind", kind), ("side_counted", side_counted)):
        values = [[[rule(m, v, q) for q in quantizers] for v in variances] for m in means]
        coords[name] = (dims[1:], np.array(values))
    units = {"bits": "bit", "distortion": "squared latent units", "level": "latent units"}
    data = {name: (dims, cells[name], {"units": units[name]}) for name in cells}
    return xr.Dataset(data, coords)


class Cell:
    """One cell of the array, sending one image at a given level.

    Parameters
    ----------
    spec : dict
        ``means``, ``variances``, ``quantizers``: config entries by name.
    mean, variance, quantizer : str
        Names among them.
    """

    def __init__(self, spec: dict, mean: str, variance: str, quantizer: str):
        self.parts = tuple(
            make(axis, name, spec[f"{axis}s"][name], TABLES[axis])
            for axis, name in zip(TABLES, (mean, variance, quantizer))
        )
        self.kind = kind(*self.parts)
        self.side_counted = side_counted(*self.parts)

    def levels(self, sweep: list[float]) -> list[float]:
        """The quantizer's own level, or the whole sweep where it has none."""
        own = self.parts[2].level
        return sweep if own is None else [own]

    def send(self, latents: Latents, level: float, seed: int) -> tuple[float, torch.Tensor]:
        """Bits spent, and the decoder's y_hat of shape (channel, row, column).

        The noise of a random quantizer depends on the seed and the image alone: the same at every
        level, in any batch and order.
        """
        mean, variance, quantizer = self.parts
        r, v, bits = residual(latents, mean, variance)
        noise = torch.randn(r.shape, generator=generator(seed, latents.name), dtype=r.dtype)
        bits += quantizer.rate(r, v, level).sum().item()
        return bits, latents.y - r + quantizer.reconstruct(r, v, level, noise)

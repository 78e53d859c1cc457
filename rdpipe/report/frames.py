"""Tidy tables from the stores, as the figures, their CSV files and the page want them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from rdpipe.core.axes import START, cell_name
from rdpipe.evaluation.statistics import CLASS_EDGES, RESIDUAL_EDGES
from rdpipe.config.query import AXES, COMPONENTS
from rdpipe.analysis.bootstrap import interval, resampled_means, resamples
from rdpipe.analysis.decomposition import path_to

OWN = cell_name(START)
FEWEST = 50
"""Elements below which a bin of predicted scale is not shown."""


def image_frame(table: xr.Dataset) -> pd.DataFrame:
    """A row for each image."""
    return table.to_dataframe().reset_index()


def gap_frame(cube: xr.Dataset) -> pd.DataFrame:
    """A row for each estimator along the axis of a gap: mean bit/pixel and bit/latent over images."""
    axis = COMPONENTS[cube["component"].item()]
    bits = cube["bits"].squeeze([other for other in AXES if other != axis])
    rates = xr.Dataset(
        {"bpp": (bits / cube["pixels"]).mean("image"),
         "per_latent": bits.sum("image") / cube["elements"].sum()}
    )  # fmt: skip
    names = {axis: "estimator", f"{axis}_information": "information"}
    keep = [*names.values(), "dataset", "codec", "quality", "component", "bpp", "per_latent"]
    return rates.to_dataframe().reset_index().rename(columns=names)[keep]


def steps(limits: dict) -> dict[str, tuple[str, str]]:
    """The gaps that are mapped, each once: a name in words, and the cells before and after it."""
    found = {}
    for name, limit in limits.items():
        for term, before, after in path_to(limit):
            both = cell_name(before), cell_name(after)
            if both not in found.values():
                found[f"{term} gap, to {name}"] = both
    return found


def identity_of(product: xr.Dataset) -> dict:
    """Columns that say what a product is about."""
    return {key: product[key].item() for key in ("dataset", "codec", "quality")}


def channel_frame(maps: xr.Dataset, limits: dict) -> pd.DataFrame:
    """A row for each channel: variance, prediction of it, bits, every gap and the water level.

    Averages over images, bits for each latent of the channel. ``level`` is the geometric mean over
    images of that of the first test channel among the cells.
    """
    elements = (maps["calibration"].sel(sum="count").sum() / maps.sizes["channel"]).item()
    bits = maps["bits"].sum("image") / elements
    frame = pd.DataFrame(
        {
            "channel": np.arange(maps.sizes["channel"]),
            "second_moment": maps["second_moment"].mean("image").values,
            "predicted": maps["predicted"].mean("image").values,
            "bits": bits.sel(cell=OWN).values,
        }
    )
    for name, (before, after) in steps(limits).items():
        frame[name] = (bits.sel(cell=before) - bits.sel(cell=after)).values
    cells = maps["cell"].values
    channels = [name for name in cells if name.endswith("/test-channel")]
    level = np.exp(np.log(maps["level"].sel(cell=channels[:1])).mean()) if channels else np.nan
    return frame.assign(level=float(level), **identity_of(maps))


def calibration_frame(maps: xr.Dataset, bootstrap: dict) -> pd.DataFrame:
    """A row for each bin of predicted scale: what was predicted, what came, and its interval over images."""
    sums = maps["calibration"].transpose("image", "sum", "scale_bin").values
    draws = resamples(len(sums), bootstrap["resamples"], bootstrap["seed"])
    with np.errstate(invalid="ignore", divide="ignore"):
        count, r2, sigma2 = sums.sum(0)
        drawn = resampled_means(sums[:, :2], draws)
        low, high = interval(np.sqrt(drawn[:, 1] / drawn[:, 0]))  # of means as of sums
        frame = pd.DataFrame(
            {"predicted": np.sqrt(sigma2 / count), "actual": np.sqrt(r2 / count),
             "actual_low": low, "actual_high": high, "count": count}
        )  # fmt: skip
    return frame[frame["count"] >= FEWEST].assign(**identity_of(maps))


def residual_frame(maps: xr.Dataset) -> pd.DataFrame:
    """A row for each class of predicted scale and bin: density of r / sigma, and the Gaussian's."""
    counts = maps["residuals"].sum("image").values
    width = np.diff(RESIDUAL_EDGES)
    centres = RESIDUAL_EDGES[:-1] + width / 2
    edges = [0.0, *CLASS_EDGES, np.inf]
    frames = [
        pd.DataFrame(
            {"class": class_name(low, high), "normalised": centres,
             "density": row / (row.sum() * width), "gaussian": np.exp(-(centres**2) / 2) / np.sqrt(2 * np.pi),
             "count": row}
        )  # fmt: skip
        for low, high, row in zip(edges, edges[1:], counts)
        if row.sum() > 0
    ]
    return pd.concat(frames, ignore_index=True).assign(**identity_of(maps))


def class_name(low: float, high: float) -> str:
    """A range of predicted scales in words."""
    if low == 0:
        return f"sigma below {high:g}"
    return f"sigma {low:g} to {high:g}" if np.isfinite(high) else f"sigma from {low:g}"

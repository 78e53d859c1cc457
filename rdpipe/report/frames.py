"""Tidy tables of the stores, for the figures, their CSV files and the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from rdpipe.analysis.decomposition import path_to
from rdpipe.analysis.intervals import jackknife_interval, left_out_means
from rdpipe.core.axes import AXES, BASELINE_CELL, CellId
from rdpipe.core.kinds import BoundKind, LevelKind
from rdpipe.core.metrics import psnr
from rdpipe.core.runs import RunId
from rdpipe.evaluation.statistics import CLASS_EDGES, RESIDUAL_EDGES

BASELINE_NAME = str(BASELINE_CELL)
"""Name of the codec's own cell."""
FEWEST = 50
"""Smallest number of elements of a bin of predicted scale that is shown."""
SAVED = ("saved", "saved_low", "saved_high")
"""Columns of a saving and its interval."""
CONTENT_COLUMNS = (
    *("content", "images", "area", "bpp", "share", "psnr", "remark", "gap", "genie"),
    *("latent_mse_ratio", *SAVED),
)
"""Columns of :func:`content_frame`, besides those of the run."""
Limits = Mapping[str, CellId]
"""Cells to which the decomposition leads, by name."""


def image_frame(table: xr.Dataset) -> pd.DataFrame:
    """Return a row for each image."""
    return table.to_dataframe().reset_index()


def gap_frame(array: xr.Dataset) -> pd.DataFrame:
    """Return a row for each estimator along the axis of a component.

    It has bit/pixel, averaged over images, and bit/latent.
    """
    component = array["component"].item()
    axis = next(axis.name for axis in AXES if axis.term == component)
    bits = array["bits"].squeeze([unmoved.name for unmoved in AXES if unmoved.name != axis])
    rates = xr.Dataset(
        {
            "bpp": (bits / array["pixels"]).mean("image"),
            "per_latent": bits.sum("image") / array["elements"].sum(),
        }
    )
    names = {axis: "estimator", f"{axis}_information": "information"}
    columns = [*names.values(), *RunId._fields, "component", "bpp", "per_latent"]
    return rates.to_dataframe().reset_index().rename(columns=names)[columns]


def mapped_steps(limits: Limits) -> dict[str, tuple[str, str]]:
    """Return the gaps that are mapped, each of them once.

    Returns
    -------
    dict
        Names of the cells before and after a step, by a description such as "quantization gap, to
        decodable".
    """
    steps: dict[str, tuple[str, str]] = {}
    for name, limit in limits.items():
        for step in path_to(limit):
            cells = str(step.before), str(step.after)
            if cells not in steps.values():
                steps[f"{step.term} gap, to {name}"] = cells
    return steps


def run_columns(product: xr.Dataset) -> dict[str, Any]:
    """Return the columns that identify the run of a store."""
    return dict(RunId.from_coordinates(product).coordinates())


def channel_frame(maps: xr.Dataset, limits: Limits) -> pd.DataFrame:
    """Return a row for each channel: variance, its prediction, bits, every gap and the water level.

    The values are averages over the coded elements of all images; bits are per coded element.
    ``theta`` is the geometric mean over images of the level of the first cell whose level is theta.
    Channels of which nothing is coded are left out.
    """
    elements = maps["count"].sum("image")
    is_coded = (elements > 0).values
    maps, elements = maps.isel(channel=is_coded), elements[is_coded]
    bits = maps["bits"].sum("image") / elements

    def mean(name: str) -> NDArray[np.float64]:
        values: NDArray[np.float64] = (
            ((maps[name] * maps["count"]).sum("image") / elements).astype(float).values
        )
        return values

    frame = pd.DataFrame(
        {
            "channel": np.flatnonzero(is_coded),
            "second_moment": mean("second_moment"),
            "predicted": mean("predicted"),
            "bits": bits.sel(cell=BASELINE_NAME).values,
        }
    )
    for name, (before, after) in mapped_steps(limits).items():
        frame[name] = (bits.sel(cell=before) - bits.sel(cell=after)).values
    has_theta = maps["level_kind"].values == str(LevelKind.THETA)
    cells = maps["cell"].values[has_theta].tolist()
    theta = np.full(len(frame), np.nan)
    if cells:
        of_cell = maps["level"].sel(cell=cells[0]).transpose("image", "channel").values
        theta = np.exp(np.log(of_cell).mean(0))
    return frame.assign(theta=theta, **run_columns(maps))


def calibration_frame(maps: xr.Dataset) -> pd.DataFrame:
    """Return a row for each bin of predicted scale.

    It has the root mean square of the predicted scales and of the residuals; the latter with a 95 %
    interval over images, from the influence of each image on its logarithm. The interval is NaN for
    one image, and if all elements of a bin are those of one image.

    Parameters
    ----------
    maps : xarray.Dataset
        Root of a store of ``map_latents``.
    """
    sums = maps["calibration"].transpose("image", "sum", "scale_bin").values
    with np.errstate(invalid="ignore", divide="ignore"):
        count, r2, sigma2 = sums.sum(0)
        without = left_out_means(sums[:, :2])  # a ratio of means is one of sums
        log_rms = np.log(without[:, 1] / without[:, 0]) / 2
        low, high = np.exp(jackknife_interval(np.log(r2 / count) / 2, log_rms, len(sums)))
        frame = pd.DataFrame(
            {
                "predicted": np.sqrt(sigma2 / count),
                "actual": np.sqrt(r2 / count),
                "actual_low": low,
                "actual_high": high,
                "count": count,
            }
        )
    return frame[frame["count"] >= FEWEST].assign(**run_columns(maps))


def content_frame(maps: xr.Dataset, limits: Limits) -> pd.DataFrame:
    """Return a row for each class of content of the images, and for the gaps of each.

    Returns
    -------
    DataFrame
        :data:`CONTENT_COLUMNS`: the class; the number of ``images`` that have it; ``area``, its
        share of the pixels, per cent; ``bpp`` of the codec there; ``share`` of the codec's bits,
        per cent; ``psnr`` of its mean MSE; the ``gap``, and whether it leads to or from a cell of a
        ``genie``; its worth ``saved``, per cent of the codec's bits there, with a 95 % interval
        over images; ``latent_mse_ratio``, the squared error of the latents there after the gap
        relative to that before; and a ``remark`` on bits without a place. All are ratios of sums
        over images. It is empty if no image has classes, or no bits have a place.
    """
    pixels, error = (maps[f"content_{name}"] for name in ("pixels", "error"))
    bits, errors = (
        maps[f"content_{name}"].transpose("image", "content", "cell")
        for name in ("bits", "latent_error")
    )
    codec_bits, kinds = bits.sel(cell=BASELINE_NAME), maps["kind"]
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = pd.DataFrame(
            {
                "content": maps["content"].values,
                "images": (pixels > 0).sum("image").values,
                "area": 100 * (pixels.sum("image") / pixels.sum()).values,
                "bpp": (codec_bits.sum("image") / pixels.sum("image")).values,
                "share": 100 * (codec_bits.sum("image") / codec_bits.sum()).values,
                "psnr": psnr((error.sum("image") / pixels.sum("image")).values),
                "remark": unplaced_remark(unplaced_share(maps)),
            }
        )
        gaps = []
        for name, (before, after) in mapped_steps(limits).items():
            saved = (bits.sel(cell=before) - bits.sel(cell=after)).values.astype(np.float64)
            parts = dict(
                zip(SAVED, ratio_with_interval(100 * saved, codec_bits.values), strict=True)
            )
            genie = str(BoundKind.GENIE_AIDED) in kinds.sel(cell=[before, after]).values
            ratio = errors.sel(cell=after).sum("image") / errors.sel(cell=before).sum("image")
            gaps.append(whole.assign(gap=name, genie=genie, latent_mse_ratio=ratio.values, **parts))
    frame = pd.concat(gaps) if gaps else whole.reindex(columns=CONTENT_COLUMNS)
    has_place = unplaced_share(maps).min() < 1
    return frame[(frame["area"] > 0) & has_place].assign(**run_columns(maps))


def ratio_with_interval(
    above: NDArray[np.float64], below: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the ratio of two sums over the first axis, the images, and its 95 % interval."""
    above_without, below_without = left_out_means(above), left_out_means(below)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = above.sum(0) / below.sum(0)
        ends = jackknife_interval(ratio, above_without / below_without, len(above))
    return ratio, *ends


def residual_frame(maps: xr.Dataset) -> pd.DataFrame:
    """Return the density of r / sigma and of a Gaussian, by class of predicted scale and bin.

    Classes without elements are left out.
    """
    counts = maps["residuals"].sum("image").values
    width = np.diff(RESIDUAL_EDGES)
    centers = RESIDUAL_EDGES[:-1] + width / 2
    edges = [0.0, *CLASS_EDGES, np.inf]
    frames = [
        pd.DataFrame(
            {
                "class": class_name(low, high),
                "normalized": centers,
                "density": row / (max(row.sum(), 1) * width),
                "gaussian": np.exp(-(centers**2) / 2) / np.sqrt(2 * np.pi),
                "count": row,
            }
        )[: len(row) if row.any() else 0]
        for low, high, row in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    return pd.concat(frames, ignore_index=True).assign(**run_columns(maps))


def class_name(low: float, high: float) -> str:
    """Return a range of predicted scales in words."""
    if low == 0:
        return f"sigma below {high:g}"
    return f"sigma {low:g} to {high:g}" if np.isfinite(high) else f"sigma from {low:g}"


def unplaced_share(maps: xr.Dataset) -> NDArray[np.float64]:
    """Return the share of the codec's bits that have no place in an image, for each image."""
    baseline = maps.sel(cell=BASELINE_NAME)
    bits, unplaced = baseline["bits"].sum("channel").values, baseline["unplaced"].values
    share: NDArray[np.float64] = unplaced / np.maximum(bits, np.finfo(float).tiny)
    return share


def unplaced_remark(shares: Iterable[float]) -> str:
    """Return in words how many of the bits of some maps have no place; empty if all have one."""
    low, high = min(shares := list(shares)), max(shares)
    if high == 0:
        return ""
    if low == 1:
        return "No latent has a place in the image, so all bits are spread evenly over the map."
    ends = dict.fromkeys(f"{100 * share:.1f}" for share in (low, high))
    return (
        f"{' to '.join(ends)} % of the bits belong to latents without a place in the image; they"
        " are spread evenly over the map."
    )

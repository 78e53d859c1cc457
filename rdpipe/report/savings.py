"""Bit/pixel that every curve saves against the codec at equal PSNR."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from rdpipe.analysis.bootstrap import interval, resamples
from rdpipe.analysis.curves import Values
from rdpipe.core.kinds import CurveRole

COLUMNS = (
    "dataset",
    "codec",
    "curve",
    "role",
    "kind",
    "quality",
    "psnr",
    "bpp",
    "saved",
    "saved_low",
    "saved_high",
)
"""Columns of :func:`savings`."""
Points = tuple[Values, Values]
"""bit/pixel and PSNR."""


def savings(
    points: pd.DataFrame, image_points: pd.DataFrame, bootstrap: Mapping[str, int]
) -> pd.DataFrame:
    """Return a row for each curve and each point of the codec in the curve's range of PSNR.

    Between its points, a curve is a monotone cubic of log bpp.

    Parameters
    ----------
    points, image_points : DataFrame
        From ``trace_bounds``, for one dataset and codec. Published curves are only in the first.
    bootstrap : mapping
        ``resamples`` and ``seed``.

    Returns
    -------
    DataFrame
        ``psnr`` and ``bpp`` of the codec's point; ``saved``, what the curve saves there, bit/pixel,
        and its 95 % interval over images (NaN if the values of single images are unknown).
    """
    names = image_points["image"].unique()
    draws = resamples(len(names), bootstrap["resamples"], bootstrap["seed"])
    is_codec = points["role"] == CurveRole.CODEC
    own_points = points[is_codec]
    own_images = _image_points(image_points[image_points["role"] == CurveRole.CODEC], names)
    rows = []
    for (curve, role, kind), table in points[~is_codec].groupby(
        ["curve", "role", "kind"], sort=False
    ):
        saved = _saved(*_mean_points(own_points), *_mean_points(table))
        low = high = np.full(len(own_points), np.nan)
        single = image_points[(image_points["curve"] == curve) & (image_points["role"] == role)]
        if not single.empty:
            images = _image_points(single, names)
            resampled = [
                _saved(*_resample(own_images, draw), *_resample(images, draw), extrapolate=True)
                for draw in draws
            ]
            low, high = interval(np.array(resampled))
        labels = {"curve": curve, "role": role, "kind": kind}
        rows += [
            {
                "dataset": point.dataset,
                "codec": point.codec,
                **labels,
                "quality": point.quality,
                "psnr": point.psnr,
                "bpp": point.bpp,
                "saved": saved[i],
                "saved_low": low[i],
                "saved_high": high[i],
            }
            for i, point in enumerate(own_points.itertuples())
            if np.isfinite(saved[i])
        ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _mean_points(table: pd.DataFrame) -> Points:
    return table["bpp"].to_numpy(), table["psnr"].to_numpy()


def _image_points(rows: pd.DataFrame, names: NDArray[Any]) -> Points:
    """Return bit/pixel and PSNR of one curve over (image, quality)."""
    bpp, psnr = (
        rows.pivot(index="image", columns="quality", values=key).loc[names].to_numpy()
        for key in ("bpp", "psnr")
    )
    return bpp, psnr


def _resample(points: Points, draw: NDArray[np.integer[Any]]) -> Points:
    """Return the mean points of one resample of the images."""
    bpp, psnr = points
    return bpp[draw].mean(0), psnr[draw].mean(0)


def _saved(
    own_bpp: Values, own_psnr: Values, bpp: Values, psnr: Values, extrapolate: bool = False
) -> Values:
    """Return saved bit/pixel at each PSNR of the codec.

    Outside the curve's range of PSNR, the result is NaN or extrapolated. Extrapolation is for
    resamples, in which the ends of two curves with a common end lie slightly apart.
    """
    known = np.isfinite(bpp) & np.isfinite(psnr) & (bpp > 0)
    order = np.argsort(psnr[known])
    bpp, psnr = bpp[known][order], psnr[known][order]
    rising = np.concatenate([[True], np.diff(psnr) > 1e-9]) if len(psnr) else known[:0]
    bpp, psnr = bpp[rising], psnr[rising]
    if len(psnr) < 2:
        return np.full(len(own_bpp), np.nan)
    saved = own_bpp - np.exp(PchipInterpolator(psnr, np.log(bpp))(own_psnr))
    inside = (own_psnr > psnr[0] - 0.02) & (own_psnr < psnr[-1] + 0.02)
    result: Values = np.where(inside | extrapolate, saved, np.nan)
    return result

"""Bit/pixel that every curve saves against the codec at equal quality of the pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from rdpipe.analysis.bd_rate import EQUAL_QUALITY, Points, clean
from rdpipe.analysis.curves import Values
from rdpipe.analysis.intervals import jackknife_interval, left_out_means
from rdpipe.analysis.measures import CURVE_MEASURES, PSNR, PSNR_OF_MEAN_MSE, Measure
from rdpipe.core.kinds import CurveRole

MARGIN = 0.02
"""Distance to a curve's range of quality over which it is extrapolated, dB."""


def savings(
    points: pd.DataFrame, image_points: pd.DataFrame, measure: str = PSNR.name
) -> pd.DataFrame:
    """Return a row for each curve and each point of the codec in the curve's range of quality.

    Between its points, a curve is a monotone cubic of log bpp. As in
    :func:`rdpipe.analysis.bd_rate.compare`, points that another point dominates are left out.

    Parameters
    ----------
    points, image_points : DataFrame
        From ``trace_bounds``, for one dataset and codec. Published curves are only in the first.
    measure : str
        The measure of the quality that is equal, a name in
        :data:`rdpipe.analysis.measures.CURVE_MEASURES`.

    Returns
    -------
    DataFrame
        Quality (in a column with the name of the measure, such as ``psnr``) and ``bpp`` of the
        codec's point; ``saved``, what the curve saves there, bit/pixel, and its 95 % interval over
        images, from the influence of each image on both curves. The interval is NaN for one image,
        and if the values of single images are unknown.
    """
    chosen, column = CURVE_MEASURES[measure], column_of(measure)
    names = image_points["image"].unique()
    is_codec = points["role"] == CurveRole.CODEC
    own_points = points[is_codec]
    own_mean = _mean_points(own_points, column)
    own_rows = image_points[image_points["role"] == CurveRole.CODEC]
    own_images = _image_points(own_rows, names, own_points["quality"], chosen)
    rows = []
    for (curve, role, kind), table in points[~is_codec].groupby(
        ["curve", "role", "kind"], sort=False
    ):
        index = clean(_mean_points(table, column)).index
        mean = _select(_mean_points(table, column), index)
        saved = np.where(_is_inside(own_mean.quality, mean), _saved(own_mean, mean), np.nan)
        low = high = np.full(len(own_points), np.nan)
        single = image_points[(image_points["curve"] == curve) & (image_points["role"] == role)]
        if not single.empty:
            images = _select(_image_points(single, names, table["quality"], chosen), index)
            pairs = zip(_left_out(own_images, chosen), _left_out(images, chosen), strict=True)
            without = np.array([_saved(*pair) for pair in pairs])
            low, high = jackknife_interval(saved, without, len(names))
        labels = {"curve": curve, "role": role, "kind": kind}
        of_points = own_points[["dataset", "codec", "quality", column, "bpp"]]
        frame = of_points.assign(**labels, saved=saved, saved_low=low, saved_high=high)
        if np.isfinite(saved).any():
            rows.append(frame[np.isfinite(saved)])
    row_labels = ("dataset", "codec", "curve", "role", "kind", "quality")
    columns = [*row_labels, column, "bpp", "saved", "saved_low", "saved_high"]
    return pd.concat(rows)[columns] if rows else pd.DataFrame(columns=columns)


def column_of(measure: str) -> str:
    """Return the column with the quality of a curve in one measure."""
    return measure.replace("-", "_")


def image_savings(
    image_points: pd.DataFrame, curve: str, measure: str
) -> dict[tuple[str, int], float]:
    """Return what a curve saves on each image at the quality of the codec's picture, per cent.

    Parameters
    ----------
    image_points : DataFrame
        From ``trace_bounds``, for one dataset and codec.
    curve : str
        A curve that belongs to the codec.
    measure : str
        The quality that is equal, ``psnr`` or ``ms-ssim``.

    Returns
    -------
    dict
        By image and quality of the codec, where the curve of the image is defined.
    """
    of_codec = image_points[image_points["role"] == CurveRole.CODEC]
    of_curve = image_points[image_points["curve"] == curve]
    column = column_of(measure)
    saved: dict[tuple[str, int], float] = {}
    for image, table in of_curve.sort_values(column).groupby("image"):
        rows = of_codec[of_codec["image"] == image]
        anchor, points = (Points(t["bpp"].to_numpy(), t[column].to_numpy()) for t in (rows, table))
        share = 100 * _saved(anchor, points) / anchor.bpp
        inside = _is_inside(anchor.quality, points) & np.isfinite(share)
        pairs = zip(rows["quality"][inside], share[inside], strict=True)
        saved |= {(image, quality): value for quality, value in pairs}
    return saved


def _mean_points(table: pd.DataFrame, column: str) -> Points:
    return Points(table["bpp"].to_numpy(), table[column].to_numpy())


def _image_points(
    rows: pd.DataFrame, names: NDArray[Any], qualities: pd.Series, measure: Measure
) -> Points:
    """Return bit/pixel and what a measure averages, of one curve over (image, quality)."""
    order = names, qualities.to_numpy()
    bpp, quality = (
        rows.pivot(index="image", columns="quality", values=key).loc[order].to_numpy()
        for key in ("bpp", column_of(measure.of_one_image))
    )
    return Points(bpp, 255**2 / 10 ** (quality / 10) if measure is PSNR_OF_MEAN_MSE else quality)


def _select(points: Points, index: NDArray[np.integer[Any]]) -> Points:
    """Return some points of a curve."""
    return Points(points.bpp[..., index], points.quality[..., index])


def _left_out(points: Points, measure: Measure) -> list[Points]:
    """Return mean points over all images but those of one group, for each group."""
    pairs = zip(left_out_means(points.bpp), left_out_means(points.quality), strict=True)
    return [Points(bpp, measure.of_average(average)) for bpp, average in pairs]


def _is_inside(quality: Values, curve: Points) -> NDArray[np.bool_]:
    """Return which qualities are in the range of a curve, or within :data:`MARGIN`."""
    if not len(curve.quality):
        return np.zeros(len(quality), bool)
    return (quality > curve.quality[0] - MARGIN) & (quality < curve.quality[-1] + MARGIN)


def _saved(anchor: Points, curve: Points) -> Values:
    """Return saved bit/pixel at each quality of the codec; NaN if the curve is not defined.

    Outside the curve's range of quality, the curve is extrapolated: without an image, the ends of
    two curves with a common end lie slightly apart.
    """
    rising = (np.diff(curve.quality) >= EQUAL_QUALITY).all() and (curve.bpp > 0).all()
    if len(curve.quality) < 2 or not rising:
        return np.full(len(anchor.bpp), np.nan)
    saved: Values = anchor.bpp - np.exp(
        PchipInterpolator(curve.quality, np.log(curve.bpp))(anchor.quality)
    )
    return saved

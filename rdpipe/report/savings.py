"""Bit/pixel that every curve saves against the codec at equal PSNR."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.interpolate import PchipInterpolator

from rdpipe.analysis.bootstrap import interval, resamples


def savings(points: pd.DataFrame, image_points: pd.DataFrame, bootstrap: dict) -> pd.DataFrame:
    """A row for each curve and each of the codec's own points that lies in the curve's range of PSNR.

    Parameters
    ----------
    points, image_points : DataFrame
        From ``trace_bounds``, of one data set and codec; of published curves only the first knows.
    bootstrap : dict
        ``resamples`` and ``seed``.

    Returns
    -------
    DataFrame
        ``psnr`` and ``bpp`` of the codec's point; ``saved``, what the curve saves there, and its 95 %
        interval over images, bit/pixel. Between its points a curve is a monotone cubic of log bpp.
    """
    names = image_points["image"].unique()
    draws = resamples(len(names), bootstrap["resamples"], bootstrap["seed"])
    own = _images(image_points, "codec", names)
    rows = []
    for (curve, kind), table in points.groupby(["curve", "kind"], sort=False):
        if curve == "codec":
            continue
        ours = points[points["curve"] == "codec"]
        saved = _saved(*_mean(ours), *_mean(table))
        low = high = np.full(len(ours), np.nan)
        if (image_points["curve"] == curve).any():
            other = _images(image_points, curve, names)
            drawn = [_saved(*_drawn(own, one), *_drawn(other, one), beyond=True) for one in draws]
            low, high = interval(np.array(drawn))
        for i, at in enumerate(ours.itertuples()):
            if np.isfinite(saved[i]):
                rows.append(
                    {"dataset": at.dataset, "codec": at.codec, "curve": curve, "kind": kind,
                     "quality": at.quality, "psnr": at.psnr, "bpp": at.bpp, "saved": saved[i],
                     "saved_low": low[i], "saved_high": high[i]}
                )  # fmt: skip
    columns = ["dataset", "codec", "curve", "kind", "quality", "psnr", "bpp", "saved", "saved_low",
               "saved_high"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _mean(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return table["bpp"].to_numpy(), table["psnr"].to_numpy()


def _images(image_points: pd.DataFrame, curve: str, names) -> tuple[np.ndarray, np.ndarray]:
    """bpp and PSNR over (image, quality)."""
    rows = image_points[image_points["curve"] == curve]
    return tuple(
        rows.pivot(index="image", columns="quality", values=key).loc[names].to_numpy()
        for key in ("bpp", "psnr")
    )


def _drawn(images: tuple[np.ndarray, np.ndarray], draw: np.ndarray) -> tuple:
    return tuple(values[draw].mean(0) for values in images)


def _saved(own_bpp, own_psnr, bpp, psnr, beyond: bool = False) -> np.ndarray:
    """Saved bit/pixel at each of the codec's PSNR; outside the curve's range NaN, or extrapolated.

    Resampled, the ends of two curves that meet at an end lie a little apart.
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
    return np.where(inside | beyond, saved, np.nan)

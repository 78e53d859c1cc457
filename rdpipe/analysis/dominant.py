"""Images that make most of a mean over images.

A mean over images says little about a dataset if one image makes most of it, such as an image of
one pixel, whose bit/pixel are those of all headers.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

SHARE = 0.5
"""Share of a mean above which an image dominates it."""
EVEN_SHARES = 1.5
"""Multiple of its even share above which an image can dominate; it matters for two images only."""
POINT = ["dataset", "codec", "curve", "role", "quality"]
"""Columns that identify a point of a curve."""
COLUMNS = ("image", "quantity", "share", "curve", "quality", "points")
"""Columns of :func:`dominant_images`."""


def dominant_images(image_points: pd.DataFrame) -> pd.DataFrame:
    """Return the images that make more than half of a mean.

    Parameters
    ----------
    image_points : DataFrame
        From :func:`rdpipe.analysis.tables.image_points_frame`.

    Returns
    -------
    DataFrame
        A row for each image and ``quantity`` ("bpp" or "psnr"): its largest ``share`` of a mean,
        the ``curve`` and the ``quality`` at which it has this share, and the number of ``points``
        of curves whose mean it dominates. Infinite values have the share 1.
    """
    rows = []
    for quantity in ("bpp", "psnr"):
        known = image_points[image_points[quantity].notna()].reset_index(drop=True)
        share = shares(known, quantity)
        images = known.groupby(POINT)[quantity].transform("size")
        dominant = known.assign(share=share)[share > np.maximum(SHARE, EVEN_SHARES / images)]
        for image, group in dominant.groupby("image", sort=False):
            largest = group.loc[group["share"].idxmax()]
            rows.append(
                {
                    "image": image,
                    "quantity": quantity,
                    "share": largest["share"],
                    "curve": largest["curve"],
                    "quality": largest["quality"],
                    "points": len(group),
                }
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def shares(image_points: pd.DataFrame, quantity: str) -> pd.Series[float]:
    """Return the share of each row in the sum of its point; 1 for infinite values."""
    values = image_points[quantity]
    infinite = np.isinf(values)
    total = values.groupby([image_points[name] for name in POINT]).transform("sum")
    finite = values.where(~infinite, 0.0)
    return (finite / total.where(total != 0, 1.0)).where(~infinite, 1.0)

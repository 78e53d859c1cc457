"""The range of PSNR that a curve has in common with the codec, in words.

Numbers are those of the points, as averages over images. The BD-rate itself is not changed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from rdpipe.analysis.bd_rate import common_share, undefined_reason
from rdpipe.core.kinds import CurveRole

SMALL = 0.5
"""Share of the codec's range of PSNR below which the common range is stated."""


def bd_rate_rows(bd_rates: pd.DataFrame, points: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of the BD-rates, each with ``undefined`` and ``common_range`` in words."""
    return [
        {
            **row,
            "undefined": undefined_text(points, row["curve"], row["role"]),
            "common_range": common_range_text(points, row["curve"], row["role"]),
        }
        for row in bd_rates.to_dict("records")
    ]


def undefined_text(points: pd.DataFrame, curve: str, role: str) -> str:
    """Return the text for a BD-rate that is NaN, with the reason if the points show it.

    Parameters
    ----------
    points : DataFrame
        Points of one codec on one dataset, with those of the curves that are shared by all codecs.
    curve, role : str
        Name and role of the curve.
    """
    codec_points, curve_points = finite_points(points, curve, role)
    reason = undefined_reason(
        *(
            table[name].to_numpy()
            for table in (codec_points, curve_points)
            for name in ("bpp", "psnr")
        )
    )
    return f"not defined: {reason}" if reason else "not defined"


def common_range_text(points: pd.DataFrame, curve: str, role: str) -> str:
    """Return the share of the codec's range of PSNR that a curve covers.

    Empty unless the BD-rate is defined and the share is below one half. Parameters are those of
    :func:`undefined_text`.
    """
    codec_points, curve_points = finite_points(points, curve, role)
    if len(curve_points) < 2 or codec_points["psnr"].nunique() < 2:
        return ""
    share = common_share(codec_points["psnr"].to_numpy(), curve_points["psnr"].to_numpy())
    if not 0 < share < SMALL:
        return ""
    percent = f"only {100 * share:.0f} %" if share >= 0.01 else "less than 1 %"
    return f"over {percent} of the codec's PSNR range"


def finite_points(points: pd.DataFrame, curve: str, role: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the points with a finite PSNR of the codec and of a curve."""
    finite = points[np.isfinite(points["psnr"])]
    is_curve = (finite["curve"] == curve) & (finite["role"] == CurveRole.parse(role))
    return finite[finite["role"] == CurveRole.CODEC], finite[is_curve]

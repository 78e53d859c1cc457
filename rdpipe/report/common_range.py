"""What limits a BD-rate, in words: the common range of PSNR, and the interpolation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

SMALL = 0.5
"""Share of the codec's range of PSNR below which a common range is small."""
LARGE_ERROR = 0.1
"""Interpolation error above which it is stated: percentage points, or share of the BD-rate."""
SMALLEST_ERROR = 0.005
"""Interpolation error up to which it is never stated, percentage points."""


def bd_rate_rows(bd_rates: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of the BD-rates, with what limits them in words.

    Each row also has ``undefined``, ``common_range``, ``interpolation`` and ``wins``.
    """
    return [
        {
            **row,
            "undefined": f"not defined: {row['reason']}" if row["reason"] else "",
            "common_range": common_range_text(row["overlap"]),
            "interpolation": interpolation_text(row["bd_rate"], row["interpolation_error"]),
            "wins": wins_text(row),
        }
        for row in bd_rates.to_dict("records")
    ]


def common_range_text(overlap: float) -> str:
    """Return the share of the codec's range of PSNR that a curve covers.

    Empty unless the share is small.

    Parameters
    ----------
    overlap : float
        Share; NaN if it is not known.
    """
    if not 0 < overlap < SMALL:
        return ""
    percent = f"only {100 * overlap:.0f} %" if overlap >= 0.01 else "less than 1 %"
    return f"over {percent} of the codec's PSNR range"


def interpolation_text(bd_rate: float, error: float) -> str:
    """Return the difference that another interpolation makes to a BD-rate.

    Empty unless it exceeds a tenth of the BD-rate, or 0.1 percentage points.

    Parameters
    ----------
    bd_rate, error : float
        Per cent, and percentage points; NaN if they are not defined.
    """
    if not error > max(SMALLEST_ERROR, LARGE_ERROR * min(1.0, abs(bd_rate))):
        return ""
    return f"another interpolation changes it by {error:.2f} points"


def wins_text(row: Mapping[str, Any]) -> str:
    """Return on how many images a curve needs fewer bits; empty if it is defined on none."""
    share, images = row["win_rate"], int(row["defined_images"])
    return "" if math.isnan(share) else f"{round(share * images)} of {images}"

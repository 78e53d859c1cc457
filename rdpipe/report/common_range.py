"""BD-rates in rows, and what limits them in words: common range and interpolation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from rdpipe.report.words import MEASURE_NAMES

RATES = ("bd_rate", "bd_rate_low", "bd_rate_high")
"""Columns of a BD-rate and its 95 % interval, per cent."""
SMALL = 0.5
"""Share of the codec's range of quality below which a common range is small."""
LARGE_ERROR = 0.1
"""Interpolation error above which it is stated: percentage points, or share of the BD-rate."""
SMALLEST_ERROR = 0.005
"""Interpolation error up to which it is never stated, percentage points."""


def of_measure(bd_rates: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return the BD-rates at equal quality in one measure."""
    return bd_rates[bd_rates["measure"] == measure]


def bd_rate_rows(bd_rates: pd.DataFrame, measure: str) -> list[dict[str, Any]]:
    """Return the rows of the BD-rates in one measure, with what limits them in words.

    Each row also has ``undefined``, ``common_range``, ``interpolation`` and ``wins``, and
    ``others``: the BD-rates of the same curve in each of :func:`other_measures`.
    """
    others = [
        of_measure(bd_rates, other).set_index(["curve", "role"])[list(RATES)].to_dict("index")
        for other in other_measures(measure)
    ]
    return [
        {
            **row,
            "undefined": f"not defined: {row['reason']}" if row["reason"] else "",
            "common_range": common_range_text(row["overlap"], measure),
            "interpolation": interpolation_text(row["bd_rate"], row["interpolation_error"]),
            "wins": wins_text(row),
            "others": [rates[row["curve"], row["role"]] for rates in others],
        }
        for row in of_measure(bd_rates, measure).to_dict("records")
    ]


def other_measures(measure: str) -> list[str]:
    """Return the names of the measures other than one of them."""
    return [name for name in MEASURE_NAMES if name != measure]


def common_range_text(overlap: float, measure: str) -> str:
    """Return the share of the codec's range of quality that a curve covers.

    Empty unless the share is small.

    Parameters
    ----------
    overlap : float
        Share; NaN if it is not known.
    measure : str
        The measure of the quality.
    """
    if not 0 < overlap < SMALL:
        return ""
    percent = f"only {100 * overlap:.0f} %" if overlap >= 0.01 else "less than 1 %"
    return f"over {percent} of the codec's {MEASURE_NAMES[measure]} range"


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

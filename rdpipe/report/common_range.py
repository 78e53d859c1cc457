"""The range of PSNR that a curve has in common with the codec, in words."""

from __future__ import annotations

from typing import Any

import pandas as pd

SMALL = 0.5
"""Share of the codec's range of PSNR below which a common range is small."""


def bd_rate_rows(bd_rates: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of the BD-rates, each with ``undefined`` and ``common_range`` in words."""
    return [
        {
            **row,
            "undefined": f"not defined: {row['reason']}" if row["reason"] else "",
            "common_range": common_range_text(row["overlap"]),
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

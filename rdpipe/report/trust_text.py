"""Why the numbers of a run can be trusted, and how far, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from rdpipe.report.words import range_text

COVERAGE = (
    "nominal 95 % intervals of lognormal values (sigma 0.5) cover the mean in 91 % of cases with 5"
    " images and in 93 % with 24"
)
"""What ``tests/analysis/test_intervals.py`` demands of the intervals."""


def verdict(checks: Sequence[dict[str, Any]]) -> str:
    """Return how many known answers pass, and which do not."""
    failed = [check["name"] for check in checks if not check["passed"]]
    passed = f"{len(checks) - len(failed)} of {len(checks)} known answers pass"
    return f"{passed}; not: {', '.join(failed)}." if failed else f"{passed}."


def bytes_sentence(codes: pd.DataFrame) -> str:
    """Return how far real bytes are from the prediction, over all cells that were written.

    A cell is one code, at however many qualities.
    """
    written = codes[codes["real_bpp"].notna()] if len(codes) else codes
    if written.empty:
        return "Real bytes were not compared with the prediction: none were written by rdpipe."
    both = written[written["predicted_bpp"] > 0]
    if both.empty:
        return (
            "Real bytes were written by rdpipe and decoded again by a separate process, but not"
            " compared with a prediction: no cell has one."
        )
    percent = 100 * (both["real_bpp"] / both["predicted_bpp"] - 1)
    cells = both["cell"].nunique()
    return (
        f"Real bytes differ from the prediction by {range_text(percent, '+.2f')} %, in {cells}"
        f" {'codes' if cells > 1 else 'code'}; each was decoded again by a separate process."
    )


def images_sentence(images: int) -> str:
    """Return the number of images, and what that means for intervals."""
    if images == 1:
        return "One image: there are no intervals."
    return f"{images} images: {COVERAGE}."

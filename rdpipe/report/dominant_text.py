"""Images that make most of a mean, in words."""

from __future__ import annotations

from typing import Any

import pandas as pd

from rdpipe.analysis.dominant import dominant_images
from rdpipe.report.style import SHOWN


def dominant_sentences(image_points: pd.DataFrame) -> list[str]:
    """Return a warning for each image that makes more than half of a mean of one codec's curves.

    Parameters
    ----------
    image_points : DataFrame
        Rows of the curves of one codec on one dataset.
    """
    rows = dominant_images(image_points).to_dict("records")
    texts = [_sentence(row) for row in rows[:SHOWN]]
    if len(rows) > SHOWN:
        texts.append(f"The same holds for {len(rows) - SHOWN} more means of images.")
    return texts


def _sentence(row: dict[str, Any]) -> str:
    """Return the warning for one image and quantity."""
    point = f"{row['curve']}, q{row['quality']}"
    if row["quantity"] == "psnr" and row["share"] == 1:
        return (
            f"{row['image']} has an infinite PSNR ({point}{_more(row['points'])}): the mean PSNR is"
            " infinite there, and BD-rates leave such points out."
        )
    name = {"bpp": "bit/pixel", "psnr": "PSNR"}[row["quantity"]]
    return (
        f"{row['image']} alone makes up to {100 * row['share']:.0f} % of the mean {name}"
        f" ({point}{_more(row['points'])}): means, BD-rates and intervals say little about the"
        " other images."
    )


def _more(points: int) -> str:
    """Return how many more points of curves a warning is about."""
    return f", and {points - 1} more" if points > 1 else ""

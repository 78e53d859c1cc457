"""Several codecs as one figure: the curve of each, and its best bound."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from rdpipe.core.kinds import BoundKind, CurveRole
from rdpipe.report.draw_answer import bound_rates, draw_shared, quality_axis, rungs_to_first_limit
from rdpipe.report.style import COLORS, STYLES

BOUND_LINE = STYLES[BoundKind.UPPER_BOUND]["linestyle"]
"""Line of a bound."""
MARKERS = "os^Dvp*X"
"""Marker of each codec; with the line, it tells the curves apart without color."""


def compare(ladder: pd.DataFrame, points: pd.DataFrame) -> Figure:
    """Draw the curve of each codec, and the best bound on the rate with its transforms.

    Parameters
    ----------
    ladder, points : DataFrame
        Of several codecs on one dataset, each up to its first limit; the points include those of
        baselines.
    """
    figure, axes = plt.subplots()
    has_bound = False
    for i, (codec, of_codec) in enumerate(ladder.groupby("codec", sort=False)):
        rungs = rungs_to_first_limit(of_codec)
        column, label = quality_axis(rungs)
        codec_points = points[(points["role"] == CurveRole.CODEC) & (points["codec"] == codec)]
        quality = codec_points.set_index("quality")[column].loc[list(rungs)]
        look: dict[str, Any] = {
            "color": COLORS[i % len(COLORS)],
            "marker": MARKERS[i % len(MARKERS)],
        }
        name = of_codec["codec_label"].iloc[0]
        axes.plot([table["bpp"].iloc[0] for table in rungs.values()], quality, label=name, **look)
        bounds = bound_rates(rungs)
        if any(map(math.isfinite, bounds)):
            look |= {"linestyle": BOUND_LINE, "markerfacecolor": "white"}
            axes.plot(bounds, quality, **look)
            has_bound = True
    if has_bound:
        axes.plot([], [], color="black", linestyle=BOUND_LINE, label="best bound of each codec")
    draw_shared(axes, points, column)
    axes.set(xlabel="rate, bit/pixel", ylabel=label)
    axes.legend(loc="lower right", frameon=False)
    return figure

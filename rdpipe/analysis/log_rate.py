"""The logarithm of the rate, averaged over a range of qualities.

Differences of such averages add up exactly, and exp(difference) - 1 is the change of the rate over
the curve, as in a BD-rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

from rdpipe.analysis.curves import Values
from rdpipe.analysis.intervals import left_out_means

SAME_QUALITY = 0.01
"""Difference of qualities up to which single points are compared, dB."""


def common_range(qualities: Sequence[Values]) -> tuple[float, float]:
    """Return the range of mean quality that several curves have in common, dB."""
    means = [quality.mean(0) for quality in qualities]
    return max(mean.min() for mean in means), min(mean.max() for mean in means)


def log_rate(bpp: Values, quality: Values, low: float, high: float) -> float:
    """Return the mean of ln(rate) over a range of qualities.

    The logarithm of the rate is interpolated over quality by monotone cubics (PCHIP).

    Parameters
    ----------
    bpp, quality : array of shape (quality,)
        Means over images; of one point only, the logarithm is known at its own quality.
    low, high : float
        Range, dB.

    Returns
    -------
    float
        NaN if a point is unknown, a rate is not positive, or the quality does not rise.
    """
    if not (np.isfinite(bpp).all() and np.isfinite(quality).all() and (bpp > 0).all()):
        return math.nan
    if len(bpp) == 1:
        same = max(abs(low - quality[0]), abs(high - quality[0])) <= SAME_QUALITY
        return float(np.log(bpp[0])) if same else math.nan
    order = np.argsort(quality)
    if not (np.diff(quality[order]) > 0).all() or not high > low:
        return math.nan
    curve = PchipInterpolator(quality[order], np.log(bpp[order]))
    return float(curve.integrate(low, high) / (high - low))


def log_rates(bpp: Values, quality: Values, low: float, high: float) -> tuple[Values, Values]:
    """Return :func:`log_rate` of the means over images, and of :func:`left_out_means`.

    Returns
    -------
    estimate : array of shape (1,)
    left_out : array of shape (group,)
    """
    groups = zip(left_out_means(bpp), left_out_means(quality), strict=True)
    left_out = np.array([log_rate(*point, low, high) for point in groups])
    return np.array([log_rate(bpp.mean(0), quality.mean(0), low, high)]), left_out

"""Bjontegaard delta rates, at equal PSNR.

Curves are used as people have them: with dominated points, PSNRs that are equal or nearly equal,
infinite PSNRs and small common ranges. What is left out is reported beside the number, and a number
that is not defined is NaN with its reason.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.interpolate import Akima1DInterpolator

from rdpipe.analysis.curves import ALL_IMAGES, Curve, Selection, Values

EQUAL_PSNR = 1e-3
"""Difference of PSNR below which two points count as equal, dB."""


class Points(NamedTuple):
    """Mean bit/pixel and mean PSNR of the points of a curve, each of shape (quality,)."""

    bpp: Values
    psnr: Values


@dataclass(frozen=True)
class BDRate:
    """BD-rate of a curve against an anchor.

    Parameters
    ----------
    value : float
        Per cent; negative if the curve needs fewer bits. NaN if it is not defined.
    reason : str
        Why the BD-rate is not defined; empty if it is defined.
    overlap : float
        Share of the anchor's range of PSNR that both curves have in common. NaN if it is not known,
        because one of the curves cannot be used.
    remark : str
        What was left out, and how the points were interpolated if not as usual; may be empty.
    """

    value: float
    reason: str
    overlap: float
    remark: str


@dataclass(frozen=True)
class CleanCurve:
    """A curve whose PSNR rises with the rate.

    Parameters
    ----------
    points : Points
        In order of the rate, without points that cannot be used.
    problem : str
        Why the curve has no BD-rate; empty if it has one.
    remark : str
        What was left out; may be empty.
    """

    points: Points
    problem: str
    remark: str


def bd_rate(anchor: Curve, curve: Curve, images: Selection = ALL_IMAGES) -> float:
    """Return the Bjontegaard delta rate of a curve against an anchor, per cent.

    Parameters
    ----------
    anchor, curve : Curve
        Curves on the same images.
    images : slice or array of int
        Images over which rate and PSNR are averaged.

    Returns
    -------
    float
        See :func:`compare`.
    """
    return compare(Points(*anchor.points(images)), Points(*curve.points(images))).value


def compare(anchor: Points, curve: Points) -> BDRate:
    """Return the BD-rate of a curve against an anchor, with what limits it.

    The logarithm of the rate is interpolated over PSNR (Akima) and integrated over the common range
    by the ``bjontegaard`` package. Points with an infinite or unknown PSNR, and points that another
    point dominates, are left out. If the Akima interpolation of the remaining points is not
    monotone over the common range, both curves are interpolated by monotone cubics (PCHIP).

    Parameters
    ----------
    anchor, curve : Points
        In any order.

    Returns
    -------
    BDRate
        NaN if a curve has fewer than two different PSNRs, a rate that is not positive, or a PSNR
        that does not rise with the rate, or if the curves have no common range of PSNR.

    References
    ----------
    G. Bjontegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001.

    Examples
    --------
    >>> anchor = Points(np.array([0.2, 0.4, 0.8]), np.array([27.0, 30.0, 33.0]))
    >>> dip = Points(np.array([0.1, 0.2, 0.3, 0.4]), np.array([27.0, 30.0, 29.9, 33.0]))
    >>> result = compare(anchor, dip)
    >>> round(result.value, 6), result.overlap, result.remark
    (-50.0, 1.0, 'the curve: 1 dominated point left out')
    >>> compare(anchor, Points(np.array([0.2]), np.array([27.0]))).reason
    'the curve has only one point'
    """
    cleaned = {"the anchor": clean(anchor), "the curve": clean(curve)}
    problems = [f"{name} {item.problem}" for name, item in cleaned.items() if item.problem]
    remarks = [f"{name}: {item.remark}" for name, item in cleaned.items() if item.remark]
    if problems:
        return BDRate(math.nan, "; ".join(problems), math.nan, "; ".join(remarks))
    first, second = (item.points for item in cleaned.values())
    low, high = _common_range(first, second)
    overlap = max(high - low, 0.0) / float(first.psnr[-1] - first.psnr[0])
    if high - low < EQUAL_PSNR:
        return BDRate(math.nan, _apart(first, second), 0.0, "; ".join(remarks))
    monotone = all(_is_monotone(points, low, high) for points in (first, second))
    method = "akima" if monotone else "pchip"
    if method == "pchip":
        remarks.append("monotone cubics, because Akima interpolation is not monotone here")
    return BDRate(_integrate(first, second, method), "", overlap, "; ".join(remarks))


def clean(points: Points) -> CleanCurve:
    """Return the points of a curve that can be used, in order of the rate.

    A point is dominated if another point needs no more bits and has no lower PSNR.
    """
    order = np.lexsort((-points.psnr, points.bpp))
    bpp, psnr = points.bpp[order], points.psnr[order]
    unknown, infinite = np.isnan(bpp) | np.isnan(psnr), np.isposinf(psnr)
    usable = Points(bpp[~unknown & ~infinite], psnr[~unknown & ~infinite])
    rising = Points(*(values[_is_highest(usable.psnr)] for values in usable))
    left_out = {
        "missing": int(unknown.sum()),
        "lossless": int((infinite & ~unknown).sum()),
        "dominated": len(usable.bpp) - len(rising.bpp),
    }
    counts = [_count(number, kind) for kind, number in left_out.items() if number]
    remark = f"{', '.join(counts)} left out" if counts else ""
    return CleanCurve(rising, _problem(usable, rising, left_out["lossless"]), remark)


def _is_highest(psnr: Values) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which points have a higher PSNR than all points of a lower rate."""
    highest, is_higher = -math.inf, []
    for value in psnr:
        is_higher.append(value >= highest + EQUAL_PSNR)
        if is_higher[-1]:
            highest = value
    return np.array(is_higher, bool)


def _problem(usable: Points, rising: Points, lossless: int) -> str:
    """Return why a curve has no BD-rate; empty if it has one."""
    if len(usable.bpp) < 2:
        number = "only one point" if len(usable.bpp) else "no point"
        return f"has {number}{' with a finite PSNR' if lossless else ''}"
    if usable.bpp[0] <= 0:
        return f"has a rate of {usable.bpp[0]:.4g} bit/pixel, which is not positive"
    if np.ptp(usable.psnr) < EQUAL_PSNR:
        return f"has the same PSNR at all its {len(usable.psnr)} points"
    if len(rising.bpp) < 2:
        return "has a PSNR that does not rise with the rate"
    return ""


def _count(number: int, kind: str) -> str:
    """Return a number of points in words."""
    return f"{number} {kind} {'point' if number == 1 else 'points'}"


def _common_range(first: Points, second: Points) -> tuple[float, float]:
    """Return the range of PSNR that two curves have in common; the lower end is above if none."""
    low = max(first.psnr[0], second.psnr[0])
    return float(low), float(min(first.psnr[-1], second.psnr[-1]))


def _apart(anchor: Points, curve: Points) -> str:
    """Return that two curves have no common range of PSNR, with both ranges."""
    ranges = [f"{points.psnr[0]:.2f} to {points.psnr[-1]:.2f} dB" for points in (anchor, curve)]
    return f"no common range of PSNR: the anchor has {ranges[0]}, the curve {ranges[1]}"


def _is_monotone(points: Points, low: float, high: float) -> bool:
    """Return whether the Akima interpolation of log rate over PSNR rises in a range of PSNR."""
    if len(points.psnr) < 3:
        return True  # a straight line
    slope = Akima1DInterpolator(points.psnr, np.log10(points.bpp)).derivative()
    positions = np.linspace(points.psnr[:-1], points.psnr[1:], 33)
    return bool(slope(np.clip(positions, low, high)).min() >= -1e-9)


def _integrate(anchor: Points, curve: Points, method: str) -> float:
    """Return the BD-rate over the common range of PSNR, per cent."""
    # imported here because it imports matplotlib; with a lazy module, PyTorch's look at all loaded
    # modules would import it
    import bjontegaard

    options = {"method": method, "require_matching_points": False, "min_overlap": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a small overlap, which is reported
        return float(bjontegaard.bd_rate(*anchor, *curve, **options))

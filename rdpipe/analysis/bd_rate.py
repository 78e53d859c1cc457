"""Bjontegaard delta rates, at equal quality of the pictures.

The quality is one of :data:`rdpipe.analysis.measures.CURVE_MEASURES`. Curves are used as people
have them: with dominated points, qualities that are equal or nearly equal, infinite qualities and
small common ranges. What is left out is reported beside the number, and a number
that is not defined is NaN with its reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import Akima1DInterpolator, PchipInterpolator

from rdpipe.analysis.curves import Curve, Values
from rdpipe.analysis.intervals import groups_of, jackknife_interval, left_out_means
from rdpipe.analysis.measures import PSNR, Measure

EQUAL_QUALITY = 1e-3
"""Difference of quality below which two points count as equal, dB."""
NAMES = 3
"""Largest number of images that a remark names."""
Interpolator = type[Akima1DInterpolator] | type[PchipInterpolator]


class Points(NamedTuple):
    """Points of a curve.

    Parameters
    ----------
    bpp : array of shape (quality,)
        Mean rate over images, bit/pixel.
    quality : array of shape (quality,)
        Quality of the pictures, dB.
    lossless : tuple of str
        Names of the images with an infinite quality at some point, if they are known.
    unmeasured : tuple of str
        Names of the images whose quality is not known, if that of other images is.
    """

    bpp: Values
    quality: Values
    lossless: tuple[str, ...] = ()
    unmeasured: tuple[str, ...] = ()


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
        Share of the anchor's range of quality that both curves have in common. NaN if it is not
        known, because one of the curves cannot be used.
    remark : str
        What was left out, and how the points were interpolated if not as usual; may be empty.
    interpolation_error : float
        Absolute difference between the BD-rates by Akima interpolation and by monotone cubics,
        percentage points. NaN if the BD-rate is not defined.
    """

    value: float
    reason: str
    overlap: float
    remark: str
    interpolation_error: float


class Interval(NamedTuple):
    """95 % interval of a BD-rate over images, per cent, and why there is none."""

    low: float
    high: float
    reason: str


@dataclass(frozen=True)
class CleanCurve:
    """A curve whose quality rises with the rate.

    Parameters
    ----------
    points : Points
        In order of the rate, without points that cannot be used.
    index : array of int
        Position of each of them among all points.
    problem : str
        Why the curve has no BD-rate; empty if it has one.
    remark : str
        What was left out; may be empty.
    """

    points: Points
    index: NDArray[np.integer[Any]]
    problem: str
    remark: str


def bd_rate(anchor: Curve, curve: Curve, measure: Measure = PSNR) -> float:
    """Return the Bjontegaard delta rate of a curve against an anchor, per cent.

    Parameters
    ----------
    anchor, curve : Curve
        Curves on the same images.
    measure : Measure
        The quality that is equal.

    Returns
    -------
    float
        See :func:`compare`.
    """
    return compare(mean_points(anchor, measure), mean_points(curve, measure), measure).value


def mean_points(curve: Curve, measure: Measure = PSNR) -> Points:
    """Return the points of a curve, averaged over all images."""
    of_images = measure.of_images(curve)
    lossless, unmeasured = np.isposinf(of_images).any(1), np.isnan(of_images).all(1)
    names = [
        tuple(map(str, curve.images[chosen & curve.has_images]))
        for chosen in (lossless, unmeasured & ~unmeasured.all())
    ]
    return Points(curve.bpp.mean(0), measure.of_mean(curve), *names)


def image_points(curve: Curve, measure: Measure = PSNR) -> list[Points]:
    """Return the points of each image of a curve."""
    return [Points(*row) for row in zip(curve.bpp, measure.of_images(curve), strict=True)]


def compare(anchor: Points, curve: Points, measure: Measure = PSNR) -> BDRate:
    """Return the BD-rate of a curve against an anchor.

    The logarithm of the rate is interpolated over quality (Akima) and integrated over the common
    range. Points with an infinite or unknown quality, and points that another point dominates, are
    left out. If the Akima interpolation of the remaining points is not monotone over the common
    range, both curves are interpolated by monotone cubics (PCHIP).

    Parameters
    ----------
    anchor, curve : Points
        In any order.
    measure : Measure
        The measure of their quality, which the reasons name.

    Returns
    -------
    BDRate
        NaN if the quality of a curve is not known, if a curve has fewer than two different
        qualities, a rate that is not positive, or a quality that does not rise with the rate, or if
        the curves have no common range of quality.

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
    cleaned = {"the anchor": clean(anchor, measure), "the curve": clean(curve, measure)}
    problems = [f"{name} {item.problem}" for name, item in cleaned.items() if item.problem]
    remarks = [f"{name}: {item.remark}" for name, item in cleaned.items() if item.remark]
    if problems:
        return BDRate(math.nan, "; ".join(problems), math.nan, "; ".join(remarks), math.nan)
    first, second = (item.points for item in cleaned.values())
    low, high = _common_range(first, second)
    overlap = max(high - low, 0.0) / float(first.quality[-1] - first.quality[0])
    if high - low < EQUAL_QUALITY:
        return BDRate(math.nan, _apart(first, second, measure), 0.0, "; ".join(remarks), math.nan)
    values = {
        method: _percent(_log_ratio(first, second, method))
        for method in (Akima1DInterpolator, PchipInterpolator)
    }
    method = _method(first, second)
    if method is PchipInterpolator:
        remarks.append("monotone cubics, because Akima interpolation is not monotone here")
    error = abs(values[Akima1DInterpolator] - values[PchipInterpolator])
    return BDRate(values[method], "", overlap, "; ".join(remarks), error)


def bd_rate_interval(anchor: Curve, curve: Curve, measure: Measure = PSNR) -> Interval:
    """Return the 95 % interval of a BD-rate over images.

    It is that of :func:`rdpipe.analysis.intervals.jackknife_interval` for the mean logarithm of the
    ratio of the rates. Every image is left out of the means of both curves; that is the mean MSE if
    the measure is the PSNR of the mean MSE. The points that are used, and their interpolation,
    remain those of :func:`compare`, because an influence is not defined across a change of the
    points.

    Parameters
    ----------
    anchor, curve : Curve
        Curves on the same images.
    measure : Measure
        The quality that is equal.

    Returns
    -------
    Interval
        NaN if the BD-rate is not defined, or if only averages of the curve are known; with a reason
        for one image, and if the BD-rate is not defined without some image.
    """
    cleaned = [clean(mean_points(item, measure), measure) for item in (anchor, curve)]
    first, second = (item.points for item in cleaned)
    problem = any(item.problem for item in cleaned)
    if problem or not curve.has_images or not _have_common_range(first, second):
        return Interval(math.nan, math.nan, "")
    images = len(curve.images)
    if images < 2:
        return Interval(math.nan, math.nan, "no interval: one image")
    method = _method(first, second)
    anchors = _left_out_points(anchor, cleaned[0].index, measure)
    others = _left_out_points(curve, cleaned[1].index, measure)
    pairs = zip(anchors, others, strict=True)
    ratios = np.array([_log_ratio(*pair, method) for pair in pairs])
    undefined = np.isnan(ratios)
    if undefined.any():
        names = curve.images[groups_of(images) == undefined.argmax()]
        reason = f"no interval: not defined without {_listed(names)}"
        return Interval(math.nan, math.nan, reason)
    low, high = jackknife_interval(_log_ratio(first, second, method), ratios, images)
    return Interval(_percent(float(low)), _percent(float(high)), "")


def clean(points: Points, measure: Measure = PSNR) -> CleanCurve:
    """Return the points of a curve that can be used, in order of the rate.

    A point is dominated if another point needs no more bits and has no lower quality.
    """
    order = np.lexsort((-points.quality, points.bpp))
    unknown = np.isnan(points.bpp) | np.isnan(points.quality)
    infinite = np.isposinf(points.quality)
    usable = order[~unknown[order] & ~infinite[order]]
    rising = usable[_is_highest(points.quality[usable])]
    left_out = {
        "missing": int(unknown.sum()),
        "lossless": int((infinite & ~unknown).sum()),
        "dominated": len(usable) - len(rising),
    }
    counts = [_count(number, kind) for kind, number in left_out.items() if number]
    remark = f"{', '.join(counts)} left out" if counts else ""
    if left_out["lossless"] and points.lossless:
        remark += f" (infinite {measure.label} of {_listed(points.lossless)})"
    if _is_unmeasured(points):
        names = f" for {_listed(points.unmeasured)}" if points.unmeasured else ""
        return CleanCurve(points, order[:0], f"has no known {measure.label}{names}", "")
    problem = _problem(_select(points, usable), len(rising), left_out["lossless"], measure)
    return CleanCurve(_select(points, rising), rising, problem, remark)


def _is_unmeasured(points: Points) -> bool:
    """Return whether the rates of a curve are known, but not its quality."""
    return bool(np.isnan(points.quality).all() and np.isfinite(points.bpp).any())


def _select(points: Points, index: NDArray[np.integer[Any]]) -> Points:
    return Points(points.bpp[index], points.quality[index])


def _is_highest(quality: Values) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which points have a higher quality than all points of a lower rate."""
    highest, is_higher = -math.inf, []
    for value in quality:
        is_higher.append(value >= highest + EQUAL_QUALITY)
        if is_higher[-1]:
            highest = value
    return np.array(is_higher, bool)


def _problem(usable: Points, rising: int, lossless: int, measure: Measure) -> str:
    """Return why a curve has no BD-rate; empty if it has one.

    ``rising`` is the number of points that are not dominated, ``lossless`` that of points with an
    infinite quality.
    """
    if len(usable.bpp) < 2:
        number = "only one point" if len(usable.bpp) else "no point"
        return f"has {number}{f' with a finite {measure.label}' if lossless else ''}"
    if usable.bpp[0] <= 0:
        return f"has a rate of {usable.bpp[0]:.4g} bit/pixel, which is not positive"
    if np.ptp(usable.quality) < EQUAL_QUALITY:
        return f"has the same {measure.label} at all its {len(usable.quality)} points"
    if rising < 2:
        return f"has no higher {measure.label} at a higher rate"
    return ""


def _count(number: int, kind: str) -> str:
    """Return a number of points in words."""
    return f"{number} {kind} {'point' if number == 1 else 'points'}"


def _listed(names: tuple[str, ...] | NDArray[Any]) -> str:
    """Return the names of images, of which only the first are listed if there are many."""
    listed = ", ".join(map(str, names[:NAMES]))
    return listed + f" and {len(names) - NAMES} more" * (len(names) > NAMES)


def _common_range(first: Points, second: Points) -> tuple[float, float]:
    """Return the common range of quality of two curves; the lower end is above if none."""
    low = max(first.quality[0], second.quality[0])
    return float(low), float(min(first.quality[-1], second.quality[-1]))


def _have_common_range(first: Points, second: Points) -> bool:
    low, high = _common_range(first, second)
    return high - low >= EQUAL_QUALITY


def _apart(anchor: Points, curve: Points, measure: Measure) -> str:
    """Return the reason that two curves have no common range of quality, with both ranges."""
    ends = [(points.quality[0], points.quality[-1]) for points in (anchor, curve)]
    ranges = [f"{low:.2f} to {high:.2f} dB" for low, high in ends]
    return f"no common range of {measure.label}: the anchor has {ranges[0]}, the curve {ranges[1]}"


def _interpolate(points: Points, method: Interpolator) -> Akima1DInterpolator | PchipInterpolator:
    """Return the logarithm of the rate over quality; a straight line between two points."""
    if len(points.quality) < 3:
        method = PchipInterpolator
    return method(points.quality, np.log(points.bpp))


def _method(first: Points, second: Points) -> Interpolator:
    """Return Akima interpolation if it is monotone over the common range, otherwise PCHIP."""
    low, high = _common_range(first, second)
    for points in (first, second):
        slope = _interpolate(points, Akima1DInterpolator).derivative()
        positions = np.linspace(points.quality[:-1], points.quality[1:], 33)
        if slope(np.clip(positions, low, high)).min() < -1e-9:
            return PchipInterpolator
    return Akima1DInterpolator


def _log_ratio(anchor: Points, curve: Points, method: Interpolator) -> float:
    """Return the mean logarithm of the ratio of the rates over the common range of quality.

    NaN if it is not defined.
    """
    for points in (anchor, curve):
        usable = (points.bpp > 0).all() and np.isfinite(points.quality).all()
        if not usable or not (np.diff(points.quality) >= EQUAL_QUALITY).all():
            return math.nan
    if not _have_common_range(anchor, curve):
        return math.nan
    low, high = _common_range(anchor, curve)
    first, second = (
        float(_interpolate(points, method).integrate(low, high)) for points in (anchor, curve)
    )
    return (second - first) / (high - low)


def _percent(log_ratio: float) -> float:
    """Return a logarithm of a ratio as a relative change, per cent."""
    with np.errstate(over="ignore"):  # of Akima interpolation that is not monotone
        return 100 * float(np.expm1(log_ratio))


def _left_out_points(
    curve: Curve, index: NDArray[np.integer[Any]], measure: Measure
) -> list[Points]:
    """Return some points of a curve, averaged over all images but those of one group."""
    bpp = left_out_means(curve.bpp[:, index])
    quality = measure.of_average(left_out_means(measure.image_values(curve)[:, index]))
    return [Points(*pair) for pair in zip(bpp, quality, strict=True)]

"""Solve for the level at which a quantizer has a given distortion, or a picture its quality."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
from scipy.optimize import brentq

LEAST_DISTORTION = 1e-9
"""Smallest target, squared steps per element, for images that rounding codes without error."""
LARGEST_LOG_LEVEL = 700.0
"""Natural logarithm of the largest level that is tried."""
TINY = 1e-80
"""Replaces a distortion of 0, which has no logarithm; relative to the target."""
QUALITY_TOLERANCE = 0.002
"""Difference of qualities at which a level is solved for, dB."""
QUALITY_LIMIT = 0.05
"""Difference of qualities up to which the best level is used if none is closer, dB."""
MOST_SYNTHESES = 12
"""Largest number of levels at which the picture of a cell is decoded."""
LARGEST_CHANGE = 3.0
"""Largest change of a level from one guess to the next, octaves."""


class HasQuality(Protocol):
    """What is measured at a level."""

    @property
    def quality(self) -> float:
        """Quality of the picture, dB."""


_Q = TypeVar("_Q", bound=HasQuality)


def solve_level(
    distortion: Callable[[float], float], target: float, start: float, tolerance: float = 1e-12
) -> float:
    """Return a level at which a quantizer's distortion reaches a target.

    Parameters
    ----------
    distortion : callable
        Total distortion at a level; continuous, and 0 at level 0.
    target : float
        The distortion to reach.
    start : float
        First guess of the level, positive.
    tolerance : float
        Relative tolerance of the level.

    Returns
    -------
    float
        Infinite if the distortion is smaller than the target even if nothing is sent.

    Raises
    ------
    FloatingPointError
        If a distortion is not finite.
    """

    def excess(log_level: float) -> float:
        value = distortion(math.exp(log_level))
        if not math.isfinite(value):
            raise FloatingPointError(f"distortion {value} at level {math.exp(log_level)}")
        return math.log(max(value / target, TINY) / (1 - 1e-13))

    root = secant(excess, math.log(start), tolerance)
    if root is not None:
        return math.exp(root)
    low = high = math.log(start)
    reach = 0.5
    while excess(high) < 0:
        if high == LARGEST_LOG_LEVEL:
            return math.inf
        low, high, reach = high, min(high + reach, LARGEST_LOG_LEVEL), 2 * reach
    while excess(low) > 0:
        low, high, reach = low - reach, low, 2 * reach
    return math.exp(low if low == high else brentq(excess, low, high, xtol=tolerance, rtol=1e-12))


def secant(
    excess: Callable[[float], float], x: float, tolerance: float, steps: int = 8
) -> float | None:
    """Return a root by the secant method, from a slope of 1; None if it does not converge.

    It takes five or six evaluations for a distortion that is nearly a power of the level.
    """
    value = step = excess(x)
    for _ in range(steps):
        if abs(step) <= tolerance:
            return x - step
        if not abs(x - step) < LARGEST_LOG_LEVEL:
            return None
        previous, x = value, x - step
        value = excess(x)
        if value == previous:
            return x if value == 0 else None
        step *= value / (previous - value)
    return None


def match_quality(
    evaluate: Callable[[float], _Q], target: float, start: float, slope: float
) -> tuple[_Q, float, str]:
    """Return what is measured at the level at which a picture has a given quality.

    Each evaluation decodes a picture, so few are made: a guess from the slope, then secants on the
    logarithm of the level, which stay between levels of higher and of lower quality.

    Parameters
    ----------
    evaluate : callable
        What is measured at a level; its quality falls with the level.
    target : float
        Quality, dB.
    start : float
        First guess of the level.
    slope : float
        Guess by how much the quality falls if the level doubles, dB.

    Returns
    -------
    result : object
        What ``evaluate`` returned.
    level : float
        The level, a number of float32.
    reason : str
        Why the quality is not reached; empty if it is.
    """
    results: dict[float, _Q] = {}
    level = best = float(np.float32(start))

    def excess(level: float) -> float:
        quality = results[level].quality
        return 0.0 if quality == target else quality - target  # both may be infinite

    for _ in range(MOST_SYNTHESES):
        if level in results:
            break
        results[level] = evaluate(level)
        best = min(results, key=lambda level: abs(excess(level)))
        if abs(excess(best)) <= QUALITY_TOLERANCE or not math.isfinite(results[level].quality):
            break
        points = sorted((math.log2(level), excess(level)) for level in results)
        level = float(np.float32(2 ** _next_level(points, slope)))
    reached = abs(excess(best)) <= QUALITY_LIMIT
    qualities = [result.quality for result in results.values()]
    reason = (
        ""
        if reached
        else f"levels from {min(results):.3g} to {max(results):.3g} give"
        f" {min(qualities):.2f} to {max(qualities):.2f} dB, not {target:.2f} dB"
    )
    return results[best], best, reason


def _next_level(points: list[tuple[float, float]], slope: float) -> float:
    """Return the next guess of a level, from the levels tried so far with their excesses."""
    above = [point for point in points if point[1] > 0]
    below = [point for point in points if point[1] <= 0]
    if above and below:
        (low, high_excess), (high, low_excess) = above[-1], below[0]
        if len(points) >= 4 and high > low:  # regula falsi may be slow at one end
            nearest = sorted(points, key=lambda point: abs(point[1]))[:2]
            guess = _secant(*nearest)
            if low < guess < high:
                return guess
            return (low + high) / 2
        return _secant((low, high_excess), (high, low_excess))
    # from the outermost level, because the best one may lie before a part where the quality rises
    (x, excess), *inner = reversed(points) if above else points
    if inner:
        other = inner[0]
        measured = (other[1] - excess) / (x - other[0])
        slope = max(measured, slope / 10)
    return x + max(-LARGEST_CHANGE, min(LARGEST_CHANGE, 1.02 * excess / slope))


def _secant(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Return where the line through two points is 0."""
    (a, excess), (b, other) = first, second
    if excess == other:
        return (a + b) / 2
    return a + excess * (b - a) / (excess - other)

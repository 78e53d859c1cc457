"""The level at which a quantizer distorts as much as wanted."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.optimize import brentq

LEAST_LEVEL = 1e-9
"""Least mean distortion that a level is solved for, squared steps: 13 bits below rounding's noise."""
LARGEST = 700.0
"""Logarithm of the largest level that is tried."""
TINY = 1e-80
"""In the place of no distortion at all, which has no logarithm; relative to the target."""


def solve_level(distortion, target: float, start: float, tolerance: float = 1e-12) -> float:
    """A level at which a quantizer's distortion reaches a target.

    Parameters
    ----------
    distortion : callable
        Total distortion at a level; 0 at level 0 and continuous.
    target : float
        The distortion wanted.
    start : float
        A guess at the level, positive.
    tolerance : float
        Relative, of the level.

    Returns
    -------
    float
        Infinite if even sending nothing distorts less.

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

    found = secant(excess, math.log(start), tolerance)
    if found is not None:
        return math.exp(found)
    low = high = math.log(start)
    reach = 0.5
    while excess(high) < 0:
        if high == LARGEST:
            return math.inf
        low, high, reach = high, min(high + reach, LARGEST), 2 * reach
    while excess(low) > 0:
        low, high, reach = low - reach, low, 2 * reach
    return math.exp(low if low == high else brentq(excess, low, high, xtol=tolerance, rtol=1e-12))


def secant(excess: Callable, x: float, tolerance: float, steps: int = 8) -> float | None:
    """A root by the secant method, from a slope of 1; None where a few steps do not come to one.

    Five or six evaluations for a distortion that goes as a power of the level does nearly.
    """
    value = step = excess(x)
    for _ in range(steps):
        if abs(step) <= tolerance:
            return x - step
        if not abs(x - step) < LARGEST:
            return None
        last, x = value, x - step
        value = excess(x)
        if value == last:
            return x if value == 0 else None
        step *= value / (last - value)
    return None

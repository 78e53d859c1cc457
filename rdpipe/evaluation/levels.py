"""Solve for the level at which a quantizer has a given distortion."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.optimize import brentq

LEAST_DISTORTION = 1e-9
"""Smallest target, squared steps per element, for images that rounding codes without error."""
LARGEST_LOG_LEVEL = 700.0
"""Natural logarithm of the largest level that is tried."""
TINY = 1e-80
"""Replaces a distortion of 0, which has no logarithm; relative to the target."""


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

"""What the closed forms accept."""

import numpy as np


def real(name, value):
    """Return ``value`` as float64, or name the first NaN in it."""
    array = np.asarray(value, dtype=np.float64)
    return _require(name, array, ~np.isnan(array), "real numbers")


def nonnegative(name, value, finite=True):
    """Return ``value`` as float64, or name the first entry outside [0, inf)."""
    array = np.asarray(value, dtype=np.float64)
    if finite:
        return _require(name, array, (array >= 0) & (array < np.inf), "finite numbers >= 0")
    return _require(name, array, array >= 0, "numbers >= 0")


def positive(name, value):
    """Return ``value`` as float64, or name the first entry outside (0, inf)."""
    array = np.asarray(value, dtype=np.float64)
    return _require(name, array, (array > 0) & (array < np.inf), "finite numbers > 0")


def _require(name, array, good, allowed):
    if not good.all():
        raise ValueError(f"{name} contains {array[~good].flat[0]}; allowed: {allowed}")
    return array

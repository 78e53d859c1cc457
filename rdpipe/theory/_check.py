"""Arguments and results of the closed forms."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Result = np.float64 | Array
"""A scalar if all arguments are scalars, otherwise an array."""


def real(name: str, value: ArrayLike) -> Array:
    """Return a value as float64; refuse it and name the first NaN if it contains any."""
    array = np.asarray(value, dtype=np.float64)
    return _require(name, array, ~np.isnan(array), "real numbers")


def nonnegative(name: str, value: ArrayLike, finite: bool = True) -> Array:
    """Return a value as float64; refuse it and name the first entry outside [0, inf)."""
    array = np.asarray(value, dtype=np.float64)
    if finite:
        return _require(name, array, (array >= 0) & (array < np.inf), "finite numbers >= 0")
    return _require(name, array, array >= 0, "numbers >= 0")


def positive(name: str, value: ArrayLike) -> Array:
    """Return a value as float64; refuse it and name the first entry outside (0, inf)."""
    array = np.asarray(value, dtype=np.float64)
    return _require(name, array, (array > 0) & (array < np.inf), "finite numbers > 0")


def as_result(array: Array) -> Result:
    """Return an array, or its scalar if it has no dimensions."""
    result: Result = array[()]
    return result


def _require(name: str, array: Array, valid: NDArray[np.bool_], expected: str) -> Array:
    if not valid.all():
        raise ValueError(f"{name} contains {array[~valid].flat[0]}; expected {expected}")
    return array

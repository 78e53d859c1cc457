"""Cost of a wrong variance and savings of a better mean, per Gaussian element."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rdpipe.theory._check import Result, as_result, nonnegative


def variance_mismatch(ratio: ArrayLike) -> Result:
    """Return the bits lost by coding residuals under N(0, v) if their second moment is not v.

    The loss is (ratio - 1) / (2 ln 2) - 1/2 log2(ratio), the divergence of N(0, E r^2) from N(0,
    v). If r is not Gaussian, it is still the loss against the best v, which is E r^2.

    Parameters
    ----------
    ratio : array_like
        E r^2 / v, >= 0: the true second moment over the assumed variance.

    Returns
    -------
    ndarray
        Bits per element, 0 at ratio 1, infinite at ratio 0.

    Raises
    ------
    ValueError
        If ``ratio`` is negative, infinite or NaN.

    Examples
    --------
    >>> variance_mismatch([0.25, 1.0, 4.0]).round(4)
    array([0.459, 0.   , 1.164])
    """
    ratio = nonnegative("ratio", ratio)
    excess = ratio - 1
    with np.errstate(divide="ignore"):
        log = np.where(ratio < 0.5, np.log(ratio), np.log1p(np.maximum(excess, -0.5)))
    loss: Result = 0.5 * as_result(excess - log) / np.log(2)
    return loss


def mean_gain(second_moment: ArrayLike, residual_second_moment: ArrayLike) -> Result:
    """Return the bits saved at high rate by a mean, 1/2 log2(E y^2 / E r^2).

    Parameters
    ----------
    second_moment : array_like
        E y^2 before the mean is subtracted, >= 0.
    residual_second_moment : array_like
        E r^2 of r = y - mean, >= 0.

    Returns
    -------
    ndarray
        Bits per element. They are negative for a mean that is worse than none, infinite for a
        perfect mean, and 0 if both moments are 0.

    Raises
    ------
    ValueError
        If an argument is negative, infinite or NaN.

    Examples
    --------
    >>> float(mean_gain(1.0, 0.25))
    1.0
    """
    before = nonnegative("second_moment", second_moment)
    after = nonnegative("residual_second_moment", residual_second_moment)
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = 0.5 * (np.log2(before) - np.log2(after))
    return as_result(np.where(before == after, 0.0, bits))

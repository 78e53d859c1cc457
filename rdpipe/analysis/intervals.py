"""95 % intervals over images: t intervals of means, and of functions of means by the jackknife.

The images are a sample. Percentile bootstrap intervals of few images are too short: for lognormal
values (sigma 0.5) they cover the mean in 80 % of all samples of 5 images, where t intervals cover
it in 91 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from rdpipe.analysis.curves import Values

GROUPS = 200
"""Largest number of groups of images that are left out, one group at a time."""
TAIL = 0.975
"""Probability below the upper end of an interval."""


def mean_interval(values: Values) -> tuple[Values, Values]:
    """Return the t interval of the mean over the first axis, the images.

    Returns
    -------
    low, high : array
        NaN if there is only one image.

    Examples
    --------
    >>> low, high = mean_interval(np.array([1.0, 2.0, 3.0]))
    >>> print(f"{low:.3f} {high:.3f}")
    -0.484 4.484
    """
    count = len(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = values.mean(0)
        variance = np.square(values - mean).sum(0) / np.float64(count - 1)
        half = stdtrit(count - 1, TAIL) * np.sqrt(variance / count)
    return mean - half, mean + half


def interval_columns(name: str, values: Values) -> dict[str, float]:
    """Return the mean over images and its t interval as columns."""
    low, high = mean_interval(values)
    return {name: float(values.mean()), f"{name}_low": float(low), f"{name}_high": float(high)}


def groups_of(images: int) -> NDArray[np.integer[Any]]:
    """Return the group of each image; up to :data:`GROUPS` images, each is its own group."""
    return np.arange(images) % min(images, GROUPS)


def left_out_means(values: Values) -> Values:
    """Return the means over all images but those of one group, of shape (group, ...).

    Parameters
    ----------
    values : array of shape (image, ...)
    """
    groups = groups_of(len(values))
    sizes = np.bincount(groups).reshape(-1, *(1,) * (values.ndim - 1))
    sums = np.zeros((len(sizes), *values.shape[1:]))
    np.add.at(sums, groups, values)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Values = (values.sum(0) - sums) / (len(values) - sizes)
    return result


def jackknife_interval(
    estimate: Values | float, left_out: Values, images: int
) -> tuple[Values, Values]:
    """Return the interval of a function of means over images.

    The influence of a group of images is what the function changes by without them. The function
    should be on a scale on which it may be linearized: the logarithm of a ratio, for instance.

    Parameters
    ----------
    estimate : float or array
        The function of the means over all images.
    left_out : array of shape (group, ...)
        The function of each of :func:`left_out_means`.
    images : int
        Number of images.

    Returns
    -------
    low, high : array
        NaN if there is only one image, or if a value of the function is NaN.

    References
    ----------
    J. W. Tukey, "Bias and confidence in not quite large samples", Annals of Mathematical Statistics
    29, 1958. Groups of different sizes: F. M. T. A. Busing, E. Meijer, R. van der Leeden,
    "Delete-m jackknife for unequal m", Statistics and Computing 9, 1999.

    Examples
    --------
    The interval of a mean is its t interval:

    >>> values = np.array([1.0, 2.0, 3.0])
    >>> low, high = jackknife_interval(2.0, left_out_means(values), 3)
    >>> print(f"{low:.3f} {high:.3f}")
    -0.484 4.484
    """
    weights = images / np.bincount(groups_of(images)) - 1
    with np.errstate(invalid="ignore"):
        squares = np.square(left_out - estimate)
        variance = np.tensordot(weights, squares, 1) / len(weights)
        half = stdtrit(len(weights) - 1, TAIL) * np.sqrt(variance)
    return estimate - half, estimate + half

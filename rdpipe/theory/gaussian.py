"""Rate-distortion bounds for squared error."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rdpipe.theory._check import Result, as_result, nonnegative, real


def gaussian_rate(variance: ArrayLike, distortion: ArrayLike) -> Result:
    """Return R(D) of a Gaussian, max(0, 1/2 log2(variance / distortion)).

    It is an upper bound on R(D) of every source with this variance.

    Parameters
    ----------
    variance, distortion : array_like
        Both >= 0 and in the same unit.

    Returns
    -------
    ndarray
        Bits per element. It is infinite at distortion 0, except for a variance of 0, whose rate is
        0.

    Raises
    ------
    ValueError
        If an argument is negative, infinite or NaN.

    References
    ----------
    T. Cover, J. Thomas, "Elements of Information Theory", 2006, theorem 10.3.2.

    Examples
    --------
    >>> gaussian_rate([1.0, 4.0, 0.1], 0.25)
    array([1., 2., 0.])
    """
    variance = nonnegative("variance", variance)
    distortion = nonnegative("distortion", distortion)
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = 0.5 * (np.log2(variance) - np.log2(distortion))
    return as_result(np.where(variance > distortion, bits, 0.0))


def shannon_lower_bound(differential_entropy: ArrayLike, distortion: ArrayLike) -> Result:
    """Return the Shannon lower bound on R(D), max(0, h - 1/2 log2(2 pi e D)).

    Parameters
    ----------
    differential_entropy : array_like
        h of the source, bits per element. It may be -inf.
    distortion : array_like
        Mean squared error per element, >= 0.

    Returns
    -------
    ndarray
        Bits per element; infinite at distortion 0.

    Raises
    ------
    ValueError
        If ``differential_entropy`` is NaN, or ``distortion`` negative, infinite or NaN.

    References
    ----------
    T. Berger, "Rate Distortion Theory", 1971, chapter 4.

    Examples
    --------
    >>> h = 0.5 * np.log2(2 * np.pi * np.e)
    >>> round(float(shannon_lower_bound(h, 0.25)), 12)
    1.0
    """
    entropy = real("differential_entropy", differential_entropy)
    distortion = nonnegative("distortion", distortion)
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = 0.5 * np.log2(2 * np.pi * np.e * distortion)
        return as_result(np.where(entropy > noise, entropy - noise, 0.0))

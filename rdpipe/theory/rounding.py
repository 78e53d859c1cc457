"""A Gaussian under mid-tread rounding: entropy of the index, and mean squared error.

With sigma and x in units of the step, cell k is [k - 1/2, k + 1/2] and sums run over all k. A sum
of a smooth function over the integers equals its integral up to exp(-2 pi^2 sigma^2) (Poisson
summation). Sums are therefore computed term by term below ``_SMOOTH`` and as integrals above it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr, ndtr, xlog1py

from rdpipe.theory._check import Array, Result, as_result, nonnegative, positive

_SMOOTH = 2.0  # sigma / step; exp(-2 pi^2 2^2) = 5e-35
_CELLS = np.arange(1, 21)  # k >= 1, up to 9.75 sigma at _SMOOTH
_SPACING = 0.5  # of the trapezoid rule, sigma: an error of 5e-35 too
_GRID = _SPACING * np.arange(20)
_gauss_legendre: Callable[[int], tuple[Array, Array]] = np.polynomial.legendre.leggauss
_NODES, _WEIGHTS = _gauss_legendre(6)
_NODES, _WEIGHTS = _NODES[3:] / 2, _WEIGHTS[3:]  # the half cell [0, 1/2]; weights of both signs
_SQRT_2PI = np.sqrt(2 * np.pi)


def rounding_rate(sigma: ArrayLike, step: ArrayLike = 1.0) -> Result:
    """Return the entropy of the index of a rounded zero-mean Gaussian.

    Parameters
    ----------
    sigma : array_like
        Standard deviation, >= 0. At 0 the entropy is 0.
    step : array_like
        Quantizer step, > 0, in the unit of ``sigma``.

    Returns
    -------
    ndarray
        Entropy of round(x / step) in bits, accurate to 1e-14. Tiny rates have a relative accuracy
        of 1e-13 until they underflow, near sigma = step / 76.

    Raises
    ------
    ValueError
        If ``sigma`` is negative or NaN, or ``step`` is not positive and finite.

    References
    ----------
    H. Gish, J. Pierce, "Asymptotically Efficient Quantizing", IEEE Trans. IT, 1968 (the limit
    1/2 log2(2 pi e sigma^2 / step^2)).

    Examples
    --------
    >>> rounding_rate([0.3, 0.5, 1, 2, 4]).round(4)
    array([0.5504, 1.2412, 2.1048, 3.062 , 4.0508])
    """
    s = _in_steps(sigma, step)
    narrow, wide = np.minimum(s, _SMOOTH), np.maximum(s, _SMOOTH)
    with np.errstate(divide="ignore", over="ignore"):
        return as_result(np.where(s < _SMOOTH, _rate_sum(narrow), _rate_integral(wide)))


def rounding_distortion(
    sigma: ArrayLike, step: ArrayLike = 1.0, reconstruction: str = "midpoint"
) -> Result:
    """Return the mean squared error of a rounded zero-mean Gaussian.

    Parameters
    ----------
    sigma : array_like
        Standard deviation, >= 0. At 0 the error is 0.
    step : array_like
        Quantizer step, > 0, in the unit of ``sigma``.
    reconstruction : {"midpoint", "centroid"}
        Whether a cell is decoded to its midpoint or to its mean.

    Returns
    -------
    ndarray
        E (x - x_hat)^2 in squared units of ``sigma``, accurate to 1e-14 step^2. Tiny errors have a
        relative accuracy of 1e-12.

    Raises
    ------
    ValueError
        If ``sigma`` is negative or NaN, ``step`` is not positive and finite, or ``reconstruction``
        is unknown.

    References
    ----------
    B. Widrow, I. Kollar, "Quantization Noise", Cambridge, 2008 (midpoint, by characteristic
    functions).

    Examples
    --------
    >>> rounding_distortion([0.3, 0.5, 1]).round(5)
    array([0.06621, 0.0826 , 0.08333])
    >>> rounding_distortion([0.3, 0.5, 1], reconstruction="centroid").round(5)
    array([0.05273, 0.06338, 0.07692])
    """
    if reconstruction not in ("midpoint", "centroid"):
        raise ValueError(f"reconstruction is {reconstruction!r}; expected 'midpoint' or 'centroid'")
    s = _in_steps(sigma, step)
    narrow, wide = np.minimum(s, _SMOOTH), np.maximum(s, _SMOOTH)
    with np.errstate(divide="ignore", over="ignore"):
        error = _midpoint(s)
        if reconstruction == "centroid":
            error = np.where(s < _SMOOTH, _centroid_sum(narrow), error - _centroid_shift(wide))
    return as_result(error * np.square(step, dtype=np.float64))


def _in_steps(sigma: ArrayLike, step: ArrayLike) -> Array:
    """Return sigma in units of the step."""
    ratio: Array = nonnegative("sigma", sigma, finite=False) / positive("step", step)
    return ratio


def _edges(s: Array, k: int) -> tuple[Array, Array]:
    """Return both ends of cell k >= 1 in standard deviations; infinite at s = 0."""
    return (k - 0.5) / s, (k + 0.5) / s


def _density(t: Array | float) -> Array:
    """Return the standard normal density."""
    density: Array = np.exp(-0.5 * t * t) / _SQRT_2PI
    return density


def _rate_sum(s: Array) -> Array:
    """Return -sum p log2 p, accurate for a tiny mass outside cell 0."""
    outside = 2 * ndtr(-_edges(s, 1)[0])
    nats = -xlog1py(1 - outside, -outside)
    for k in _CELLS:
        low, high = _edges(s, k)
        nats = nats + 2 * entr(ndtr(-low) - ndtr(-high))
    bits: Array = nats / np.log(2)
    return bits


def _rate_integral(s: Array) -> Array:
    """Return -int p log2 p dx, x = s t: the entropy of the Gaussian plus uniform noise."""
    nats: Array | float = 0.0
    for t in _GRID:
        mass, _ = _cell_moments(s, t)
        nats = nats + _trapezoid_weight(t) * entr(mass)
    bits: Array = nats / np.log(2) + np.log2(s)
    return bits


def _midpoint(s: Array) -> Array:
    """Return the Fourier series of (x - round(x))^2, or the equal sum below s = 1/2.

    1/12 + sum_m (-1)^m exp(-2 pi^2 m^2 s^2) / (pi m)^2 = s^2 + 4 s sum_{k>=1} [b Q(b) - phi(b)],
    m >= 1, b = (k - 1/2) / s, Q the upper tail.
    """
    series = 1 / 12 + sum(
        (-1) ** m * np.exp(-2 * (np.pi * m * s) ** 2) / (np.pi * m) ** 2 for m in (1, 2, 3)
    )
    s = np.minimum(s, 0.5)
    total = s * s
    for k in _CELLS[:5]:
        b, _ = _edges(s, k)
        total = total + 4 * ((k - 0.5) * ndtr(-b) - s * _density(b))
    return np.where(s < 0.5, total, series)


def _centroid_sum(s: Array) -> Array:
    """Return E x^2 minus the second moment of the centroids, s^2 - 2 sum_{k>=1} (int x)^2 / p."""
    total = s * s
    for k in _CELLS:
        low, high = _edges(s, k)
        mass = ndtr(-low) - ndtr(-high)
        moment = s * (_density(low) - _density(high))
        total = total - 2 * moment**2 / np.where(mass > 0, mass, np.inf)
    return total


def _centroid_shift(s: Array) -> Array:
    """Return the gain of centroids, sum p (centroid - midpoint)^2, as an integral."""
    total: Array = np.zeros_like(s)
    for t in _GRID:
        mass, moment = _cell_moments(s, t)
        total = total + _trapezoid_weight(t) * moment**2 / mass
    return total


def _cell_moments(s: Array, t: float) -> tuple[Array, Array]:
    """Return the mass of the unit cell around s t and the first moment about its middle, times s.

    The Gauss-Legendre nodes +-u are taken in pairs, so that nothing cancels for any s.
    """
    u = _NODES / s[..., None]
    weights = _WEIGHTS * np.exp(-0.5 * u * u)
    mass = _density(t) * (weights * np.cosh(t * u)).sum(-1)
    moment = -_density(t) * (weights * _NODES * np.sinh(t * u)).sum(-1)
    return mass, moment


def _trapezoid_weight(t: float) -> float:
    return _SPACING if t == 0 else 2 * _SPACING

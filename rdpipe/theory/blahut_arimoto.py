"""R(D) of a discrete source, with a bound on its error."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlogy

from rdpipe.theory._check import Array, nonnegative, positive


@dataclass(frozen=True, eq=False)
class RateDistortionPoint:
    """A point next to the R(D) curve: rate - gap <= R(distortion) <= rate.

    Attributes
    ----------
    rate : float
        Mutual information of the best channel, bits.
    distortion : float
        Mean distortion of the same channel.
    gap : float
        Duality gap, bits.
    reproduction : ndarray of shape (m,)
        Distribution of its output.
    iterations : int
        Number of iterations.
    """

    rate: float
    distortion: float
    gap: float
    reproduction: Array
    iterations: int


def blahut_arimoto(
    pmf: ArrayLike,
    distortion: ArrayLike,
    slope: float,
    tolerance: float = 1e-5,
    max_iterations: int = 100_000,
) -> RateDistortionPoint:
    """Return the point of R(D) at which its slope is ``-slope``, by the Blahut-Arimoto algorithm.

    I(x; x_hat) + slope * E d(x, x_hat) is minimized over channels. With the kernel A = 2^(-slope
    d), Z = A q and c = A^T (p / Z), each iteration is q <- q c, and the channel q A / Z attains
    -sum p log2 Z - sum q c log2 c. Every positive Z, including this one, gives the lower bound -sum
    p log2 Z - log2 max c on the minimum.

    Parameters
    ----------
    pmf : array_like of shape (n,)
        Source distribution p, with a sum of 1 within 1e-9.
    distortion : array_like of shape (n, m)
        d(x, x_hat) >= 0 for every source letter and reproduction letter.
    slope : float
        -dR/dD > 0, bits per unit of distortion. A Gaussian under squared error has slope =
        1 / (2 ln(2) D).
    tolerance : float
        Largest gap at which to stop, bits.
    max_iterations : int
        Largest number of iterations. The function then stops with a warning; ``gap`` is still
        valid.

    Returns
    -------
    RateDistortionPoint
        ``rate``, ``distortion``, ``gap``, ``reproduction`` and ``iterations``.

    Raises
    ------
    ValueError
        If shapes differ, ``pmf`` is not a distribution, or an argument is outside its range.

    Warns
    -----
    RuntimeWarning
        If ``tolerance`` is not reached within ``max_iterations``.

    References
    ----------
    R. Blahut, "Computation of Channel Capacity and Rate-Distortion Functions", IEEE Trans. IT,
    1972 (the iteration); T. Berger, "Rate Distortion Theory", 1971, theorem 2.5.3 (the dual).

    Examples
    --------
    A fair coin under Hamming distortion, R(D) = 1 - h(D), has slope log2(1 / D - 1), 3 at 1/9:

    >>> point = blahut_arimoto([0.5, 0.5], [[0, 1], [1, 0]], slope=3)
    >>> round(point.distortion, 6), round(point.rate, 6)
    (0.111111, 0.496742)
    """
    p, d, floor = _problem(pmf, distortion)
    slope, tolerance = float(positive("slope", slope)), float(positive("tolerance", tolerance))
    kernel = np.exp2(-slope * d)
    # c converges last where p is tiny: the dual distributes a little mass over all letters
    share = min(tolerance / 4, 0.5)
    smoothing = share * kernel.mean(axis=1)
    next_q = np.full(d.shape[1], 1 / d.shape[1])
    last = int(positive("max_iterations", max_iterations))
    for iteration in range(1, last + 1):  # noqa: B007 - used after the loop
        q = next_q
        normalizer = kernel @ q
        growth = (p / normalizer) @ kernel
        next_q = q * growth
        attained = -p @ np.log2(normalizer) - xlogy(next_q, growth).sum() / np.log(2)
        gap = attained - _dual(p, kernel, (1 - share) * normalizer + smoothing)
        if gap <= tolerance:
            break
    else:
        message = f"gap is {gap:.3g} bit after {iteration} iterations, tolerance {tolerance:g}"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    excess = float((p / normalizer) @ (kernel * d) @ q)
    rate = float(attained) - slope * excess
    return RateDistortionPoint(rate, excess + floor, max(float(gap), 0.0), next_q, iteration)


def _dual(p: Array, kernel: Array, normalizer: Array) -> float:
    """Return the lower bound on the Lagrangian that a positive normalizer gives."""
    return float(-p @ np.log2(normalizer) - np.log2(((p / normalizer) @ kernel).max()))


def _problem(pmf: ArrayLike, distortion: ArrayLike) -> tuple[Array, Array, float]:
    """Return the problem of the letters that occur.

    The minimum of each row of the distortion is subtracted, because a steep kernel would underflow;
    the third value is the mean of these minima.
    """
    p = nonnegative("pmf", pmf)
    d = nonnegative("distortion", distortion)
    if d.ndim != 2 or p.shape != d.shape[:1] or not d.size:
        raise ValueError(
            f"pmf has shape {p.shape} and distortion {d.shape}; expected (n,) and (n, m)"
        )
    if not abs(p.sum() - 1) <= 1e-9:
        raise ValueError(f"pmf sums to {p.sum()}; expected 1 within 1e-9")
    p, d = p[p > 0] / p.sum(), d[p > 0]
    minima = d.min(axis=1)
    return p, d - minima[:, None], float(p @ minima)

"""R(D) of a discrete source, with a certificate."""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy

from rdpipe.theory._check import nonnegative, positive


@dataclass(frozen=True, eq=False)
class RateDistortionPoint:
    """A point next to the R(D) curve: rate - gap <= R(distortion) <= rate.

    Attributes
    ----------
    rate : float
        Mutual information of the channel found, bits.
    distortion : float
        Mean distortion of the same channel.
    gap : float
        Duality gap, bits.
    reproduction : ndarray of shape (m,)
        Distribution of its output.
    iterations : int
        Iterations done.
    """

    rate: float
    distortion: float
    gap: float
    reproduction: np.ndarray
    iterations: int


def blahut_arimoto(pmf, distortion, slope, tolerance=1e-5, max_iterations=100_000):
    """Point of R(D) where its slope is ``-slope``, by the Blahut-Arimoto algorithm.

    Minimise I(x; x_hat) + slope * E d(x, x_hat) over channels. With the kernel
    A = 2^(-slope d), Z = A q and c = A^T (p / Z), each iteration is q <- q c, and the channel
    q A / Z attains -sum p log2 Z - sum q c log2 c. Every positive Z, this one or another, bounds
    the minimum from below by -sum p log2 Z - log2 max c.

    Parameters
    ----------
    pmf : array_like of shape (n,)
        Source distribution p; sums to 1 within 1e-9.
    distortion : array_like of shape (n, m)
        d(x, x_hat) >= 0 for every source and reproduction letter.
    slope : float
        -dR/dD > 0 in bits per unit of distortion. A Gaussian under squared error has
        slope = 1 / (2 ln(2) D).
    tolerance : float
        Stop when the gap is no larger, bits.
    max_iterations : int
        Stop anyway, with a warning; ``gap`` holds all the same.

    Returns
    -------
    RateDistortionPoint
        ``rate``, ``distortion``, ``gap``, ``reproduction`` and ``iterations``.

    Raises
    ------
    ValueError
        If shapes disagree, ``pmf`` is no distribution, or an argument is outside its range.

    Warns
    -----
    RuntimeWarning
        If ``max_iterations`` do not reach ``tolerance``.

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
    # where p is next to nothing c settles last: the dual spreads a little mass over all letters
    share = min(tolerance / 4, 0.5)
    spread = share * kernel.mean(axis=1)
    next_q = np.full(d.shape[1], 1 / d.shape[1])
    for iteration in range(1, int(positive("max_iterations", max_iterations)) + 1):
        q = next_q
        normalizer = kernel @ q
        growth = (p / normalizer) @ kernel
        next_q = q * growth
        attained = -p @ np.log2(normalizer) - xlogy(next_q, growth).sum() / np.log(2)
        gap = attained - _dual(p, kernel, (1 - share) * normalizer + spread)
        if gap <= tolerance:
            break
    else:
        message = f"gap is {gap:.3g} bit after {iteration} iterations, tolerance {tolerance:g}"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    excess = float((p / normalizer) @ (kernel * d) @ q)
    rate = float(attained) - slope * excess
    return RateDistortionPoint(rate, excess + floor, max(float(gap), 0.0), next_q, iteration)


def _dual(p, kernel, normalizer):
    """Lower bound on the Lagrangian from any positive normalizer."""
    return -p @ np.log2(normalizer) - np.log2(((p / normalizer) @ kernel).max())


def _problem(pmf, distortion):
    """Letters that occur; row minima are split off, or a steep kernel would underflow."""
    p = nonnegative("pmf", pmf)
    d = nonnegative("distortion", distortion)
    if d.ndim != 2 or p.shape != d.shape[:1] or not d.size:
        raise ValueError(f"pmf has shape {p.shape} and distortion {d.shape}; allowed: (n,), (n, m)")
    if not abs(p.sum() - 1) <= 1e-9:
        raise ValueError(f"pmf sums to {p.sum()}; allowed: 1 within 1e-9")
    p, d = p[p > 0] / p.sum(), d[p > 0]
    minima = d.min(axis=1)
    return p, d - minima[:, None], float(p @ minima)

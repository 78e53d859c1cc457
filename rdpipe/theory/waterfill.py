"""Reverse water-filling over independent Gaussian components."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rdpipe.theory._check import Array, nonnegative


@dataclass(frozen=True, eq=False)
class Waterfill:
    """Rate-distortion optimum of independent Gaussians.

    Attributes
    ----------
    theta : float
        Water level. Component i has the level theta / w_i.
    rate : float
        Sum of ``rates``, bits.
    rates, distortions : ndarray
        Bits and mean squared error of each component, of the shape of the variances.
    """

    theta: float
    rate: float
    rates: Array
    distortions: Array


def reverse_waterfill(
    variances: ArrayLike, distortion: float, weights: ArrayLike | None = None
) -> Waterfill:
    """Share a distortion among independent Gaussians at the smallest rate.

    The rate sum 1/2 log2(v_i / d_i) is minimized over 0 <= d_i <= v_i with sum w_i d_i =
    distortion. The optimum is d_i = min(v_i, theta / w_i), where theta solves sum min(w_i v_i,
    theta) = distortion. It is computed by sorting and exact to one or two roundings.

    Parameters
    ----------
    variances : array_like of any shape
        v_i >= 0. Components of variance 0 have neither rate nor distortion.
    distortion : float
        Total weighted distortion sum w_i d_i, >= 0. At 0, theta is 0 and the rates are infinite.
        From sum w_i v_i on, the rates are 0, d_i = v_i, and theta stays at max w_i v_i.
    weights : array_like, optional
        w_i >= 0, broadcast to the variances. Default: 1. Components of weight 0 are not coded, d_i
        = v_i.

    Returns
    -------
    Waterfill
        ``theta``, ``rate``, ``rates`` (bits) and ``distortions``.

    Raises
    ------
    ValueError
        If ``variances`` is empty, an argument is negative or NaN, or ``variances`` or ``weights``
        is infinite.

    References
    ----------
    T. Cover, J. Thomas, "Elements of Information Theory", 2006, theorem 10.3.3.

    Examples
    --------
    >>> optimum = reverse_waterfill([4.0, 1.0, 0.25], 1.25)
    >>> optimum.theta, optimum.rate, optimum.distortions
    (0.5, 2.0, array([0.5 , 0.5 , 0.25]))
    """
    v = nonnegative("variances", variances)
    total = float(nonnegative("distortion", distortion, finite=False))
    w = 1.0 if weights is None else nonnegative("weights", weights)
    if not v.size:
        raise ValueError(f"variances has shape {v.shape}; expected at least one component")
    weighted = np.broadcast_to(nonnegative("weights * variances", v * w), v.shape)
    theta = _water_level(np.sort(weighted, axis=None), total)
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = np.where(weighted > theta, 0.5 * np.log2(weighted / theta), 0.0)
        distortions = np.where(weighted > theta, theta / np.asarray(w), v)
    return Waterfill(theta, float(rates.sum()), rates, distortions)


def field_rate(spectrum: ArrayLike, distortion: float) -> float:
    """Return R(D) of a stationary Gaussian field from its sampled power spectrum.

    Parameters
    ----------
    spectrum : array_like of any shape
        Power spectrum at equally spaced frequencies over the whole period, >= 0. Its mean is the
        variance of one sample.
    distortion : float
        Mean squared error per sample, >= 0.

    Returns
    -------
    float
        Bits per sample.

    Raises
    ------
    ValueError
        See :func:`reverse_waterfill`.

    References
    ----------
    T. Berger, "Rate Distortion Theory", 1971, chapter 4 (stationary Gaussian sources).

    Examples
    --------
    >>> field_rate([4.0, 1.0, 1.0, 1.0], 0.25)
    1.25
    """
    power = nonnegative("spectrum", spectrum)
    distortion = float(nonnegative("distortion", distortion, finite=False))
    return reverse_waterfill(power, distortion * power.size).rate / power.size


def _water_level(u: Array, distortion: float) -> float:
    """Solve sum min(u_i, theta) = distortion for ascending u.

    The guess for the number of components under water may be wrong because the running sum is
    rounded. Correcting it is Newton's method on a concave, piecewise linear function.
    """
    if _less_sum(distortion, u) >= 0:
        return float(u[-1])
    filled = np.cumsum(u) + np.arange(u.size - 1, -1, -1) * u  # sum_i min(u_i, u_k)
    under = min(int(np.searchsorted(filled, distortion)), u.size - 1)
    for _ in range(10):
        theta = _less_sum(distortion, u[:under]) / (u.size - under)
        previous, under = under, int(np.searchsorted(u, theta))
        if under == previous:
            break
    return theta


def _less_sum(value: float, x: Array) -> float:
    """Return ``value - sum(x)``, rounded only once or twice.

    If almost all components are under water, the sum cancels against the distortion, and a plain
    sum would leave theta a few digits. The leading bits of all x are therefore added first, which
    is exact (S. Rump, T. Ogita, S. Oishi, "Accurate Floating-Point Summation", 2008).
    """
    parts = [value]
    for _ in range(2):
        if x.any():
            unit = 2.0 ** math.ceil(math.log2(np.abs(x).max()) + math.log2(x.size + 2))
            leading = (x + unit) - unit
            parts.append(-leading.sum())
            x = x - leading
    return math.fsum([*parts, -x.sum()])

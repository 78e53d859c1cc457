"""Reverse water-filling over independent Gaussian components."""

import math
from dataclasses import dataclass

import numpy as np

from rdpipe.theory._check import nonnegative


@dataclass(frozen=True, eq=False)
class Waterfill:
    """Rate-distortion optimum of independent Gaussians.

    Attributes
    ----------
    theta : float
        Water level; that of component i is theta / w_i.
    rate : float
        Sum of ``rates``, bits.
    rates, distortions : ndarray
        Bits and mean squared error per component, shaped like the variances.
    """

    theta: float
    rate: float
    rates: np.ndarray
    distortions: np.ndarray


def reverse_waterfill(variances, distortion, weights=None):
    """Share a distortion among independent Gaussians at the least rate.

    Minimise sum 1/2 log2(v_i / d_i) over 0 <= d_i <= v_i with sum w_i d_i = distortion. The
    optimum is d_i = min(v_i, theta / w_i); theta solves sum min(w_i v_i, theta) = distortion,
    found by sorting, exact to a rounding or two.

    Parameters
    ----------
    variances : array_like of any shape
        v_i >= 0. Components of variance 0 cost nothing and have no distortion.
    distortion : float
        Total weighted distortion sum w_i d_i, >= 0. At 0, theta is 0 and rates are infinite;
        from sum w_i v_i on, rates are 0, d_i = v_i and theta stays at max w_i v_i.
    weights : array_like, optional
        w_i >= 0, broadcast to the variances; 1 if omitted. Components of weight 0 are not
        coded: d_i = v_i.

    Returns
    -------
    Waterfill
        ``theta``, ``rate``, ``rates`` (bits) and ``distortions``.

    Raises
    ------
    ValueError
        If ``variances`` is empty, or an argument negative, NaN or, but for ``distortion``,
        infinite.

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
        raise ValueError(f"variances has shape {v.shape}; allowed: at least one component")
    weighted = np.broadcast_to(nonnegative("weights * variances", v * w), v.shape)
    theta = _water_level(np.sort(weighted, axis=None), total)
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = np.where(weighted > theta, 0.5 * np.log2(weighted / theta), 0.0)
        distortions = np.where(weighted > theta, theta / np.asarray(w), v)
    return Waterfill(theta, float(rates.sum()), rates, distortions)


def field_rate(spectrum, distortion):
    """R(D) of a stationary Gaussian field from its sampled power spectrum.

    Parameters
    ----------
    spectrum : array_like of any shape
        Power spectrum at equally spaced frequencies over the whole period, >= 0, scaled so
        that its mean is the variance of one sample.
    distortion : float
        Mean squared error per sample, >= 0.

    Returns
    -------
    float
        Bits per sample.

    Raises
    ------
    ValueError
        As :func:`reverse_waterfill`.

    References
    ----------
    T. Berger, "Rate Distortion Theory", 1971, chapter 4 (stationary Gaussian sources).

    Examples
    --------
    >>> field_rate([4.0, 1.0, 1.0, 1.0], 0.25)
    1.25
    """
    spectrum = nonnegative("spectrum", spectrum)
    distortion = float(nonnegative("distortion", distortion, finite=False))
    return reverse_waterfill(spectrum, distortion * spectrum.size).rate / spectrum.size


def _water_level(u, distortion):
    """Solve sum min(u_i, theta) = distortion for ascending u.

    The guess for the number of components under water is off where the running sum has
    rounded; correcting it is Newton's method on a concave, piecewise linear function.
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


def _less_sum(value, x):
    """``value - sum(x)`` as if in one rounding.

    With almost all components under water the sum cancels against the distortion, and a plain
    sum would leave theta a few digits. So the leading bits of all x are added up first, which
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

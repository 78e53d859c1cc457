"""The Gaussian test channel under an assumed variance, which may be wrong.

.. code-block:: none

    r --> (* a) --> (+) --> r_hat        a = max(0, 1 - theta / variance)
                     ^                   r_hat | r ~ N(a r, theta a)
              N(0, theta a)              decoder expects N(0, variance - theta)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rdpipe.theory._check import Array, Result, as_result, nonnegative, real


def channel_rate(variance: ArrayLike, theta: ArrayLike, r: ArrayLike) -> Result:
    """Return the divergence of the channel's output given ``r`` from what the decoder expects.

    KL(N(a r, theta a) || N(0, v - theta)) = 1/2 [ln(v / theta) + (theta + a r^2) / v - 1] nats if v
    > theta, otherwise 0. Its mean is 1/2 log2(v / theta) bits if E r^2 = v. In every case the mean
    is an upper bound on the mutual information of r and r_hat.

    Parameters
    ----------
    variance : array_like
        Assumed variance v, >= 0.
    theta : array_like
        Water level, >= 0. It is infinite for elements of weight 0.
    r : array_like
        Residual.

    Returns
    -------
    ndarray
        Bits per element. They are infinite at theta 0 if the variance is positive.

    Raises
    ------
    ValueError
        If an argument is NaN, ``variance`` or ``theta`` is negative, or ``variance`` is infinite.

    References
    ----------
    T. Berger, "Rate Distortion Theory", 1971, chapter 4 (the channel, for the true variance).

    Examples
    --------
    >>> channel_rate(4.0, 1.0, [0.0, 2.0, 4.0]).round(4)
    array([0.459, 1.   , 2.623])
    """
    variance, theta, r = _arguments(variance, theta, r)
    coded = variance > theta
    v = np.where(coded, variance, 1.0)
    level = np.where(coded, theta, 1.0)
    a = (v - level) / v
    with np.errstate(divide="ignore"):
        nats = 0.5 * (np.log1p((v - level) / level) - a + a * r**2 / v)
    bits: Result = as_result(np.where(coded, nats, 0.0)) / np.log(2)
    return bits


def channel_distortion(variance: ArrayLike, theta: ArrayLike, r: ArrayLike) -> Result:
    """Return the expected squared error of the test channel, (1 - a)^2 r^2 + theta a.

    Parameters
    ----------
    variance, theta, r : array_like
        As in :func:`channel_rate`.

    Returns
    -------
    ndarray
        Squared error in the unit of ``variance``; r^2 if variance <= theta. Its mean is min(theta,
        variance) if E r^2 = variance.

    Raises
    ------
    ValueError
        As in :func:`channel_rate`.

    Examples
    --------
    >>> channel_distortion(4.0, [1.0, 9.0], 2.0)
    array([1., 4.])
    """
    variance, theta, r = _arguments(variance, theta, r)
    coded = variance > theta
    v = np.where(coded, variance, 1.0)
    level = np.where(coded, theta, 1.0)
    return as_result(np.where(coded, (level / v * r) ** 2 + level * (v - level) / v, r**2))


def _arguments(variance: ArrayLike, theta: ArrayLike, r: ArrayLike) -> tuple[Array, Array, Array]:
    return (
        nonnegative("variance", variance),
        nonnegative("theta", theta, finite=False),
        real("r", r),
    )

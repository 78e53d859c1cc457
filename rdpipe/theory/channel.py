"""The Gaussian test channel under an assumed variance, right or wrong.

.. code-block:: none

    r --> (* a) --> (+) --> r_hat        a = max(0, 1 - theta / variance)
                     ^                   r_hat | r ~ N(a r, theta a)
              N(0, theta a)              decoder expects N(0, variance - theta)
"""

import numpy as np

from rdpipe.theory._check import nonnegative, real


def channel_rate(variance, theta, r):
    """Divergence of what the test channel sends for ``r`` from what the decoder expects.

    KL(N(a r, theta a) || N(0, v - theta)) = 1/2 [ln(v / theta) + (theta + a r^2) / v - 1] nats
    for v > theta, else 0. Its mean is 1/2 log2(v / theta) bits if E r^2 = v, and an upper bound
    on the mutual information of r and r_hat in any case.

    Parameters
    ----------
    variance : array_like
        Assumed variance v, >= 0.
    theta : array_like
        Water level, >= 0; infinite where an element has weight 0.
    r : array_like
        Residual.

    Returns
    -------
    ndarray
        Bits per element; infinite at theta 0 where the variance is positive.

    Raises
    ------
    ValueError
        If an argument is NaN, or ``variance`` or ``theta`` negative, or ``variance`` infinite.

    References
    ----------
    T. Berger, "Rate Distortion Theory", 1971, chapter 4 (the channel, for a right variance).

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
    return np.where(coded, nats, 0.0)[()] / np.log(2)


def channel_distortion(variance, theta, r):
    """Expected squared error of the test channel, (1 - a)^2 r^2 + theta a.

    Parameters
    ----------
    variance, theta, r : array_like
        As in :func:`channel_rate`.

    Returns
    -------
    ndarray
        Squared error in the unit of ``variance``; r^2 where variance <= theta. Its mean is
        min(theta, variance) if E r^2 = variance.

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
    return np.where(coded, (level / v * r) ** 2 + level * (v - level) / v, r**2)[()]


def _arguments(variance, theta, r):
    return (
        nonnegative("variance", variance),
        nonnegative("theta", theta, finite=False),
        real("r", r),
    )

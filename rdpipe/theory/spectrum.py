"""Power spectra of Gaussian random fields."""

from __future__ import annotations

import numpy as np

from rdpipe.theory._check import Array, nonnegative


def field_spectrum(size: int, rho: float | None = None, exponent: float | None = None) -> Array:
    """Return the power spectrum of a field of unit variance, sampled by its Fourier transform.

    Parameters
    ----------
    size : int
        Number of rows and of columns, samples.
    rho : float, optional
        Correlation of neighbors of a separable AR(1) field, -1 < rho < 1. The spectrum is S(f)
        S(g), S(f) = (1 - rho^2) / (1 - 2 rho cos(2 pi f) + rho^2).
    exponent : float, optional
        Exponent of an isotropic power law, >= 0. The spectrum is |f|^-exponent, and 0 at f = 0.
        Give exactly one of ``rho`` and ``exponent``.

    Returns
    -------
    ndarray of shape (size, size)
        With a mean of 1, in the order of :func:`numpy.fft.fftfreq`.

    Raises
    ------
    ValueError
        If ``size`` is too small (2 for a power law), not exactly one of ``rho`` and ``exponent`` is
        given, or it is outside its range.

    Examples
    --------
    >>> field_spectrum(2, rho=0.5)
    array([[3.24, 0.36],
           [0.36, 0.04]])
    """
    if (rho is None) == (exponent is None):
        raise ValueError(f"rho is {rho} and exponent is {exponent}; expected exactly one of them")
    least = 1 if exponent is None else 2
    if not size >= least:
        raise ValueError(f"size is {size}; expected {least}, {least + 1}, {least + 2}, ...")
    frequency = np.fft.fftfreq(size)
    if rho is not None:
        if not abs(rho) < 1:
            raise ValueError(f"rho is {rho}; expected -1 < rho < 1")
        line = (1 - rho**2) / (1 - 2 * rho * np.cos(2 * np.pi * frequency) + rho**2)
        power = np.outer(line, line)
    else:
        assert exponent is not None
        radius = np.hypot(frequency[:, None], frequency)
        radius[0, 0] = np.inf
        power = radius ** -nonnegative("exponent", exponent)
    spectrum: Array = power / power.mean()
    return spectrum

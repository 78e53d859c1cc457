"""Gaussian random fields, whose rate-distortion function is known."""

from __future__ import annotations

import json

import numpy as np

from rdpipe.datasets.source import Source
from rdpipe.core.errors import InputError

PREFIX = "gaussian-field:"


def find(
    size: int = 512,
    count: int = 4,
    rho: float | None = None,
    exponent: float | None = None,
    sigma: float = 40.0,
    seed: int = 0,
) -> list[Source]:
    """Fields of zero mean; they are made when they are read, so no file is written.

    Parameters
    ----------
    size : int
        Side, pixels.
    count : int
        Number of fields.
    rho : float
        Correlation of neighbours of a separable AR(1) field, |rho| < 1; or
    exponent : float
        Isotropic power spectrum |f|^-exponent, periodic, without its mean.
    sigma : float
        Standard deviation, on the 8-bit scale.
    seed : int

    Raises
    ------
    InputError
        If not exactly one of ``rho`` and ``exponent`` is given, or a value makes no field.
    """
    check(rho, exponent)
    if not (size > 0 and count > 0 and sigma > 0):
        raise InputError(
            f"gaussian-field size {size}, count {count}, sigma {sigma}: all must be positive"
        )
    spec = {"size": size, "rho": rho, "exponent": exponent, "sigma": sigma, "seed": seed}
    return [
        Source(f"field-{i}", PREFIX + json.dumps({**spec, "index": i}, sort_keys=True))
        for i in range(count)
    ]


def check(rho: float | None, exponent: float | None) -> None:
    """Refuse what is no spectrum."""
    if (rho is None) == (exponent is None):
        raise InputError("gaussian-field: give either rho (AR(1)) or exponent (power law)")
    if rho is not None and not abs(rho) < 1:
        raise InputError(f"gaussian-field rho {rho!r}: allowed are -1 < rho < 1")


def make(file: str) -> np.ndarray:
    """The field that a source names, float32 of shape (size, size, 1)."""
    spec = json.loads(file.removeprefix(PREFIX))
    rng = np.random.default_rng([spec["seed"], spec["index"]])
    white = rng.standard_normal((spec["size"], spec["size"]))
    if spec["rho"] is None:
        amplitude = np.sqrt(spectrum(spec["size"], exponent=spec["exponent"]))
        field = np.fft.ifft2(np.fft.fft2(white) * amplitude).real
    else:
        field = autoregressive(autoregressive(white, spec["rho"]).T, spec["rho"]).T
    return (spec["sigma"] * field).astype(np.float32)[..., None]


def autoregressive(white: np.ndarray, rho: float) -> np.ndarray:
    """A stationary AR(1) process of unit variance along each row, from white noise of shape (n, m)."""
    from scipy.signal import lfilter

    driven = white * np.sqrt(1 - rho**2)
    driven[:, 0] = white[:, 0]  # stationary from the start
    return lfilter([1.0], [1.0, -rho], driven, axis=1)


def spectrum(
    size: int = 512, rho: float | None = None, exponent: float | None = None
) -> np.ndarray:
    """Power spectrum of a field of unit variance on the grid of the discrete Fourier transform.

    Parameters
    ----------
    size, rho, exponent
        As for :func:`find`.

    Returns
    -------
    array of shape (size, size)
        With a mean of 1. AR(1): S(f) S(g), S(f) = (1 - rho^2) / (1 - 2 rho cos 2 pi f + rho^2);
        power law: |f|^-exponent, 0 at f = 0.
    """
    check(rho, exponent)
    frequency = np.fft.fftfreq(size)
    if rho is not None:
        line = (1 - rho**2) / (1 - 2 * rho * np.cos(2 * np.pi * frequency) + rho**2)
        power = np.outer(line, line)
    else:
        radius = np.hypot(frequency[:, None], frequency)
        radius[0, 0] = np.inf
        power = radius**-exponent
    return power / power.mean()

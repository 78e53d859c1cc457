"""Gaussian random fields, whose rate-distortion function is known."""

from __future__ import annotations

import json

import numpy as np

from rdpipe.datasets.source import Source
from rdpipe.errors import InputError

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
    if (rho is None) == (exponent is None):
        raise InputError("gaussian-field: give either rho (AR(1)) or exponent (power law)")
    if rho is not None and not abs(rho) < 1:
        raise InputError(f"gaussian-field rho {rho!r}: allowed are -1 < rho < 1")
    if not (size > 0 and count > 0 and sigma > 0):
        raise InputError(
            f"gaussian-field size {size}, count {count}, sigma {sigma}: all must be positive"
        )
    spec = {"size": size, "rho": rho, "exponent": exponent, "sigma": sigma, "seed": seed}
    return [
        Source(f"field-{i}", PREFIX + json.dumps({**spec, "index": i}, sort_keys=True))
        for i in range(count)
    ]


def make(file: str) -> np.ndarray:
    """The field that a source names, float32 of shape (size, size, 1)."""
    spec = json.loads(file.removeprefix(PREFIX))
    rng = np.random.default_rng([spec["seed"], spec["index"]])
    white = rng.standard_normal((spec["size"], spec["size"]))
    if spec["rho"] is None:
        field = power_law(white, spec["exponent"])
    else:
        field = autoregressive(autoregressive(white, spec["rho"]).T, spec["rho"]).T
    return (spec["sigma"] * field).astype(np.float32)[..., None]


def autoregressive(white: np.ndarray, rho: float) -> np.ndarray:
    """A stationary AR(1) process of unit variance along each row, from white noise of shape (n, m)."""
    from scipy.signal import lfilter

    driven = white * np.sqrt(1 - rho**2)
    driven[:, 0] = white[:, 0]  # stationary from the start
    return lfilter([1.0], [1.0, -rho], driven, axis=1)


def power_law(white: np.ndarray, exponent: float) -> np.ndarray:
    """A periodic field of the spectrum of :func:`power_spectrum`, from white noise."""
    amplitude = np.sqrt(power_spectrum(len(white), exponent))
    return np.fft.ifft2(np.fft.fft2(white) * amplitude).real


def power_spectrum(size: int, exponent: float) -> np.ndarray:
    """|f|^-exponent on the grid of the discrete Fourier transform, 0 at f = 0, with a mean of 1."""
    frequency = np.fft.fftfreq(size)
    radius = np.hypot(frequency[:, None], frequency)
    radius[0, 0] = np.inf
    spectrum = radius**-exponent
    return spectrum / spectrum.mean()

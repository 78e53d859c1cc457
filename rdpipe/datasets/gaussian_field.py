"""Gaussian random fields, whose rate-distortion function is known.

No file is written: the name of the file in a :class:`~rdpipe.datasets.source.Source` describes the
field, and the field is drawn when it is read.
"""

from __future__ import annotations

import json
import math
from types import UnionType

import numpy as np
from numpy.typing import NDArray

from rdpipe.core.errors import InputError
from rdpipe.datasets.source import Source

PREFIX = "gaussian-field:"
"""Beginning of the description of a field, in place of the name of a file."""


def find(
    size: int = 512,
    count: int = 4,
    rho: float | None = None,
    exponent: float | None = None,
    sigma: float = 40.0,
    seed: int = 0,
) -> list[Source]:
    r"""Return descriptions of square fields with zero mean.

    Parameters
    ----------
    size : int
        Height and width, pixels.
    count : int
        Number of fields.
    rho : float, optional
        Correlation of neighbors in a separable AR(1) field, -1 < rho < 1. Give either ``rho`` or
        ``exponent``.
    exponent : float, optional
        Exponent of an isotropic power spectrum \|f\|^-exponent, >= 0; the field is periodic and has
        no component at f = 0.
    sigma : float
        Standard deviation, 8-bit levels.
    seed : int
        Seed of the noise.

    Raises
    ------
    InputError
        If not exactly one of ``rho`` and ``exponent`` is given, or a value is out of range.
    """
    _check_numbers({"size": size, "count": count, "seed": seed}, int)
    _check_numbers({"sigma": sigma}, float | int)
    _check_numbers({"rho": rho, "exponent": exponent}, float | int | None)
    check_spectrum(rho, exponent)
    if not (size > 0 and count > 0 and sigma > 0):
        raise InputError(
            f"gaussian-field: size {size}, count {count}, sigma {sigma}; expected positive numbers"
        )
    if seed < 0:
        raise InputError(f"gaussian-field: seed is {seed}; expected a number >= 0")
    spec = {"size": size, "rho": rho, "exponent": exponent, "sigma": sigma, "seed": seed}
    return [
        Source(f"field-{i}", PREFIX + json.dumps({**spec, "index": i}, sort_keys=True))
        for i in range(count)
    ]


def _check_numbers(values: dict[str, object], types: type | UnionType) -> None:
    """Check the types of arguments, which come from a config."""
    for name, value in values.items():
        if not isinstance(value, types):
            number = "an integer" if types is int else "a number"
            raise InputError(f"gaussian-field: {name} is {value!r}; expected {number}")


def check_spectrum(rho: float | None, exponent: float | None) -> None:
    """Check that the parameters describe one power spectrum.

    Raises
    ------
    InputError
        If not exactly one of ``rho`` and ``exponent`` is given, or it is out of range.
    """
    if (rho is None) == (exponent is None):
        raise InputError("gaussian-field: expected either rho (AR(1)) or exponent (power law)")
    if rho is not None and not abs(rho) < 1:
        raise InputError(f"gaussian-field: rho is {rho!r}; expected -1 < rho < 1")
    if exponent is not None and not 0 <= exponent < math.inf:
        raise InputError(f"gaussian-field: exponent is {exponent!r}; expected a finite number >= 0")


def draw(description: str) -> NDArray[np.float32]:
    """Draw the field that a source describes.

    Parameters
    ----------
    description : str
        ``file`` of a source from :func:`find`.

    Returns
    -------
    array of float32, of shape (size, size, 1)
    """
    from rdpipe.theory import field_spectrum  # imports scipy

    spec = json.loads(description.removeprefix(PREFIX))
    rng = np.random.default_rng([spec["seed"], spec["index"]])
    white = rng.standard_normal((spec["size"], spec["size"]))
    if spec["rho"] is None:
        amplitude = np.sqrt(field_spectrum(spec["size"], exponent=spec["exponent"]))
        field = np.fft.ifft2(np.fft.fft2(white) * amplitude).real
    else:
        field = _autoregressive(_autoregressive(white, spec["rho"]).T, spec["rho"]).T
    return (spec["sigma"] * field).astype(np.float32)[..., None]


def _autoregressive(white: NDArray[np.float64], rho: float) -> NDArray[np.float64]:
    """Return a stationary AR(1) process of unit variance along each row of white noise."""
    from scipy.signal import lfilter

    driven = white * np.sqrt(1 - rho**2)
    driven[:, 0] = white[:, 0]  # stationary from the first element
    filtered: NDArray[np.float64] = lfilter([1.0], [1.0, -rho], driven, axis=1)
    return filtered

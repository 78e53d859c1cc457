"""Distortion of decoded images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def mean_squared_error(image: NDArray[Any], decoded: NDArray[Any]) -> float:
    """Return the mean squared error of two images.

    Parameters
    ----------
    image, decoded : array of shape (height, width, channel)
        uint8, or float32 for Gaussian fields.

    Returns
    -------
    float
        Squared 8-bit levels.
    """
    return float(np.square(image.astype(np.float64) - decoded).mean())


def psnr(mse: ArrayLike) -> NDArray[np.float64]:
    """Return the peak signal-to-noise ratio of mean squared errors.

    Parameters
    ----------
    mse : array_like
        Squared 8-bit levels.

    Returns
    -------
    array
        dB; infinite where the error is 0.

    Examples
    --------
    >>> float(psnr(255**2 / 1000).round(6))
    30.0
    """
    with np.errstate(divide="ignore"):
        ratio: NDArray[np.float64] = 10 * np.log10(255**2 / np.asarray(mse, dtype=np.float64))
    return ratio

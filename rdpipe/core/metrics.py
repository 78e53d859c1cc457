"""Quality of decoded images."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import lazy_loader
import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import pytorch_msssim
    import torch
else:
    torch = lazy_loader.load("torch")
    pytorch_msssim = lazy_loader.load("pytorch_msssim")

LEAST_SIDE = 161
"""Smallest side of an image that has a multiscale structural similarity, pixels."""


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


def error_map(image: NDArray[Any], decoded: NDArray[Any], side: int) -> NDArray[np.float32]:
    """Return the mean squared error of each square of ``side`` pixels, squared 8-bit levels.

    The parameters are those of :func:`mean_squared_error`. Squares at the border are cut.
    """
    error = np.square(image.astype(np.float64) - decoded).mean(2)
    return pooled(error, side).astype(np.float32)


def pooled(values: NDArray[Any], pool: int) -> NDArray[np.float64]:
    """Return means over squares of ``pool`` positions a side; squares at the border are cut."""
    fill = [(0, -side % pool) for side in values.shape]
    filled = np.pad(values.astype(np.float64), fill, constant_values=np.nan)
    rows, columns = (side // pool for side in filled.shape)
    means: NDArray[np.float64] = np.nanmean(filled.reshape(rows, pool, columns, pool), axis=(1, 3))
    return means


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


def ms_ssim(image: NDArray[Any], decoded: NDArray[Any]) -> float:
    """Return the multiscale structural similarity of two images.

    Parameters
    ----------
    image, decoded : array of uint8, of shape (height, width, 3)

    Returns
    -------
    float
        The mean over the colors. NaN if a side has fewer than 161 pixels, and for Gaussian fields.

    References
    ----------
    Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multiscale structural similarity for image quality
    assessment", Asilomar Conference on Signals, Systems and Computers, 2003.
    """
    if image.dtype != np.uint8 or min(image.shape[:2]) < LEAST_SIDE:
        return math.nan
    first, second = (  # the batch comes first, so that PyTorch sees that channels are last: faster
        torch.tensor(pixels, dtype=torch.float32)[None].permute(0, 3, 1, 2)
        for pixels in (image, decoded)
    )
    return float(pytorch_msssim.ms_ssim(first, second, data_range=255))


def ms_ssim_db(similarity: ArrayLike) -> NDArray[np.float64]:
    """Return -10 log10(1 - MS-SSIM), dB; infinite where the similarity is 1.

    Examples
    --------
    >>> float(ms_ssim_db(0.99).round(6))
    20.0
    """
    with np.errstate(divide="ignore"):
        ratio: NDArray[np.float64] = -10 * np.log10(1 - np.asarray(similarity, dtype=np.float64))
    return ratio


MEASURES: dict[str, Callable[[ArrayLike, ArrayLike], NDArray[np.float64]]] = {
    "psnr": lambda mse, similarity: psnr(mse),
    "ms-ssim": lambda mse, similarity: ms_ssim_db(similarity),
}
"""Measures of quality in dB, as functions of the MSE and of the MS-SSIM."""

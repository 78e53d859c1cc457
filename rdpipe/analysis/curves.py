"""Bound curves: per-image points, what they average to, and how far apart two curves lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from rdpipe.core.errors import InputError
from rdpipe.core.metrics import psnr


@dataclass(frozen=True)
class Curve:
    """One curve of a data set: a point for each quality, kept image by image.

    Parameters
    ----------
    dataset, codec, name, kind : str
        ``codec`` is the codec whose latents it stands on, empty for an anchor; ``kind`` is one of
        SCIENCE.md, section 5.
    qualities : list of int
    bits : array of shape (image, quality)
        All that is sent for an image, bit.
    mse : array of shape (image, quality)
        On the 8-bit scale.
    pixels : array of shape (image,)
        True pixels, never padded ones.
    images : array of str, of shape (image,)
        Their names.
    source : str
        Of a published curve: who says so. Only its averages are known, which stand for every image.
    """

    dataset: str
    codec: str
    name: str
    kind: str
    qualities: list[int]
    bits: np.ndarray
    mse: np.ndarray
    pixels: np.ndarray
    images: np.ndarray
    source: str = ""

    @property
    def bpp(self) -> np.ndarray:
        """Rate of each image and quality, bit/pixel, of shape (image, quality)."""
        return self.bits / self.pixels[:, None]

    def points(self, images=slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Mean bpp and mean PSNR of some images at each quality, each of shape (quality,)."""
        return self.bpp[images].mean(0), psnr(self.mse[images]).mean(0)


def at_equal_psnr(levels, bits, mse, target: float) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate a sweep of levels to where the mean PSNR over images meets a target.

    Monotone cubic interpolation over the logarithm of the level, image by image.

    Parameters
    ----------
    levels : array of shape (level,)
    bits, mse : array of shape (image, level)
    target : float
        PSNR averaged over images, dB.

    Returns
    -------
    bits, mse : array of shape (image,)

    Raises
    ------
    InputError
        If the sweep does not reach the target.
    """
    order = np.argsort(levels)
    log_levels = np.log(np.asarray(levels)[order])
    quality = PchipInterpolator(log_levels, psnr(mse[:, order]), axis=1)

    def excess(log_level: float) -> float:
        return quality(log_level).mean() - target

    best, worst = excess(log_levels[0]), excess(log_levels[-1])
    if not best >= 0 >= worst:
        side = "lower" if best < 0 else "higher"
        raise InputError(
            f"simulate.levels: {np.exp(log_levels[0]):g} to {np.exp(log_levels[-1]):g} give "
            f"{target + best:.2f} to {target + worst:.2f} dB and do not reach {target:.2f} dB; "
            f"add {side} levels"
        )
    level = brentq(excess, log_levels[0], log_levels[-1], xtol=1e-10)
    at_level = PchipInterpolator(log_levels, bits[:, order], axis=1)(level)
    return at_level, 255**2 / 10 ** (quality(level) / 10)

"""Rate-distortion curves: points of single images, and interpolation to an equal PSNR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import BoundKind, CurveRole
from rdpipe.core.metrics import psnr

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """One curve on one dataset: a point for each quality, with the values of each image.

    Parameters
    ----------
    dataset : str
        Name of the dataset.
    codec : str
        Name of the analyzed codec; empty for a curve that belongs to no codec, see
        :attr:`is_shared`.
    name : str
        Name that tables and figures show.
    role : CurveRole
        Where the curve comes from.
    kind : BoundKind
        What the curve may be called.
    qualities : list of int
        Quality of each point.
    bits : array of shape (image, quality)
        Complete rate of each image, bit.
    mse : array of shape (image, quality)
        Mean squared error, squared 8-bit levels.
    pixels : array of shape (image,)
        Number of pixels, without padding.
    images : array of str, of shape (image,)
        Names of the images.
    source : str
        Source of a published curve. Only its averages are known; they stand for every image.
    """

    dataset: str
    codec: str
    name: str
    role: CurveRole
    kind: BoundKind
    qualities: list[int]
    bits: Values
    mse: Values
    pixels: NDArray[Any]
    images: NDArray[Any]
    source: str = ""

    @property
    def bpp(self) -> Values:
        """Rate of each image and quality, bit/pixel, of shape (image, quality)."""
        return self.bits / self.pixels[:, None]

    @property
    def is_shared(self) -> bool:
        """Whether the curve is compared with every codec on its dataset."""
        return self.role in (CurveRole.BASELINE, CurveRole.PUBLISHED)

    @property
    def has_images(self) -> bool:
        """Whether the values of single images are known."""
        return self.role is not CurveRole.PUBLISHED

    def points(self) -> tuple[Values, Values]:
        """Return mean bit/pixel and mean PSNR over images, each of shape (quality,)."""
        return self.bpp.mean(0), psnr(self.mse).mean(0)

    def is_compared_with(self, codec_curve: Curve) -> bool:
        """Return whether the BD-rate of this curve against a codec's own curve is reported."""
        if self is codec_curve or self.dataset != codec_curve.dataset:
            return False
        return self.is_shared or self.codec == codec_curve.codec


def at_equal_psnr(
    levels: ArrayLike, bits: Values, mse: Values, target: float
) -> tuple[Values, Values]:
    """Interpolate a sweep of levels to where the mean PSNR over images equals a target.

    The interpolation is monotone cubic over the logarithm of the level, for each image.

    Parameters
    ----------
    levels : array_like of shape (level,)
        Theta or step.
    bits, mse : array of shape (image, level)
        Bits, and squared 8-bit levels.
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
        return float(quality(log_level).mean() - target)

    best, worst = excess(log_levels[0]), excess(log_levels[-1])
    if not best >= 0 >= worst:
        side = "lower" if best < 0 else "higher"
        raise InputError(
            f"simulate.levels: {np.exp(log_levels[0]):g} to {np.exp(log_levels[-1]):g} give"
            f" {target + best:.2f} to {target + worst:.2f} dB and do not reach {target:.2f} dB;"
            f" add {side} levels"
        )
    level = brentq(excess, log_levels[0], log_levels[-1], xtol=1e-10)
    at_level = PchipInterpolator(log_levels, bits[:, order], axis=1)(level)
    return at_level, 255**2 / 10 ** (quality(level) / 10)

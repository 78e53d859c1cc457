"""Rate-distortion curves with the points of single images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdpipe.core.kinds import BoundKind, CurveRole

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
    ms_ssim : array of shape (image, quality), optional
        Multiscale structural similarity; NaN for images that have none. None if it is not known.
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
    ms_ssim: Values | None = None

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

    def is_compared_with(self, codec_curve: Curve) -> bool:
        """Return whether the BD-rate of this curve against a codec's own curve is reported."""
        if self is codec_curve or self.dataset != codec_curve.dataset:
            return False
        return self.is_shared or self.codec == codec_curve.codec

"""Measures of the quality of a curve: each is a function of a mean over images, in dB.

A BD-rate over the mean of PSNR bounds the rate for the distortion -PSNR, one over the PSNR of the
mean MSE that for the MSE. See ``docs/explanation/science.md``, section 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdpipe.analysis.curves import Curve, Values
from rdpipe.core.metrics import MEASURES, psnr


class Measure(NamedTuple):
    """A measure of the quality of a curve.

    Parameters
    ----------
    name : str
        Name in tables.
    label : str
        Name in sentences.
    of_one_image : str
        Name of the measure that it is for a single image.
    averaged : callable
        What is averaged over images, as a function of MSE and MS-SSIM.
    of_average : callable
        Quality of that average, dB.
    """

    name: str
    label: str
    of_one_image: str
    averaged: Callable[[ArrayLike, ArrayLike], Values]
    of_average: Callable[[Values], Values]

    def image_values(self, curve: Curve) -> Values:
        """Return what is averaged over images, of shape (image, quality).

        It is NaN where it is not known: MS-SSIM of small images and Gaussian fields, and all but
        the mean PSNR of published curves.
        """
        unknown = np.full_like(curve.mse, np.nan)
        if not curve.has_images and self is not PSNR:
            return unknown
        return self.averaged(curve.mse, unknown if curve.ms_ssim is None else curve.ms_ssim)

    def of_images(self, curve: Curve) -> Values:
        """Return the quality of each image, dB, of shape (image, quality)."""
        return self.of_average(self.image_values(curve))

    def of_mean(self, curve: Curve) -> Values:
        """Return the quality of the mean over images, dB, of shape (quality,)."""
        return self.of_average(self.image_values(curve).mean(0))


PSNR = Measure("psnr", "PSNR", "psnr", MEASURES["psnr"], np.asarray)
PSNR_OF_MEAN_MSE = Measure(
    "psnr-of-mean-mse",
    "PSNR of the mean MSE",
    "psnr",
    lambda mse, similarity: np.asarray(mse, dtype=np.float64),
    psnr,
)
MS_SSIM = Measure("ms-ssim", "MS-SSIM", "ms-ssim", MEASURES["ms-ssim"], np.asarray)
CURVE_MEASURES = {measure.name: measure for measure in (PSNR, PSNR_OF_MEAN_MSE, MS_SSIM)}
"""The measures of a curve, by name."""
IMAGE_MEASURES = (PSNR, MS_SSIM)
"""The measures of a single image, for which the two averages of the MSE are the same."""

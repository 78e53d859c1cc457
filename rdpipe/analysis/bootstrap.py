"""Bootstrap intervals over images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Resamples = NDArray[np.integer[Any]]
"""Indices of images with replacement, of shape (resample, image)."""


def resamples(images: int, count: int, seed: int) -> Resamples:
    """Draw resamples of the images.

    Parameters
    ----------
    images, count : int
        Number of images, and of resamples.
    seed : int

    Returns
    -------
    array of int, of shape (count, images)
    """
    return np.random.default_rng(seed).integers(images, size=(count, images))


def resampled_means(values: NDArray[np.float64], draws: Resamples) -> NDArray[np.float64]:
    """Return the mean of each resample over the first axis, the images.

    Only one resample is in memory at a time.
    """
    return np.stack([values[images].mean(0) for images in draws])


def interval(samples: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the 95 % percentile interval along the first axis; NaN where a sample is NaN."""
    low, high = np.percentile(samples, (2.5, 97.5), axis=0)
    return low, high

"""Bootstrap intervals over images."""

from __future__ import annotations

import numpy as np


def resamples(images: int, count: int, seed: int) -> np.ndarray:
    """Bootstrap resamples of the images, of shape (count, images): indices with replacement."""
    return np.random.default_rng(seed).integers(images, size=(count, images))


def resampled_means(values: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Mean over the first axis, images, of each resample; one resample is in memory at a time."""
    return np.stack([values[images].mean(0) for images in draws])


def interval(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % percentile interval along the first axis, NaN where samples are not finite."""
    return tuple(np.percentile(samples, (2.5, 97.5), axis=0))

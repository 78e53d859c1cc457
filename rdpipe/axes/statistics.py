"""What the latents are like: by channel, by predicted scale, and against the Gaussian that codes them."""

from __future__ import annotations

import lazy_loader
import numpy as np

torch = lazy_loader.load("torch")

SCALE_EDGES = 2.0 ** np.arange(-5, 8.01, 0.25)
"""Edges of the bins of predicted scale, a quarter of an octave each; the outermost are open."""
CLASS_EDGES = np.array([0.25, 0.5, 1.0, 4.0])
"""Between the classes of predicted scale that have a histogram each."""
RESIDUAL_EDGES = np.linspace(-8, 8, 129)
"""Edges of the bins of r / sigma; the outermost are open."""
SUMS = ("count", "r2", "sigma2")
"""What :func:`calibration` sums up in each bin of predicted scale."""


def moments(scale, r) -> tuple[np.ndarray, np.ndarray]:
    """Second moment of the residuals and mean predicted variance, each of shape (channel,).

    Parameters
    ----------
    scale, r : Tensor of shape (channel, row, column)
        Predicted standard deviation, and residual.
    """
    return tuple(x.double().square().mean((1, 2)).numpy() for x in (r, scale))


def calibration(scale, r) -> np.ndarray:
    """Count, sum of r^2 and sum of sigma^2 (:data:`SUMS`) in each bin of predicted scale, of shape (3, bin)."""
    return np.stack(
        [_histogram(scale, SCALE_EDGES, weight) for weight in (None, r.square(), scale.square())]
    )


def residual_histograms(scale, r) -> np.ndarray:
    """Counts of r / sigma for each class of predicted scale, of shape (class, bin)."""
    classes = _bin(scale, CLASS_EDGES)
    bins = _bin(r / scale, RESIDUAL_EDGES[1:-1])
    count = len(CLASS_EDGES) + 1, len(RESIDUAL_EDGES) - 1
    return np.bincount(classes * count[1] + bins, minlength=count[0] * count[1]).reshape(count)


def _histogram(x, edges: np.ndarray, weight) -> np.ndarray:
    weight = None if weight is None else weight.double().flatten().numpy()
    return np.bincount(_bin(x, edges[1:-1]), weight, len(edges) - 1).astype(np.float64)


def _bin(x, inner: np.ndarray) -> np.ndarray:
    """Bin of each element, whose outermost bins are open."""
    return np.searchsorted(inner, x.double().flatten().numpy(), side="right")

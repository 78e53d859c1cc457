"""Statistics of the latents: by channel, by predicted scale, and against a Gaussian."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

SCALE_EDGES = 2.0 ** np.arange(-5, 8.01, 0.25)
"""Edges of the bins of predicted scale: quarters of an octave. The outermost bins are open."""
CLASS_EDGES = np.array([0.25, 0.5, 1.0, 4.0])
"""Edges between the classes of predicted scale that have a histogram each."""
RESIDUAL_EDGES = np.linspace(-8, 8, 129)
"""Edges of the bins of r / sigma. The outermost bins are open."""
SUMS = ("count", "r2", "sigma2")
"""What :func:`calibration` sums in each bin of predicted scale."""


def moments(
    scale: Tensor, r: Tensor, coded: Tensor
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the second moment of the residuals and the mean predicted variance of each channel.

    Parameters
    ----------
    scale, r : Tensor of shape (channel, row, column)
        Predicted standard deviation, and residual.
    coded : Tensor of bool, of the same shape
        Elements that are coded; the others do not count.

    Returns
    -------
    second_moment, predicted : array of shape (channel,)
        NaN where nothing is coded.
    """
    count = coded.sum((1, 2))
    second_moment, predicted = (
        (x.double().square().where(coded, 0.0).sum((1, 2)) / count).numpy() for x in (r, scale)
    )
    return second_moment, predicted


def calibration(scale: Tensor, r: Tensor) -> NDArray[np.float64]:
    """Return count, sum of r^2 and sum of sigma^2 in each bin of predicted scale.

    Parameters
    ----------
    scale, r : Tensor
        Of all elements that are coded, of any shape.

    Returns
    -------
    array of shape (3, bin)
        In the order of :data:`SUMS`.
    """
    return np.stack(
        [_histogram(scale, SCALE_EDGES, weight) for weight in (None, r.square(), scale.square())]
    )


def residual_histograms(scale: Tensor, r: Tensor) -> NDArray[np.int64]:
    """Return counts of r / sigma for each class of predicted scale, of shape (class, bin).

    The parameters are those of :func:`calibration`. 0 / 0 counts as 0.
    """
    classes = _bin(scale, CLASS_EDGES)
    normalized = (r / scale).where(r != 0, 0.0)
    bins = _bin(normalized, RESIDUAL_EDGES[1:-1])
    count = len(CLASS_EDGES) + 1, len(RESIDUAL_EDGES) - 1
    return np.bincount(classes * count[1] + bins, minlength=count[0] * count[1]).reshape(count)


def _histogram(x: Tensor, edges: NDArray[np.float64], weight: Tensor | None) -> NDArray[np.float64]:
    weights = None if weight is None else weight.double().flatten().numpy()
    return np.bincount(_bin(x, edges[1:-1]), weights, len(edges) - 1).astype(np.float64)


def _bin(x: Tensor, inner: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bin of each element; the outermost bins are open."""
    return np.searchsorted(inner, x.double().flatten().numpy(), side="right")

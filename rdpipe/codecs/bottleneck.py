"""The density of CompressAI's entropy bottleneck as a prior.

CompressAI is not imported: the bottleneck may be of a copy in another repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rdpipe.entropy.priors import Learned

if TYPE_CHECKING:
    from compressai.entropy_models import EntropyBottleneck

LEAST_LIKELIHOOD = 1e-9
"""Smallest likelihood of a latent in CompressAI's models."""
Moments = tuple[Tensor, Tensor]
"""Mean and scale of each channel, of shape (1, channel, 1, 1)."""


def bottleneck_prior(
    bottleneck: EntropyBottleneck, shape: Sequence[int], moments: Moments | None = None
) -> Learned:
    """Return the learned density of an entropy bottleneck as a prior.

    Its mean is the median of each channel, a point of the grid to which the bottleneck rounds:
    ``send`` needs no ``offset``. Code lengths are those of the bottleneck's likelihoods.

    Parameters
    ----------
    bottleneck : EntropyBottleneck
    shape : sequence of int
        Shape (1, channel, row, column) of the elements; the number of channels may be -1.
    moments : tuple of Tensor, optional
        From :func:`bottleneck_moments`, if it has been called before.

    Examples
    --------
    A hyper-latent, 64 pixels apart::

        prior = bottleneck_prior(self.entropy_bottleneck, (1, -1, size[0] // 64, size[1] // 64))
        z_hat = send("z", prior, z, side=True)
    """
    mean, scale = bottleneck_moments(bottleneck) if moments is None else moments
    logits = partial(_logits, bottleneck)
    return Learned(logits, mean.expand(*shape), scale.expand(*shape), LEAST_LIKELIHOOD)


def bottleneck_moments(bottleneck: EntropyBottleneck) -> Moments:
    """Return mean and scale of the Gaussian that replaces the learned density of each channel.

    The mean is the median, on which the rounding grid lies. The variance is the second moment of
    the density about the median, summed over a grid of 4096 cells between its outermost quantiles.
    """
    low, median, high = bottleneck.quantiles.detach().unbind(2)  # each (channel, 1)
    grid = low + (high - low) * torch.linspace(0, 1, 4097, device=low.device)
    cumulative = bottleneck._logits_cumulative(grid[:, None], stop_gradient=True).sigmoid()[:, 0]
    mass = cumulative.diff()
    center = (grid[:, 1:] + grid[:, :-1]) / 2 - median
    scale = ((mass * center.square()).sum(1) / mass.sum(1)).sqrt()
    return median[None, :, :, None], scale[None, :, None, None]


def _logits(bottleneck: EntropyBottleneck, x: Tensor) -> Tensor:
    """Return the logits of the cumulative distribution of x, of shape (n, channel, ...)."""
    by_channel = x.transpose(0, 1)
    flat = by_channel.reshape(len(by_channel), 1, -1)
    logits: Tensor = bottleneck._logits_cumulative(flat, stop_gradient=False)
    return logits.reshape(by_channel.shape).transpose(0, 1)

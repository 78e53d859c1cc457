"""The order in which elements are coded, and what the decoder has seen before each of them.

Both encoder and decoder walk through the elements in waves. A wave is a set of elements that do not
depend on each other: one of all elements, unless an estimator is causal. Causal ones see the past of
the quantizer in the same cell, never the clean latents (SCIENCE.md, section 7)::

    channel group 0                      group 1
    0 1 2 3 4 5 6 7        . . . .       the same order, with all of group 0 in the past
    3 4 5 6 7 8 9 .                      a wave: all positions with the same number; here radius 2,
    6 7 8 9 . . . .                      so a wave lags 3 columns behind the row above
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import lazy_loader

torch = lazy_loader.load("torch")


FLOOR = 1e-9
"""Least variance, squared latent units; it only keeps divisions finite.

A residual that small rounds to 0 at no cost and lies below any water level, so unlike a density neither
of the two rates explodes there.
"""
BLOCK = 2**15
"""Elements that are worked on at a time: about ten float64 arrays of them fit a core's own cache."""


class Past:
    """What the decoder has decoded so far of one image.

    Parameters
    ----------
    spread : Tensor of shape (channel, row, column)
        The variance that is known beforehand.
    radius : int
        How far estimators look, elements.
    noise : float or Tensor of shape (channel, 1)
        Variance of the error that the quantizer leaves where it sends something.

    Attributes
    ----------
    deviation : Tensor of shape (channel, row + 2 radius, column + 2 radius)
        y_hat minus the mean that was known beforehand; 0 where nothing is decoded yet.
    energy : Tensor of the same shape
        E r^2 given r_hat over the variance that was known beforehand: r_hat^2 and what the quantizer
        took off, the noise or the whole variance; 0 where nothing is decoded yet.
    done : Tensor of the same shape
        1 where an element is decoded, otherwise 0.
    """

    def __init__(self, spread, radius: int, noise=0.0):
        pad = (radius,) * 4
        self.radius, self.columns = radius, spread.shape[2]
        self.spread = torch.nn.functional.pad(spread.double(), pad, value=1.0)
        self.noise = torch.as_tensor(noise, dtype=self.spread.dtype).expand(len(spread), 1)
        self.width = self.spread.shape[2]
        self.deviation, self.energy, self.done = (torch.zeros_like(self.spread) for _ in range(3))

    def move(self, positions) -> None:
        """Go to the positions of a wave."""
        row, column = positions // self.columns, positions % self.columns
        self.here = (row + self.radius) * self.width + column + self.radius

    def at(self, array, channels: slice, offsets=((0, 0),)):
        """An array at (row, column) offsets from here, of shape (channel, position, offset)."""
        shift = torch.tensor([row * self.width + column for row, column in offsets])
        return array.view(len(array), -1)[channels][:, self.here[:, None] + shift]

    def put(self, channels: slice, deviation, residual) -> None:
        """Note what has been decoded here."""
        spread = self.spread.flatten(1)[channels, self.here]
        energy = (residual**2 + spread.minimum(self.noise[channels])) / spread
        for array, value in ((self.deviation, deviation), (self.energy, energy), (self.done, 1.0)):
            array.view(len(array), -1)[channels, self.here] = value


def waves(shape, groups: int, radius: int) -> Iterator[tuple[slice, torch.Tensor]]:
    """Channels and positions of each wave, in coding order.

    Parameters
    ----------
    shape : tuple of int
        (channel, row, column).
    groups : int
        Groups of channels, coded one after the other.
    radius : int
        How far an estimator looks; 0: everything is one wave.

    Yields
    ------
    channels : slice
    positions : Tensor of int64, of shape (position,)
        ``row * columns + column``.
    """
    channels, rows, columns = shape
    index = torch.arange(rows * columns)
    if radius == 0:
        spatial = [index]
    else:
        number = index % columns + (radius + 1) * (index // columns)
        order = torch.argsort(number, stable=True)
        spatial = torch.split(order, torch.bincount(number).tolist())
    size = -(-channels // groups)
    for first in range(0, channels, size):
        for positions in spatial:
            if len(positions):
                yield slice(first, min(first + size, channels)), positions


def blocks(array) -> Iterator[slice]:
    """Channels of an array of shape (channel, position), a few at a time, so that they stay in the cache."""
    size = max(1, BLOCK // array.shape[1])
    return (slice(first, first + size) for first in range(0, len(array), size))


def traverse(
    mean, variance, prediction, spread, step: Callable, noise=0.0, elementwise: bool = False
):
    """Walk through the elements as encoder and decoder both do.

    Parameters
    ----------
    mean, variance : estimators
        Of the axes; a mean may bring an order of its own.
    prediction, spread : Tensor of shape (channel, row, column)
        Mean and variance as far as they are known beforehand; a variance is at least ``FLOOR``.
    step : callable
        ``step(channels, positions, mu, v)`` with mu and v of shape (channel, position) returns the
        decoded residual of the same shape.
    noise : float or Tensor of shape (channel, 1)
        Variance of the error that the quantizer leaves.
    elementwise : bool
        Whether ``step`` does to each element what it would do to it alone; what is not causal then goes
        through it in blocks.

    Returns
    -------
    Tensor of shape (channel, row, column)
        y_hat.
    """
    shape = prediction.shape
    causal = [part for part in (mean, variance) if part.causal]
    radius = max((part.radius for part in causal), default=0)
    if not causal:  # one wave
        y_hat, everywhere = torch.empty_like(prediction).flatten(1), slice(None)
        prediction, spread = prediction.flatten(1), spread.flatten(1)
        for channels in blocks(y_hat) if elementwise else [everywhere]:
            v = spread[channels].clamp(min=FLOOR)
            residual = step(channels, everywhere, prediction[channels], v)
            torch.add(prediction[channels], residual, out=y_hat[channels])
        return y_hat.view(shape)
    spread = spread.clamp(min=FLOOR)
    past = Past(spread, radius, noise)
    y_hat = torch.empty(shape, dtype=prediction.dtype)
    prediction, spread = prediction.flatten(1), spread.flatten(1)
    groups = max((part.groups for part in causal), default=1)
    order = mean.order(shape) if hasattr(mean, "order") else waves(shape, groups, radius)
    for channels, positions in order:
        past.move(positions)
        known, v = prediction[channels][:, positions], spread[channels][:, positions]
        mu = mean.at(past, known, channels, positions) if mean.causal else known
        v = variance.at(past, v, channels, positions) if variance.causal else v
        residual = step(channels, positions, mu, v)
        y_hat.flatten(1)[channels, positions] = mu + residual
        past.put(channels, mu - known + residual, residual)
    return y_hat

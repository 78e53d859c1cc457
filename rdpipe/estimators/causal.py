"""The order in which elements are coded, and what the decoder knows before each of them.

The encoder and the decoder visit the elements in waves. A wave is a set of elements that do not
depend on each other: all elements at once, unless an estimator is causal. Causal estimators see the
past of the quantizer in the same cell, never the unquantized latents
(``docs/explanation/science.md``, section 8)::

    channel group 0                      group 1
    0 1 2 3 4 5 6 7        . . . .       the same order; all of group 0 is in the past
    3 4 5 6 7 8 9 .                      a wave: all positions with the same number; radius 2, so a
    6 7 8 9 . . . .                      wave lags 3 columns behind the row above
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import lazy_loader

from rdpipe.core.errors import InputError
from rdpipe.core.validation import check_finite, check_tensor, check_variances
from rdpipe.estimators.base import CausalEstimator, Mean, Variance

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy_loader.load("torch")

FLOOR = 1e-9
"""Smallest variance, squared latent units. It prevents division by zero.

Elements with such a variance round to 0 at no cost and lie below any water level.
"""
LEAST_PREDICTION = 1e-30
"""Smallest variance that a causal estimator predicts, squared latent units."""
BLOCK = 2**15
"""Elements that are processed together: ten float64 arrays of them fit the cache of a core."""


class CausalContext:
    """The decoded part of one image.

    Parameters
    ----------
    variance : Tensor of shape (channel, row, column)
        Variance that is known before coding begins.
    radius : int
        Largest distance at which estimators look, elements.
    noise_variance : float or Tensor of shape (channel, 1)
        Variance of the error that the quantizer leaves where it transmits something.

    Attributes
    ----------
    deviation : Tensor of shape (channel, row + 2 radius, column + 2 radius)
        y_hat minus the initial mean; 0 where nothing is decoded yet.
    normalized_energy : Tensor of the same shape
        E[r^2 | r_hat] over the initial variance: r_hat^2 plus what the quantizer removed, which is
        the noise variance or the whole variance; 0 where nothing is decoded yet.
    decoded : Tensor of the same shape
        1 where an element is decoded, otherwise 0.
    """

    def __init__(self, variance: Tensor, radius: int, noise_variance: float | Tensor = 0.0):
        pad = (radius,) * 4
        self.radius, self.columns = radius, variance.shape[2]
        self.variance = torch.nn.functional.pad(variance.double(), pad, value=1.0)
        noise = torch.as_tensor(noise_variance, dtype=self.variance.dtype)
        self.noise_variance = noise.expand(len(variance), 1)
        self.width = self.variance.shape[2]
        self.deviation = torch.zeros_like(self.variance)
        self.normalized_energy = torch.zeros_like(self.variance)
        self.decoded = torch.zeros_like(self.variance)

    def move_to(self, positions: Tensor) -> None:
        """Move to the positions of a wave."""
        row, column = positions // self.columns, positions % self.columns
        self.current = (row + self.radius) * self.width + column + self.radius

    def gather(
        self,
        array: Tensor,
        channels: slice,
        offsets: Sequence[tuple[int, int]] = ((0, 0),),
    ) -> Tensor:
        """Return an array at (row, column) offsets from the current positions.

        Returns
        -------
        Tensor of shape (channel, position, offset)
        """
        shift = torch.tensor([row * self.width + column for row, column in offsets])
        return array.view(len(array), -1)[channels][:, self.current[:, None] + shift]

    def update(self, channels: slice, deviation: Tensor, residual: Tensor | float) -> None:
        """Record what is decoded at the current positions."""
        variance = self.variance.flatten(1)[channels, self.current]
        energy = (residual**2 + variance.minimum(self.noise_variance[channels])) / variance
        updates = (
            (self.deviation, deviation),
            (self.normalized_energy, energy),
            (self.decoded, 1.0),
        )
        for array, value in updates:
            array.view(len(array), -1)[channels, self.current] = value


def waves(shape: Sequence[int], groups: int, radius: int) -> Iterator[tuple[slice, Tensor]]:
    """Yield channels and positions of each wave, in coding order.

    Parameters
    ----------
    shape : sequence of int
        (channel, row, column).
    groups : int
        Number of channel groups, coded one after the other.
    radius : int
        Largest distance at which an estimator looks; 0 makes each channel group one wave.

    Yields
    ------
    channels : slice
    positions : Tensor of int64, of shape (position,)
        ``row * columns + column``.
    """
    channels, rows, columns = shape
    index = torch.arange(rows * columns)
    if radius == 0:
        spatial: Sequence[Tensor] = [index]
    else:
        number = index % columns + (radius + 1) * (index // columns)
        order = torch.argsort(number, stable=True)
        spatial = torch.split(order, torch.bincount(number).tolist())
    size = -(-channels // groups)
    for first in range(0, channels, size):
        for positions in spatial:
            if len(positions):
                yield slice(first, min(first + size, channels)), positions


def channel_blocks(array: Tensor) -> Iterator[slice]:
    """Yield slices of channels of an array of shape (channel, position) that fit the cache."""
    size = max(1, BLOCK // array.shape[1])
    return (slice(first, first + size) for first in range(0, len(array), size))


def traverse(
    mean: Mean | None,
    variance: Variance | None,
    initial_mean: Tensor,
    initial_variance: Tensor,
    code_step: Callable[[slice, slice | Tensor, Tensor, Tensor], Tensor],
    noise_variance: float | Tensor = 0.0,
    elementwise: bool = False,
) -> Tensor:
    """Visit the elements in the order of the encoder and the decoder.

    Parameters
    ----------
    mean, variance : estimators, optional
        Only causal ones matter here.
    initial_mean, initial_variance : Tensor of shape (channel, row, column)
        Mean and variance that are known before coding begins.
    code_step : callable
        ``code_step(channels, positions, mu, v)`` with mu and v of shape (channel, position) returns
        the decoded residual of the same shape.
    noise_variance : float or Tensor of shape (channel, 1)
        Variance of the error that the quantizer leaves.
    elementwise : bool
        Whether ``code_step`` treats each element alone. If nothing is causal, it is then called
        with blocks of channels that fit the cache.

    Returns
    -------
    Tensor of shape (channel, row, column)
        y_hat.

    Raises
    ------
    InputError
        If a causal estimator predicts something that is not usable, or its order does not visit
        every element exactly once.
    """
    shape = initial_mean.shape
    causal_mean, causal_variance = _as_causal(mean), _as_causal(variance)
    causal = [part for part in (causal_mean, causal_variance) if part is not None]
    if not causal:  # one wave
        y_hat, everywhere = torch.empty_like(initial_mean).flatten(1), slice(None)
        initial_mean, initial_variance = initial_mean.flatten(1), initial_variance.flatten(1)
        for channels in channel_blocks(y_hat) if elementwise else [everywhere]:
            v = initial_variance[channels].clamp(min=FLOOR)
            residual = code_step(channels, everywhere, initial_mean[channels], v)
            torch.add(initial_mean[channels], residual, out=y_hat[channels])
        return y_hat.view(shape)
    initial_variance = initial_variance.clamp(min=FLOOR)
    radius = max(part.radius for part in causal)
    context = CausalContext(initial_variance, radius, noise_variance)
    y_hat = torch.empty(shape, dtype=initial_mean.dtype)
    initial_mean, initial_variance = initial_mean.flatten(1), initial_variance.flatten(1)
    orders = [part.decoding_order(shape) for part in causal]
    default_order = waves(shape, max(part.groups for part in causal), radius)
    order = next((order for order in orders if order is not None), default_order)
    visits = 0
    for channels, positions in order:
        context.move_to(positions)
        known, v = initial_mean[channels][:, positions], initial_variance[channels][:, positions]
        mu = known
        if causal_mean is not None:
            label = f"{type(causal_mean).__name__}.predict"
            prediction = causal_mean.predict(context, known, channels, positions)
            mu = check_finite(label, check_tensor(label, prediction, known)).to(known.dtype)
        if causal_variance is not None:
            label = f"{type(causal_variance).__name__}.predict"
            prediction = causal_variance.predict(context, v, channels, positions)
            v = check_variances(label, check_tensor(label, prediction, v)).to(v.dtype)
            v = v.clamp(min=LEAST_PREDICTION)
        residual = code_step(channels, positions, mu, v)
        y_hat.flatten(1)[channels, positions] = mu + residual
        context.update(channels, mu - known + residual, residual)
        visits += known.numel()
    if visits != y_hat.numel() or context.decoded.sum() != visits:
        raise InputError(
            f"the decoding order visits {visits} elements, {int(context.decoded.sum())} of them"
            f" different; expected each of the {y_hat.numel()} elements once"
        )
    return y_hat


def _as_causal(part: object) -> CausalEstimator | None:
    return part if isinstance(part, CausalEstimator) else None


def residuals(
    mean: Mean, y: Tensor, initial_mean: Tensor, step: float = 1.0, coded: Tensor | None = None
) -> Tensor:
    """Return y minus its mean; a causal mean sees the past that rounding leaves.

    Elements that are not coded have the residual 0.

    Parameters
    ----------
    mean : Mean
    y, initial_mean : Tensor of shape (channel, row, column), float64
        Latents, contiguous, and their mean before coding begins.
    step : float
        Step of the rounding, latent units.
    coded : Tensor of bool, of the same shape, optional
        Elements that are coded. Default: all.
    """
    if not isinstance(mean, CausalEstimator):
        r = y - initial_mean
        return r if coded is None else torch.where(coded, r, 0.0)
    r = torch.empty(y.shape, dtype=y.dtype)

    def round_step(channels: slice, positions: slice | Tensor, mu: Tensor, v: Tensor) -> Tensor:
        exact = y.flatten(1)[channels, positions] - mu
        if coded is not None:
            exact = torch.where(coded.flatten(1)[channels, positions], exact, 0.0)
        r.flatten(1)[channels, positions] = exact
        return step * (exact / step).round()

    traverse(mean, None, initial_mean, torch.ones_like(y), round_step)
    return r


def with_typical(residual: Tensor, coded: Tensor | None) -> Tensor:
    """Return residuals with the root mean square of their channel where nothing is coded.

    Second moments over elements, some of which are not coded, are then those of what is coded.

    Parameters
    ----------
    residual : Tensor of shape (channel, row, column)
        0 where nothing is coded.
    coded : Tensor of bool, of the same shape, optional
    """
    if coded is None:
        return residual
    count = coded.sum((1, 2), keepdim=True).clamp(min=1)
    typical = (residual.square().sum((1, 2), keepdim=True) / count).sqrt()
    return torch.where(coded, residual, typical)

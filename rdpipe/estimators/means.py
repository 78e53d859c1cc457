"""Means: the expected value of each latent.

See ``docs/explanation/science.md``, section 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

import lazy_loader
import numpy as np

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import Information
from rdpipe.core.rng import generator
from rdpipe.estimators.base import CausalEstimator, FittedEstimator, Mean, State

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from rdpipe.core.latents import Latents
    from rdpipe.estimators.causal import CausalContext
else:
    torch = lazy_loader.load("torch")


class ZeroMean(Mean):
    """No prediction: mu = 0."""

    information = Information.DECODABLE
    uses_side = False
    uses_context = False

    def __call__(self, latents: Latents) -> Tensor:
        """Return zeros of shape (channel, row, column)."""
        return torch.zeros_like(latents.y)


class CodecMean(Mean):
    """The codec's own mean, its context model included."""

    information = Information.DECODABLE

    def __call__(self, latents: Latents) -> Tensor:
        """Return the codec's mean, of shape (channel, row, column)."""
        return latents.mean

    @property
    def is_codec(self) -> bool:
        """Whether the estimate is inherited unchanged."""
        unchanged = type(self).__call__ is CodecMean.__call__
        return unchanged and not isinstance(self, CausalEstimator)


class HyperMean(Mean):
    """The codec's mean without its context model; ``latents.mean`` if it has no such model."""

    information = Information.DECODABLE
    uses_context = False

    def __call__(self, latents: Latents) -> Tensor:
        """Return the mean without context, of shape (channel, row, column)."""
        return latents.mean if latents.hyper is None else latents.hyper


class LinearCausalMean(Mean, CausalEstimator, FittedEstimator):
    """The codec's mean, corrected linearly by the deviations of decoded neighbors.

    mu_i = m_i + sum_k w_k (y_hat_k - m_k), where m is the codec's mean. The sum runs over six
    neighbors in the same channel (two to the left, three above, one two rows above) and over all
    channels of the groups decoded before, at the same position. With m = 0 this is linear
    prediction.

    The weights, one set per channel, minimize the regularized sum of squared errors over sigma^2 +
    1/12 on the calibration images: the code length of rounded residuals under the codec's scale
    sigma, up to a constant. The neighbors there are latents rounded around the codec's mean.

    Parameters
    ----------
    groups : int
        Number of channel groups, coded one after the other.
    ridge : float
        Regularization: added to the diagonal of the normal equations, relative to the sum of the
        weights of the squared errors, squared latent units.
    """

    information = Information.DECODABLE
    radius = 2
    neighbors = ((0, -1), (0, -2), (-1, -1), (-1, 0), (-1, 1), (-2, 0))
    """(row, column) offsets."""

    def __init__(self, groups: int = 4, ridge: float = 1e-4):
        if not (isinstance(groups, int) and groups > 0):
            raise InputError(f"linear-causal: groups is {groups!r}; expected 1, 2, 3, ...")
        self.groups, self.ridge = groups, ridge
        self.weights: dict[str, Tensor] = {}

    def __call__(self, latents: Latents) -> Tensor:
        """Return the mean before anything is decoded, of shape (channel, row, column)."""
        return latents.mean

    def predict(
        self, context: CausalContext, initial: Tensor, channels: slice, positions: Tensor
    ) -> Tensor:
        """Return the mean given the decoded elements, of shape (channel, position)."""
        space = context.gather(context.deviation, channels, self.neighbors)
        correction = torch.einsum("cpk,ck->cp", space, self.weights["space"][channels])
        if channels.start:
            before = context.gather(context.deviation, slice(0, channels.start))[..., 0]
            correction += self.weights["channel"][channels, : channels.start] @ before
        return initial + correction

    def fit(self, images: Sequence[Latents], means: Mapping[str, Mean] | None = None) -> Self:
        """Fit the weights by least squares."""
        from rdpipe.estimators.causal import CausalContext, waves

        gram: dict[int, tuple[Tensor, Tensor, float]] = {}
        for latents in images:
            r = codec_residual(latents).double()
            weight = 1 / (latents.scale.double().square() + 1 / 12)
            if latents.coded is not None:
                weight *= latents.coded
            context = CausalContext(torch.ones_like(r), self.radius)
            everything = slice(0, len(r))
            positions = torch.arange(r[0].numel())
            context.move_to(positions)
            context.update(everything, r.round().flatten(1), 0.0)
            space = context.gather(context.deviation, everything, self.neighbors)
            for channels, _ in waves(r.shape, self.groups, 0):
                before = context.gather(context.deviation, slice(0, channels.start))[..., 0]
                for c in range(channels.start, channels.stop):
                    features = torch.cat([space[c].T, before])
                    matrix, right, total = gram.get(c, (0.0, 0.0, 0.0))
                    weighted = features * weight[c].flatten()
                    gram[c] = (
                        matrix + weighted @ features.T,
                        right + weighted @ r[c].flatten(),
                        total + weight[c].sum().item(),
                    )
        return self.load_state(self._solve(gram))

    def _solve(self, gram: dict[int, tuple[Tensor, Tensor, float]]) -> State:
        size = len(self.neighbors)
        space, channel = np.zeros((len(gram), size)), np.zeros((len(gram), len(gram)))
        for c, (matrix, right, total) in gram.items():
            ridge = self.ridge * total * torch.eye(len(matrix), dtype=matrix.dtype)
            weights = torch.linalg.solve(matrix + ridge, right).numpy()
            space[c], channel[c, : len(weights) - size] = weights[:size], weights[size:]
        return {"space": space, "channel": channel}

    def state(self) -> State:
        """Return the weights.

        They are ``space`` of shape (channel, neighbor) and ``channel`` of shape (channel, channel).
        """
        return {name: array.numpy() for name, array in self.weights.items()}

    def load_state(self, state: State) -> Self:
        """Set the weights."""
        self.weights = {name: torch.from_numpy(array) for name, array in state.items()}
        return self


def codec_residual(latents: Latents) -> Tensor:
    """Return the latents minus the codec's own mean; 0 where nothing is coded."""
    r = latents.y - latents.mean
    return r if latents.coded is None else torch.where(latents.coded, r, 0.0)


class AccuracyMean(Mean):
    """A mean of a given accuracy: its correlation with the latents is rho = percent / 100.

    mu = rho^2 y + rho sqrt(1 - rho^2) sigma n, where n is standard normal and sigma^2 is the second
    moment of the channel. The error has the second moment (1 - rho^2) E y^2 and is uncorrelated
    with mu, as for every optimal predictor. At rho = 0 it is ``zero``. Use it to estimate what a
    better mean would save. It sees the latents being coded, so it is a genie.

    Parameters
    ----------
    percent : int
        Accuracy 100 rho, from 0 to 99.
    seed : int
        Seed of the noise.
    """

    information = Information.GENIE
    uses_side = False
    uses_context = False

    def __init__(self, percent: int, seed: int = 0):
        if not (isinstance(percent, (int, float)) and 0 <= percent <= 99):
            raise InputError(f"accuracy: percent is {percent!r}; expected 0 to 99")
        self.rho, self.seed = percent / 100, seed

    def __call__(self, latents: Latents) -> Tensor:
        """Return the mean of each element, of shape (channel, row, column)."""
        y = latents.y
        noise = torch.randn(
            y.shape, generator=generator("accuracy", self.seed, latents.name), dtype=y.dtype
        )
        sigma = y.square().mean((1, 2), keepdim=True).sqrt()
        rho = self.rho
        return rho**2 * y + rho * math.sqrt(1 - rho**2) * sigma * noise.to(y.device)

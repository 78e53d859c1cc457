"""Means: what the decoder expects each latent to be (the context axis, SCIENCE.md 2.1).

``mean(latents)`` is what is known before coding begins. A causal mean adds what it learns from the
elements decoded before, ``at(past, known, channels, positions)``; a fitted one has ``fit`` and
``use``.
"""

from __future__ import annotations

import math

import lazy_loader
import numpy as np

from rdpipe.errors import InputError
from rdpipe.random import generator

torch = lazy_loader.load("torch")


class Mean:
    """Defaults of every mean; ``uses_side`` and ``sees_context`` as for variances."""

    information = "decodable"
    uses_side = True
    sees_context = False
    causal = False
    fitted = False


class Zero(Mean):
    """No prediction at all: mu = 0."""

    uses_side = False

    def __call__(self, latents):
        """Mean of each element, of shape (channel, row, column)."""
        return torch.zeros_like(latents.y)


class Codec(Mean):
    """The codec's own mean, its context model included."""

    sees_context = True

    def __call__(self, latents):
        """Mean of each element, of shape (channel, row, column)."""
        return latents.mean


class Hyper(Mean):
    """The codec's mean without its context model; its own mean where it has no such model."""

    def __call__(self, latents):
        """Mean of each element, of shape (channel, row, column)."""
        return latents.mean if latents.hyper is None else latents.hyper


class LinearCausal(Mean):
    """The codec's mean, corrected linearly by how decoded neighbours deviated from theirs.

    mu_i = m_i + sum_k w_k (y_hat_k - m_k), m the codec's mean; k runs over six neighbours in the
    same channel (two to the left, three above, one two rows above) and over all channels of the
    groups decoded before, at the same position. With m = 0 it is linear prediction proper.

    The weights, one set for each channel, are those of least squares on the calibration images,
    whose neighbours are taken as rounding with the codec's mean leaves them.

    Parameters
    ----------
    groups : int
        Groups of channels, coded one after the other.
    ridge : float
        Added to the diagonal of the normal equations, per element, in squared latent units.
    """

    sees_context = True
    causal = True
    fitted = True
    radius = 2
    neighbours = ((0, -1), (0, -2), (-1, -1), (-1, 0), (-1, 1), (-2, 0))

    def __init__(self, groups: int = 4, ridge: float = 1e-4):
        if not (isinstance(groups, int) and groups > 0):
            raise InputError(f"linear-causal groups {groups!r}: allowed are 1, 2, 3, ...")
        self.groups, self.ridge, self.weights = groups, ridge, None

    def __call__(self, latents):
        """Mean of each element before anything is decoded, of shape (channel, row, column)."""
        return latents.mean

    def at(self, past, known, channels, positions):
        """Mean given the past, of shape (channel, position)."""
        space = past.at(past.deviation, channels, self.neighbours)
        correction = torch.einsum("cpk,ck->cp", space, self.weights["space"][channels])
        if channels.start:
            before = past.at(past.deviation, slice(0, channels.start))[..., 0]
            correction += self.weights["channel"][channels, : channels.start] @ before
        return known + correction

    def fit(self, images) -> dict[str, np.ndarray]:
        """Weights ``space`` of shape (channel, neighbour) and ``channel`` of shape (channel, channel)."""
        from rdpipe.axes.causal import Past, waves

        gram, count = {}, 0
        for latents in images:
            r = (latents.y - latents.mean).double()
            past, everything = Past(torch.ones_like(r), self.radius), slice(0, len(r))
            positions = torch.arange(r[0].numel())
            past.move(positions)
            past.put(everything, r.round().flatten(1), 0.0)
            space = past.at(past.deviation, everything, self.neighbours)
            for channels, _ in waves(r.shape, self.groups, 0):
                before = past.at(past.deviation, slice(0, channels.start))[..., 0]
                for c in range(channels.start, channels.stop):
                    features = torch.cat([space[c].T, before])
                    left, right = gram.get(c, (0.0, 0.0))
                    gram[c] = left + features @ features.T, right + features @ r[c].flatten()
            count += positions.numel()
        return self._solve(gram, count)

    def _solve(self, gram: dict, count: int) -> dict[str, np.ndarray]:
        size = len(self.neighbours)
        space, channel = np.zeros((len(gram), size)), np.zeros((len(gram), len(gram)))
        for c, (left, right) in gram.items():
            ridge = self.ridge * count * torch.eye(len(left), dtype=left.dtype)
            weights = torch.linalg.solve(left + ridge, right).numpy()
            space[c], channel[c, : len(weights) - size] = weights[:size], weights[size:]
        return {"space": space, "channel": channel}

    def use(self, fit: dict[str, np.ndarray]) -> None:
        """Take the weights that :meth:`fit` found."""
        self.weights = {name: torch.from_numpy(array) for name, array in fit.items()}


class Accuracy(Mean):
    """A mean as accurate as one likes: correlated with the latents by rho = percent / 100.

    mu = rho^2 y + rho sqrt(1 - rho^2) sigma n with n standard normal and sigma^2 the second moment
    of the channel. It has E (y - mu)^2 = (1 - rho^2) E y^2 and, like every best predictor, an error
    that is uncorrelated with it; at rho = 0 it is ``zero``. What would such a mean save? It looks
    at the latents being coded, so it is a genie.

    Parameters
    ----------
    percent : int
        Accuracy 100 rho, from 0 to 99.
    seed : int
        Seed of the noise.
    """

    information = "genie"
    uses_side = False

    def __init__(self, percent: int, seed: int = 0):
        if not 0 <= percent <= 99:
            raise InputError(f"accuracy {percent}: allowed are 0 to 99 (per cent)")
        self.rho, self.seed = percent / 100, seed

    def __call__(self, latents):
        """Mean of each element, of shape (channel, row, column)."""
        y = latents.y
        noise = torch.randn(
            y.shape, generator=generator("accuracy", self.seed, latents.name), dtype=y.dtype
        )
        sigma = y.square().mean((1, 2), keepdim=True).sqrt()
        rho = self.rho
        return rho**2 * y + rho * math.sqrt(1 - rho**2) * sigma * noise.to(y.device)

"""Means: what the decoder expects each latent to be (the context axis, SCIENCE.md 2.1)."""

from __future__ import annotations

import math

import lazy_loader

from rdpipe.errors import InputError
from rdpipe.random import generator

torch = lazy_loader.load("torch")


class Zero:
    """No prediction at all: mu = 0."""

    information = "decodable"
    uses_side = False

    def __call__(self, latents):
        """Mean of each element, of shape (channel, row, column)."""
        return torch.zeros_like(latents.y)


class Codec:
    """The codec's own mean, its context model included."""

    information = "decodable"
    uses_side = True

    def __call__(self, latents):
        """Mean of each element, of shape (channel, row, column)."""
        return latents.mean


class Accuracy:
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
        noise = torch.randn(y.shape, generator=generator(self.seed, latents.name), dtype=y.dtype)
        sigma = y.square().mean((1, 2), keepdim=True).sqrt()
        rho = self.rho
        return rho**2 * y + rho * math.sqrt(1 - rho**2) * sigma * noise.to(y.device)

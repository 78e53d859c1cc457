"""Quantizers: what is sent of a residual, at what rate and distortion (SCIENCE.md, section 2.3).

Each works on residuals ``r`` = y - mu and variances ``v`` of one shape, at a ``level``: the step of
rounding, the water level theta of the test channel. ``level`` None means that it is to be solved
for, so that the distortion equals that of rounding.
"""

from __future__ import annotations

import math

import lazy_loader

torch = lazy_loader.load("torch")


class Rounding:
    """Uniform mid-tread rounding to multiples of the step, midpoint reconstruction, ideal code.

    Parameters
    ----------
    step : float
        Quantization step, in units of the latents.
    """

    information = "decodable"
    realisable = True

    def __init__(self, step: float = 1.0):
        self.level = step

    def rate(self, r, v, step):
        """Code length of each index under N(0, v): -log2 [Phi((q+s/2)/sigma) - Phi((q-s/2)/sigma)].

        Bits, of the shape of ``r``; in the log domain, so exact where probabilities underflow.
        """
        q, sigma = self.reconstruct(r, v, step).abs(), v.sqrt()
        upper = torch.special.log_ndtr((step / 2 - q) / sigma)
        lower = torch.special.log_ndtr((-step / 2 - q) / sigma)
        return -(upper + torch.log1p(-torch.exp(lower - upper))) / math.log(2)

    def distortion(self, r, v, step):
        """Squared error of each element, of the shape of ``r``."""
        return (r - self.reconstruct(r, v, step)).square()

    def reconstruct(self, r, v, step, noise=None):
        """The decoder's residual."""
        return step * (r / step).round()


class TestChannel:
    """The Gaussian test channel of reverse water-filling at level theta, a = max(0, 1 - theta/v).

    It sends a r + sqrt(theta a) n; the decoder expects N(0, v - theta). The rate is the divergence
    of the one from the other, which with a decodable variance bounds the rate-distortion function
    from above whatever the true distribution of r (Cover & Thomas, section 10.3; SCIENCE.md, 2.3).

    Parameters
    ----------
    step : float
        Step of the rounding whose distortion it is to have.
    """

    information = "decodable"
    realisable = False
    level = None

    def __init__(self, step: float = 1.0):
        self.step = step

    def rate(self, r, v, theta):
        """KL divergence of each element, bits: 1/2 [ln(v/theta) + (theta + a r^2)/v - 1] / ln 2.

        Zero where v <= theta. Of the shape of ``r``.
        """
        a = (1 - theta / v).clamp(min=0)
        nats = 0.5 * ((v / theta).log() + (theta + a * r.square()) / v - 1)
        return torch.where(a > 0, nats, 0.0) / math.log(2)

    def distortion(self, r, v, theta):
        """Expected squared error of each element, (1-a)^2 r^2 + theta a."""
        a = (1 - theta / v).clamp(min=0)
        return (1 - a).square() * r.square() + theta * a

    def reconstruct(self, r, v, theta, noise):
        """The decoder's residual, given standard normal ``noise`` of the shape of ``r``."""
        a = (1 - theta / v).clamp(min=0)
        return a * r + (theta * a).sqrt() * noise

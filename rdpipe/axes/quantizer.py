"""Quantizers: what is sent of a residual, at what rate and distortion (SCIENCE.md, section 2.3).

Each works on residuals ``r`` = y - mu and variances ``v`` of shape (channel, ...), at a ``level``: the
step of rounding, the water level theta of the test channel. ``level`` None means that it is to be
solved for, so that the distortion equals that of rounding. Random ones get standard normal ``noise``
of the shape of ``r``, which a decoder can draw again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import lazy_loader

torch = lazy_loader.load("torch")
if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Coded:
    """What a quantizer made of some residuals.

    Parameters
    ----------
    bits : Tensor
        Code length of each element, bit; expected over the noise for the test channel.
    distortion : Tensor
        Squared error of each element; expected over the noise for the test channel.
    residual : Tensor
        What the decoder has in place of r.
    """

    bits: Tensor
    distortion: Tensor
    residual: Tensor


class Scalar:
    """A quantizer that sends an index of each element: ``index``, its ``rate`` and its ``point``."""

    information = "decodable"
    realisable = True

    def __init__(self, step: float = 1.0):
        self.level = step

    def code(self, r, v, step, noise=None) -> Coded:
        """Quantize residuals of any shape."""
        k = self.index(r, v, step, noise)
        point = self.point(k, v, step, noise)
        return Coded(self.rate(k, v, step, noise), (r - point).square(), point)


def interval_bits(centre, v, width):
    """-log2 of the probability of an interval under N(0, v).

    In the log domain on the nearer tail, so exact where probabilities underflow.

    Parameters
    ----------
    centre, v : Tensor
        Middle of each interval, and variance.
    width : float or Tensor
    """
    sigma, centre = v.sqrt(), centre.abs()
    upper = torch.special.log_ndtr((width / 2 - centre) / sigma)
    lower = torch.special.log_ndtr((-width / 2 - centre) / sigma)
    return -(upper + torch.log1p(-torch.exp(lower - upper))) / math.log(2)


class Rounding(Scalar):
    """Uniform mid-tread rounding to multiples of the step, midpoint reconstruction, ideal code.

    The code length of index k is -log2 [Phi((k+1/2) step/sigma) - Phi((k-1/2) step/sigma)].

    Parameters
    ----------
    step : float
        Quantization step, in units of the latents.
    """

    def index(self, r, v, step, noise):
        return (r / step).round()

    def rate(self, k, v, step, noise):
        return interval_bits(k * step, v, step)

    def point(self, k, v, step, noise):
        return k * step


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

    def code(self, r, v, theta, noise=None) -> Coded:
        """Send residuals through the channel; ``theta`` is a number or broadcasts to ``r``.

        The rate is KL = 1/2 [ln(v/theta) + (theta + a r^2)/v - 1] / ln 2 bit, the expected squared
        error (1-a)^2 r^2 + theta a; nothing is sent where v <= theta. Without ``noise`` the
        residual is its expectation a r.
        """
        a = (1 - theta / v).clamp(min=0)
        nats = 0.5 * ((v / theta).log() + (theta + a * r.square()) / v - 1)
        bits = torch.where(a > 0, nats, 0.0) / math.log(2)
        distortion = (1 - a).square() * r.square() + theta * a
        sent = a * r if noise is None else a * r + (theta * a).sqrt() * noise
        return Coded(bits, distortion, sent)

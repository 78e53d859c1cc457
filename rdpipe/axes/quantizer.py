"""Quantizers: what is sent of a residual, at what rate and distortion (SCIENCE.md, section 2.3).

Each works on residuals ``r`` = y - mu and variances ``v`` of shape (channel, ...), at a ``level``: the
step of rounding, the water level theta of the test channel. ``level`` None means that it is to be
solved for, so that the distortion equals that of rounding. Random ones get standard normal ``noise``
of the shape of ``r``, which a decoder can draw again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import lazy_loader
import numpy as np

from rdpipe.axes import stream
from rdpipe.axes.stream import interval_bits
from rdpipe.errors import InputError

scipy = lazy_loader.load("scipy")
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
    """A quantizer that sends an index of each element.

    ``index`` chooses it, ``rate`` is its code length, ``point`` what the decoder makes of it;
    ``write_index`` and ``read_index`` are the code itself.

    Parameters
    ----------
    step : float
        Quantization step, in units of the latents.
    """

    information = "decodable"
    realisable = True

    def __init__(self, step: float = 1.0):
        if not step > 0:
            raise InputError(f"step {step!r}: allowed are positive numbers")
        self.level = step

    def code(self, r, v, step, noise=None) -> Coded:
        """Quantize residuals of any shape."""
        k = self.index(r, v, step, noise)
        point = self.point(k, v, step, noise)
        return Coded(self.rate(k, v, step, noise), (r - point).square(), point)

    def write(self, coder, r, v, step, noise):
        """Write residuals to a range encoder; returns what the decoder will have."""
        k = self.index(r, v, step, noise)
        self.write_index(coder, k, v, step, noise)
        return self.point(k, v, step, noise)

    def read(self, coder, v, step, noise):
        """Read from a range decoder what the decoder has."""
        return self.point(self.read_index(coder, v, step, noise), v, step, noise)


class Rounding(Scalar):
    """Uniform mid-tread rounding to multiples of the step, midpoint reconstruction, ideal code.

    The code length of index k is -log2 [Phi((k+1/2) step/sigma) - Phi((k-1/2) step/sigma)].
    """

    def index(self, r, v, step, noise):
        return ((r - self.dither(noise, step)) / step).round()

    def rate(self, k, v, step, noise):
        return interval_bits(k * step + self.dither(noise, step), v, step)

    def point(self, k, v, step, noise):
        return k * step + self.dither(noise, step)

    def dither(self, noise, step):
        """What is subtracted before rounding and added again after."""
        return 0.0

    def write_index(self, coder, k, v, step, noise):
        stream.write_gaussian(coder, k, -self.dither(noise, step) / step, v.sqrt() / step)

    def read_index(self, coder, v, step, noise):
        return stream.read_gaussian(coder, -self.dither(noise, step) / step, v.sqrt() / step)


class Dithered(Rounding):
    """Rounding with subtractive dither, uniform on +- step/2 and known to the decoder.

    The error is uniform and independent of r: step^2/12 at any variance. The expected code length is
    the mutual information across the channel r -> r + u, h(r + u) - log2(step) for r ~ N(0, v).

    References
    ----------
    R. Zamir, M. Feder, "On Universal Quantization by Randomized Uniform/Lattice Quantizers", IEEE
    Trans. Inf. Theory 38(2), 1992.
    """

    def dither(self, noise, step):
        return step * (torch.special.ndtr(noise) - 0.5)


class DitheredWiener(Dithered):
    """Dithered rounding whose output is scaled by v / (v + step^2/12), the best linear estimate."""

    def point(self, k, v, step, noise):
        return super().point(k, v, step, noise) * v / (v + step**2 / 12)


class DeadZone(Scalar):
    """Uniform thresholds with a dead zone, centroid reconstruction, and the code of those cells.

    Cell 0 is |r| < (1/2 + delta) step; cell k >= 1 is [(k - 1/2 + delta) step, (k + 1/2 + delta)
    step), and so to the other side. delta, a function of sigma/step, minimises D + lambda R under
    N(0, v) at the slope of rounding at high rate, lambda = (2 ln 2 / 12) step^2.

    References
    ----------
    G. J. Sullivan, "Efficient Scalar Quantization of Exponential and Laplacian Random Variables",
    IEEE Trans. Inf. Theory 42(5), 1996 (uniform thresholds, dead zone, centroids).
    """

    def index(self, r, v, step, noise):
        shifted = r.abs() / step + 0.5 - self.delta(v, step)
        return r.sign() * shifted.floor().clamp(min=0)

    def rate(self, k, v, step, noise):
        delta = self.delta(v, step)
        zero = interval_bits(torch.zeros_like(delta), v, (1 + 2 * delta) * step)
        other = interval_bits((k.abs() + delta) * step, v, step)
        return torch.where(k == 0, zero, other)

    def point(self, k, v, step, noise):
        low = (k.abs() - 0.5 + self.delta(v, step)) * step
        return torch.where(k == 0, 0.0, k.sign() * centroid(low.clamp(min=0), step, v))

    def delta(self, v, step):
        """Half of what the dead zone is wider than a step, in steps."""
        return torch.from_numpy(np.interp(0.5 * v.log2().numpy() - math.log2(step), *dead_zones()))

    def write_index(self, coder, k, v, step, noise):
        wide = self._is_rounding(v, step)
        stream.write_gaussian(coder, k[wide], 0.0, v[wide].sqrt() / step)
        stream.write_symmetric(coder, k[~wide], self._magnitude_bits(v[~wide], step))

    def read_index(self, coder, v, step, noise):
        wide, k = self._is_rounding(v, step), torch.empty_like(v)
        k[wide] = stream.read_gaussian(coder, 0.0, v[wide].sqrt() / step)
        k[~wide] = stream.read_symmetric(
            coder, self._magnitude_bits(v[~wide], step), int((~wide).sum())
        )
        return k

    def _is_rounding(self, v, step):
        """Where delta is 0, so that the cells are those of rounding."""
        return v > (4 * step) ** 2

    def _magnitude_bits(self, v, step):
        """Code length of magnitudes, with their sign, of the elements that a mask chooses."""
        return lambda chosen, magnitudes: self.rate(magnitudes, v[chosen][:, None], step, None)


def centroid(low, width, v):
    """Mean of N(0, v) on [low, low + width], low >= 0; safe far out in the tail."""
    sigma = v.sqrt()
    a, b = low / sigma, (low + width) / sigma
    log_q = torch.special.log_ndtr
    density = torch.exp(-0.5 * a.square() - 0.5 * math.log(2 * math.pi) - log_q(-a))
    inside = (
        sigma * density * torch.expm1((a - b) * (a + b) / 2) / torch.expm1(log_q(-b) - log_q(-a))
    )
    return torch.where(b - a < 1e-4, low + width / 2, inside.clamp(low, low + width))


@cache
def dead_zones() -> tuple[np.ndarray, np.ndarray]:
    """log2(sigma/step) and the best delta of :class:`DeadZone` there, between 0 and 1."""
    log_sigma = np.arange(-4, 5.01, 0.125)
    sigma = 2 ** log_sigma[:, None, None]
    delta = np.linspace(0, 1, 101)[:, None]
    edge = np.concatenate([np.zeros((101, 1)), np.arange(400) + 0.5 + delta], axis=1) / sigma
    tail, density = scipy.special.ndtr(-edge), np.exp(-edge * edge / 2) / math.sqrt(2 * math.pi)
    tail, density = (np.concatenate([a, np.zeros_like(a[..., :1])], -1) for a in (tail, density))
    mass, moment = 2 * -np.diff(tail), 2 * -np.diff(density) * sigma
    captured = np.divide(moment**2, mass, out=np.zeros_like(mass), where=mass > 1e-300)[..., 1:]
    distortion = sigma[..., 0] ** 2 - captured.sum(-1)
    rate = scipy.special.entr(mass).sum(-1) / math.log(2) + mass[..., 1:].sum(-1)  # and the sign
    best = (distortion + 2 * math.log(2) / 12 * rate).argmin(1)
    return log_sigma, delta[best, 0]


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

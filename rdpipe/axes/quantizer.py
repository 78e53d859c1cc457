"""Quantizers: what is sent of a residual, at what rate and distortion (SCIENCE.md, section 2.3).

Each works on residuals ``r`` = y - mu and variances ``v`` of shape (channel, ...), at a ``level``:
the step of rounding, the water level theta of the test channel. ``level`` None means that it is to
be solved for, so that the distortion equals that of rounding. Random ones get standard normal
``noise`` of the shape of ``r``, which a decoder can draw again. Those that are realisable write
real bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, wraps
from typing import TYPE_CHECKING

import lazy_loader
import numpy as np

from rdpipe.axes import stream
from rdpipe.axes.stream import interval_bits
from rdpipe.errors import InputError

torch = lazy_loader.load("torch")
SLOPE = 2 * math.log(2) / 12
"""-dD/dR of rounding with unit step at high rate, squared latent units per bit."""
TAIL = 10.0
"""Bits from which on a mass is computed in the log domain; the difference of two erf is good to 1e-16, or 1e-13 of it."""
if TYPE_CHECKING:
    from torch import Tensor


def keeps_last(function):
    """The same function of a tensor and a number, which is not computed anew for the same two in a row."""
    last = None

    @wraps(function)
    def keeping(tensor, number):
        nonlocal last
        if last is None or last[0] is not tensor or last[1] != number:
            last = tensor, number, function(tensor, number)
        return last[2]

    return keeping


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


class Realisable:
    """A quantizer that sends an index: all that subclasses share.

    They say how an index is chosen (``index``), its code length (``rate``), what the decoder makes
    of it (``point``), and how it is sent (``transfer``: given an index it writes, given None it
    reads; one piece of code, so that the two cannot differ).

    Parameters
    ----------
    step : float
        Quantization step, in units of the latents.
    """

    information = "decodable"
    realisable = True
    own_prior = False
    elementwise = False

    def __init__(self, step: float = 1.0):
        if not 0 < step < math.inf:
            raise InputError(f"step {step!r}: allowed are positive numbers")
        self.level = step

    def code(self, r, v, step, noise=None) -> Coded:
        """Quantize residuals of shape (channel, ...)."""
        k = self.index(r, v, step, noise)
        bits, point = self.rate(k, v, step, noise), self.point(k, v, step, noise)
        return Coded(bits, (r - point).square(), point)

    def write(self, coder, r, v, step, noise=None):
        """Write residuals to a range encoder; returns what the decoder will have."""
        k = self.index(r, v, step, noise)
        return self.point(self.transfer(coder, k, v, step, noise), v, step, noise)

    def read(self, coder, v, step, noise=None):
        """Read from a range decoder what the decoder has."""
        return self.point(self.transfer(coder, None, v, step, noise), v, step, noise)


class Scalar(Realisable):
    """A quantizer of each element, whose code is the masses of cells under N(0, v).

    ``edge(m, ...)`` is where cell m - 1 ends and cell m begins, for any whole number m.
    """

    elementwise = True

    def rate(self, k, v, step, noise):
        return cell_bits(self.edge(k, v, step, noise), self.edge(k + 1, v, step, noise), v)

    def transfer(self, coder, k, v, step, noise):
        k = torch.full_like(v, torch.nan) if k is None else k
        tail = stream.gaussian_tail(lambda m: self.edge(m, v, step, noise), v)
        return stream.index(coder, k, tail)


def cell_bits(low, high, v):
    """-log2 of the probability of [low, high] under N(0, v).

    A difference of two erf; where so little is left of it that a tail would lose its digits, in the log
    domain.
    """
    scale = (2 * v).rsqrt_()
    bits = 1 - torch.erf(high * scale).sub_(torch.erf(low * scale)).log2_()
    common = bits <= TAIL  # not NaN either, of a mass that comes out negative
    rare = common.logical_not_().flatten().nonzero()
    low, high, v = (x.expand(bits.shape).take(rare) for x in (low, high, v))
    return bits.put_(rare, interval_bits((low + high) / 2, v, high - low))


class Rounding(Scalar):
    """Uniform mid-tread rounding to multiples of the step, midpoint reconstruction, ideal code.

    The code length of index k is -log2 [Phi((k+1/2) step/sigma) - Phi((k-1/2) step/sigma)].
    """

    def index(self, r, v, step, noise):
        return (r / step).round()

    def edge(self, m, v, step, noise):
        return (m - 0.5) * step

    def point(self, k, v, step, noise):
        return k * step


class Codec(Rounding):
    """Rounding on the grid of the codec's mean, at the code length of the codec's own prior.

    That is a prior of any form: a learned density, or tables of probabilities; the codec says what each
    element costs (``own_bits`` of its latents), whatever the variance. Of a codec without such, it is
    ``rounding``. On the grid of another mean the codec's prior says nothing, and bits are NaN. Its
    bitstream is the codec's.
    """

    own_prior = True


class Dithered(Scalar):
    """Rounding with subtractive dither d, uniform on +- step/2 and known to the decoder.

    d = step (Phi(noise) - 1/2) is taken off before rounding and put back after. The error is
    uniform and independent of r: step^2/12 at any variance. The expected code length is the mutual
    information across the channel r -> r + u, h(r + u) - log2(step) for r ~ N(0, v).

    References
    ----------
    R. Zamir, M. Feder, "On Universal Quantization by Randomized Uniform/Lattice Quantizers", IEEE
    Trans. Inf. Theory 38(2), 1992.
    """

    def index(self, r, v, step, noise):
        return ((r - dither(noise, step)) / step).round()

    def edge(self, m, v, step, noise):
        return (m - 0.5) * step + dither(noise, step)

    def point(self, k, v, step, noise):
        return k * step + dither(noise, step)


@keeps_last
def dither(noise, step):
    """Standard normal noise made uniform on +- step/2."""
    return torch.erf(noise * math.sqrt(0.5)).mul_(step / 2)


class DitheredWiener(Dithered):
    """Dithered rounding whose output is scaled by v / (v + step^2/12), the best linear estimate."""

    def point(self, k, v, step, noise):
        return super().point(k, v, step, noise) * v / (v + step**2 / 12)


class DeadZone(Scalar):
    """Uniform thresholds with a dead zone, and reconstruction at the centroids of the cells.

    Cell 0 is |r| < (1/2 + delta) step; cell k >= 1 is [(k - 1/2 + delta) step, (k + 1/2 + delta)
    step), and so to the other side. delta, a function of sigma/step, minimises D + lambda R under
    N(0, v) at the slope of rounding at high rate, lambda = ``SLOPE`` step^2 = (2 ln 2 / 12) step^2.

    References
    ----------
    G. J. Sullivan, "Efficient Scalar Quantization of Exponential and Laplacian Random Variables",
    IEEE Trans. Inf. Theory 42(5), 1996 (uniform thresholds, dead zone, centroids).
    """

    def index(self, r, v, step, noise):
        return r.sign() * (r.abs() / step + 0.5 - dead_zone(v, step)).floor().clamp(min=0)

    def edge(self, m, v, step, noise):
        middle = m - 0.5
        return dead_zone(v, step).copysign(middle).add_(middle).mul_(step)

    def point(self, k, v, step, noise):
        point, sent = torch.zeros_like(k), k != 0
        k, v = k[sent], v.expand(k.shape)[sent]
        point[sent] = k.sign() * centroid(self.edge(k.abs(), v, step, None), step, v)
        return point


@keeps_last
def dead_zone(v, step):
    """delta, half of what the dead zone is wider than a step, in steps."""
    log_sigma, delta = map(torch.from_numpy, dead_zones())
    place = (0.5 * v.log2() - math.log2(step) - log_sigma[0]).div_(log_sigma[1] - log_sigma[0])
    place = place.clamp_(0, len(delta) - 1)
    left = place.long().clamp_(max=len(delta) - 2)  # linear interpolation
    return delta[left].lerp_(delta[left + 1], place.sub_(left))


def centroid(low, width, v):
    """Mean of N(0, v) on [low, low + width], low >= 0.

    sigma (1 - e^-t) / (M(a) - e^-t M(b)) with the ends a, b in sigmas, t = (b^2 - a^2)/2 and Mills'
    ratio M, which holds far out in the tail; where t is small, the middle and what the slope of the
    density adds.
    """
    sigma, middle = v.sqrt(), low + width / 2
    a, b = low / sigma, (low + width) / sigma
    t = width * middle / v
    mills = math.sqrt(math.pi / 2) * (_erfcx(a) - torch.exp(-t) * _erfcx(b))
    mean = torch.where(t < 1e-4, middle - width * t / 12, -sigma * torch.expm1(-t) / mills)
    return mean.clamp(low, low + width)


def _erfcx(a):
    return torch.special.erfcx(a / math.sqrt(2))


@cache
def dead_zones() -> tuple[np.ndarray, np.ndarray]:
    """log2(sigma/step), and the best delta of :class:`DeadZone` there among 0, 0.01, ... 1."""
    log_sigma = torch.arange(-4, 3.01, 0.125, dtype=torch.float64)
    v, delta = (
        4 ** log_sigma[:, None, None],
        torch.linspace(0, 1, 101, dtype=torch.float64)[:, None],
    )
    low = torch.arange(100) + 0.5 + delta
    bits, zero = cell_bits(low, low + 1, v), cell_bits(-low[:, :1], low[:, :1], v)
    gain = 2 * torch.exp2(-bits) * (centroid(low, 1.0, v).square() - SLOPE * bits)
    cost = SLOPE * torch.exp2(-zero) * zero - gain.sum(-1, keepdim=True)
    return log_sigma.numpy(), delta[cost[..., 0].argmin(1), 0].numpy()


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
    own_prior = False
    elementwise = True
    level = None

    def __init__(self, step: float = 1.0):
        self.step = step

    def code(self, r, v, theta, noise=None) -> Coded:
        """Send residuals through the channel; ``theta`` is a number or broadcasts to ``r``.

        The rate is KL = 1/2 [ln(v/theta) + (theta + a r^2)/v - 1] / ln 2 bit, the expected squared
        error (1-a)^2 r^2 + theta a; nothing is sent where v <= theta. Without ``noise`` the
        residual is its expectation a r. With 1 - a for theta/v, all of it is 0 by itself where v <= theta.
        """
        kept = (theta / v).clamp(max=1)  # 1 - a
        a, square = 1 - kept, r.square()
        bits = (a * (square / v - 1) - kept.log()) / (2 * math.log(2))
        noise_power = kept * a * v
        sent = a * r if noise is None else a * r + noise_power.sqrt() * noise
        return Coded(bits, kept.square() * square + noise_power, sent)

    def distortion(self, r, v, theta):
        """That of :meth:`code` alone: what a level is solved for."""
        kept = (theta / v).clamp_(max=1)
        return r.square().sub_(v).mul_(kept).add_(v).mul_(kept)

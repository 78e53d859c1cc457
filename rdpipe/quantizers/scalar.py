"""Scalar quantizers.

See ``docs/explanation/science.md``, section 2.3.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import lazy_loader
import numpy as np
from numpy.typing import NDArray

from rdpipe.core.errors import InputError
from rdpipe.quantizers.base import HIGH_RATE_SLOPE, ScalarQuantizer, cache_last, cell_bits

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy_loader.load("torch")


class Rounding(ScalarQuantizer):
    """Uniform mid-tread rounding to multiples of the step, with midpoint reconstruction.

    The code length of index k is -log2 [Phi((k+1/2) step/sigma) - Phi((k-1/2) step/sigma)].
    """

    def index(self, r: Tensor, v: Tensor, step: float, noise: Tensor | None) -> Tensor:
        """Return the index of the nearest multiple of the step."""
        return (r / step).round()

    def edge(self, m: Tensor, v: Tensor, step: float, noise: Tensor | None) -> Tensor:
        """Return where cell m begins."""
        return (m - 0.5) * step

    def point(self, k: Tensor, v: Tensor, step: float, noise: Tensor | None) -> Tensor:
        """Return the midpoint of cell k."""
        return k * step

    @property
    def reproduces_codec(self) -> bool:
        """Whether the step is 1 and no method that determines y_hat is overridden."""
        methods = ("index", "point", "code", "write", "read")
        unchanged = all(getattr(type(self), m) is getattr(Rounding, m) for m in methods)
        return self.level == 1 and unchanged and vars(self).keys().isdisjoint(methods)


class OwnPriorRounding(Rounding):
    """Rounding on the grid of the codec's mean, at the code length of the codec's own prior.

    The prior may have any form: a learned density, or tables of probabilities. The codec states the
    cost of each element (``own_bits`` of its latents), whatever the variance. If the latents have
    no ``own_bits``, the bits are those of ``rounding``. With any mean but the codec's own the prior
    is undefined, and bits are NaN. Only the codec's own bitstream codes it.
    """

    uses_own_prior = True

    def __init__(self, step: float = 1.0):
        super().__init__(step)
        if step != 1:
            raise InputError(f"step is {step!r}; expected 1, the step of the codec's own prior")


class Dithered(ScalarQuantizer):
    """Rounding with subtractive dither d, uniform on +- step/2 and known to the decoder.

    d = step (Phi(noise) - 1/2) is subtracted before rounding and added after it. The error is
    uniform and independent of r, with variance step^2/12 at any variance. The expected code length
    is the mutual information across the channel r -> r + u, h(r + u) - log2(step) for r ~ N(0, v).

    References
    ----------
    R. Zamir, M. Feder, "On Universal Quantization by Randomized Uniform/Lattice Quantizers", IEEE
    Trans. Inf. Theory 38(2), 1992.
    """

    def index(self, r: Tensor, v: Tensor, step: float, noise: Tensor | None) -> Tensor:
        """Return the index of the nearest multiple of the step after subtracting the dither."""
        return ((r - dither(noise, step)) / step).round()

    def edge(self, m: Tensor, v: Tensor, step: float, noise: Tensor | None) -> Tensor:
        """Return where cell m begins."""
        return (m - 0.5) * step + dither(noise, step)

    def point(self, k: Tensor, v: Tensor, step: float, noise: Tensor | None) -> Tensor:
        """Return the midpoint of cell k, shifted by the dither."""
        return k * step + dither(noise, step)


@cache_last
def dither(noise: Tensor | None, step: float) -> Tensor:
    """Return standard normal noise transformed to a uniform distribution on +- step/2.

    Raises
    ------
    InputError
        If there is no noise.
    """
    if noise is None:
        raise InputError("a dithered quantizer has no noise; expected standard normal noise")
    return torch.erf(noise * math.sqrt(0.5)).mul_(step / 2)


class DitheredWiener(Dithered):
    """Dithered rounding whose output is scaled by v / (v + step^2/12), the best linear estimate."""

    def point(self, k: Tensor, v: Tensor, step: float, noise: Tensor | None) -> Tensor:
        """Return the best linear estimate of r."""
        return super().point(k, v, step, noise) * v / (v + step**2 / 12)


class DeadZone(ScalarQuantizer):
    """Uniform thresholds with a dead zone, and reconstruction at the centroids of the cells.

    Cell 0 is ``|r| < (1/2 + delta) step``. Cell k >= 1 is
    ``[(k - 1/2 + delta) step, (k + 1/2 + delta) step)``, and symmetrically for k < 0. delta is a
    function of sigma/step that minimizes D + lambda R under N(0, v) at the slope of rounding at
    high rate, lambda = (2 ln 2 / 12) step^2.

    References
    ----------
    G. J. Sullivan, "Efficient Scalar Quantization of Exponential and Laplacian Random Variables",
    IEEE Trans. Inf. Theory 42(5), 1996 (uniform thresholds, dead zone, centroids).
    """

    def index(self, r: Tensor, v: Tensor, step: float, noise: Tensor | None) -> Tensor:
        """Return the cell of each residual."""
        return r.sign() * (r.abs() / step + 0.5 - dead_zone(v, step)).floor().clamp(min=0)

    def edge(self, m: Tensor, v: Tensor, step: float, noise: Tensor | None) -> Tensor:
        """Return where cell m begins."""
        middle = m - 0.5
        return dead_zone(v, step).copysign(middle).add_(middle).mul_(step)

    def point(self, k: Tensor, v: Tensor, step: float, noise: Tensor | None) -> Tensor:
        """Return the centroid of cell k."""
        point, nonzero = torch.zeros_like(k), k != 0
        k, v = k[nonzero], v.expand(k.shape)[nonzero]
        point[nonzero] = k.sign() * centroid(self.edge(k.abs(), v, step, None), step, v)
        return point


@cache_last
def dead_zone(v: Tensor, step: float) -> Tensor:
    """Return delta: half the difference between the dead zone's width and the step, in steps."""
    log_sigma, delta = map(torch.from_numpy, dead_zones())
    place = (0.5 * v.log2() - math.log2(step) - log_sigma[0]).div_(log_sigma[1] - log_sigma[0])
    place = place.clamp_(0, len(delta) - 1)
    left = place.long().clamp_(max=len(delta) - 2)  # linear interpolation
    return delta[left].lerp_(delta[left + 1], place.sub_(left))


def centroid(low: Tensor, width: float | Tensor, v: Tensor) -> Tensor:
    """Return the mean of N(0, v) on [low, low + width], low >= 0.

    It is sigma (1 - e^-t) / (M(a) - e^-t M(b)) with the ends a, b in units of sigma, t = (b^2 -
    a^2)/2 and Mills' ratio M, which is accurate far out in the tail. Where t is small, the midpoint
    and a correction for the slope of the density are used.
    """
    sigma, middle = v.sqrt(), low + width / 2
    a, b = low / sigma, (low + width) / sigma
    t = width * middle / v
    mills = math.sqrt(math.pi / 2) * (_erfcx(a) - torch.exp(-t) * _erfcx(b))
    mean = torch.where(t < 1e-4, middle - width * t / 12, -sigma * torch.expm1(-t) / mills)
    return mean.clamp(low, low + width)


def _erfcx(a: Tensor) -> Tensor:
    scaled: Tensor = torch.special.erfcx(a / math.sqrt(2))
    return scaled


@cache
def dead_zones() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return log2(sigma/step), and the best delta of :class:`DeadZone` there.

    The search is over delta = 0, 0.01, ..., 1.
    """
    log_sigma = torch.arange(-4, 3.01, 0.125, dtype=torch.float64)
    v, delta = (
        4 ** log_sigma[:, None, None],
        torch.linspace(0, 1, 101, dtype=torch.float64)[:, None],
    )
    low = torch.arange(100) + 0.5 + delta
    bits, zero = cell_bits(low, low + 1, v), cell_bits(-low[:, :1], low[:, :1], v)
    gain = 2 * torch.exp2(-bits) * (centroid(low, 1.0, v).square() - HIGH_RATE_SLOPE * bits)
    cost = HIGH_RATE_SLOPE * torch.exp2(-zero) * zero - gain.sum(-1, keepdim=True)
    return log_sigma.numpy(), delta[cost[..., 0].argmin(1), 0].numpy()

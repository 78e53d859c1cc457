"""Contracts of quantizers: what is sent of a residual, at what rate and distortion.

A quantizer works on residuals ``r`` = y - mu and variances ``v`` of shape (channel, ...), at a
level: the step of a realizable quantizer (latent units), or the water level theta of the test
channel (squared latent units); :attr:`Quantizer.level_kind` says which. If :attr:`Quantizer.level`
is None, the level is solved so that the distortion equals that of rounding. Random quantizers get
standard normal ``noise`` of the shape of ``r``, which a decoder can draw again.

Users either subclass :class:`Quantizer` (or :class:`CodableQuantizer`, if it writes real bits), or
write a plain class with ``information``, ``level`` and ``code``
(:mod:`rdpipe.quantizers.user_quantizers`).
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import lazy_loader

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import Information, LevelKind
from rdpipe.entropy import range_coding
from rdpipe.entropy.range_coding import interval_bits

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy_loader.load("torch")

_T = TypeVar("_T")
_S = TypeVar("_S")
HIGH_RATE_SLOPE = 2 * math.log(2) / 12
"""-dD/dR of rounding with unit step at high rate, squared latent units per bit."""
TAIL_BITS = 10.0
"""Bits from which on a probability is computed in the log domain.

Below, the difference of two erf is accurate to 1e-16, which is 1e-13 of the probability.
"""


@dataclass(frozen=True)
class QuantizerOutput:
    """Residuals after a quantizer.

    Parameters
    ----------
    bits : Tensor of the shape of the residuals
        Code length of each element, bit; for the test channel the expectation over the noise.
    distortion : Tensor of the same shape
        Squared error of each element, squared latent units; for the test channel the expectation
        over the noise.
    residual : Tensor of the same shape
        What the decoder has instead of r, latent units.
    """

    bits: Tensor
    distortion: Tensor
    residual: Tensor


class Quantizer(ABC):
    """Base of all quantizers.

    Attributes
    ----------
    information : Information
        What the quantizer knows. Required; there is no default.
    level : float or None
        The level at which the quantizer works; None if it is solved for.
    level_kind : LevelKind
        What the level is.
    step : float
        Step of the rounding whose distortion the quantizer has, latent units. Required if ``level``
        is None; otherwise it is the level.
    elementwise : bool
        Whether :meth:`code` treats each element alone, so that it may be called with blocks.
    uses_own_prior : bool
        Whether bits are those of the codec's own prior instead of a Gaussian.
    rate_is_bound : bool
        Whether the rate is a divergence that bounds R(D) from above if mean and variance are
        decodable. Of a quantizer that is not codable, only this makes its curve a bound.
    weights : Tensor of shape (channel, 1), optional
        Weight of the distortion of each channel. Default: 1.
    """

    information: Information
    level: float | None
    level_kind: LevelKind = LevelKind.STEP
    step: float
    elementwise: bool = False
    uses_own_prior: bool = False
    rate_is_bound: bool = False
    needs_gain: ClassVar[bool] = False
    """Whether fitting it needs the decoder's gain (:attr:`rdpipe.core.latents.Latents.gain`)."""
    weights: Tensor | None = None

    @abstractmethod
    def code(
        self, r: Tensor, v: Tensor, level: float | Tensor, noise: Tensor | None = None
    ) -> QuantizerOutput:
        """Quantize residuals.

        Parameters
        ----------
        r : Tensor of shape (channel, ...)
            Residuals, latent units.
        v : Tensor of the same shape
            Their variance, squared latent units.
        level : float or Tensor of shape (channel, 1)
            See :attr:`level_kind`.
        noise : Tensor of the same shape as ``r``, optional
            Standard normal noise for random quantizers.

        Returns
        -------
        QuantizerOutput
        """

    def noise_variance(self, level: float | Tensor) -> float | Tensor:
        """Return the variance of the error that a level leaves, squared latent units."""
        return level if self.level_kind is LevelKind.THETA else level**2 / 12

    def at_level(self, level: float) -> Quantizer:
        """Return this quantizer with another level of its own."""
        other = copy.copy(self)
        other.level = level
        if self.level_kind is LevelKind.STEP:
            other.step = level
        return other

    @property
    def has_expected_distortion(self) -> bool:
        """Whether :meth:`expected_distortion` replaces coding when the level is solved."""
        return False

    def expected_distortion(self, r: Tensor, v: Tensor, level: float | Tensor) -> Tensor:
        """Return the distortion of :meth:`code`; quantizers with a closed form override it."""
        return self.code(r, v, level).distortion

    @property
    def reproduces_codec(self) -> bool:
        """Whether a decoder that has the codec's own mean obtains the codec's own y_hat."""
        return False


class CodableQuantizer(Quantizer):
    """A realizable quantizer: it has an entropy coder."""

    @abstractmethod
    def write(
        self, encoder: Any, r: Tensor, v: Tensor, step: float, noise: Tensor | None = None
    ) -> Tensor:
        """Write residuals to a range encoder; return what the decoder will have."""

    @abstractmethod
    def read(self, decoder: Any, v: Tensor, step: float, noise: Tensor | None = None) -> Tensor:
        """Return what the decoder has, read from a range decoder."""


class IndexQuantizer(CodableQuantizer):
    """A quantizer that transmits indices.

    Subclasses define how an index is chosen (``index``), its code length (``rate``), what the
    decoder makes of it (``point``), and its code (``transmit``). ``transmit`` writes indices, or
    reads them if it is given None: one piece of code, so that encoder and decoder cannot differ.

    Parameters
    ----------
    step : float
        Quantization step, latent units.
    """

    information = Information.DECODABLE

    def __init__(self, step: float = 1.0):
        if not is_positive(step):
            raise InputError(f"step is {step!r}; expected a positive number")
        self.level = self.step = step

    @abstractmethod
    def index(self, r: Tensor, v: Tensor, step: float, noise: Tensor | None) -> Tensor:
        """Return the index of each residual."""

    @abstractmethod
    def rate(self, k: Tensor, v: Tensor, step: float, noise: Tensor | None) -> Tensor:
        """Return the code length of each index, bit."""

    @abstractmethod
    def point(self, k: Tensor, v: Tensor, step: float, noise: Tensor | None) -> Tensor:
        """Return the reconstruction of each index."""

    @abstractmethod
    def transmit(
        self, coder: Any, k: Tensor | None, v: Tensor, step: float, noise: Tensor | None
    ) -> Tensor:
        """Write indices to a range encoder, or read them from a range decoder; return them."""

    def code(
        self, r: Tensor, v: Tensor, level: float | Tensor, noise: Tensor | None = None
    ) -> QuantizerOutput:
        """Quantize residuals of shape (channel, ...) with the step ``level``."""
        step = float(level)
        k = self.index(r, v, step, noise)
        bits, point = self.rate(k, v, step, noise), self.point(k, v, step, noise)
        return QuantizerOutput(bits, (r - point).square(), point)

    def write(
        self, encoder: Any, r: Tensor, v: Tensor, step: float, noise: Tensor | None = None
    ) -> Tensor:
        """Write residuals to a range encoder; return what the decoder will have."""
        k = self.index(r, v, step, noise)
        return self.point(self.transmit(encoder, k, v, step, noise), v, step, noise)

    def read(self, decoder: Any, v: Tensor, step: float, noise: Tensor | None = None) -> Tensor:
        """Return what the decoder has, read from a range decoder."""
        return self.point(self.transmit(decoder, None, v, step, noise), v, step, noise)


class ScalarQuantizer(IndexQuantizer):
    """A quantizer of single elements, coded with the probabilities of its cells under N(0, v)."""

    elementwise = True

    @abstractmethod
    def edge(self, m: Tensor, v: Tensor, step: float, noise: Tensor | None) -> Tensor:
        """Return where cell m - 1 ends and cell m begins, for any integer m."""

    def rate(self, k: Tensor, v: Tensor, step: float, noise: Tensor | None) -> Tensor:
        """Return the code length of each index, bit."""
        return cell_bits(self.edge(k, v, step, noise), self.edge(k + 1, v, step, noise), v)

    def transmit(
        self, coder: Any, k: Tensor | None, v: Tensor, step: float, noise: Tensor | None
    ) -> Tensor:
        """Write indices to a range encoder, or read them from a range decoder; return them."""
        k = torch.full_like(v, torch.nan) if k is None else k

        def edge(m: Tensor, v: Tensor, noise: Tensor | None = None) -> Tensor:
            return self.edge(m, v, step, noise)

        parameters = [] if noise is None else [noise.expand(v.shape)]
        return range_coding.code_indices(
            coder, k, range_coding.gaussian_tails(edge, v, *parameters)
        )


def cell_bits(low: Tensor, high: Tensor, v: Tensor) -> Tensor:
    """Return -log2 of the probability of [low, high] under N(0, v).

    It is a difference of two erf; where the probability is so small that this would lose digits,
    the log domain is used.
    """
    scale = (2 * v).rsqrt_()
    bits = 1 - torch.erf(high * scale).sub_(torch.erf(low * scale)).log2_()
    accurate = bits <= TAIL_BITS  # False for NaN, of a probability that comes out negative
    rare = accurate.logical_not_().flatten().nonzero()
    low, high, v = (x.expand(bits.shape).take(rare) for x in (low, high, v))
    return bits.put_(rare, interval_bits((low + high) / 2, v, high - low))


def cache_last(function: Callable[[_T, _S], Tensor]) -> Callable[[_T, _S], Tensor]:
    """Return a function of a tensor and a setting that remembers its last result.

    Tensors are compared by identity, settings by value.
    """
    last: tuple[_T, _S, Tensor] | None = None

    @wraps(function)
    def cached(tensor: _T, setting: _S) -> Tensor:
        nonlocal last
        if last is None or last[0] is not tensor or last[1] != setting:
            last = tensor, setting, function(tensor, setting)
        return last[2]

    return cached


def is_positive(value: object) -> bool:
    """Return whether a value is a positive, finite number."""
    return isinstance(value, (int, float)) and 0 < value < math.inf

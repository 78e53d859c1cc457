"""Priors: the densities with which codecs code their latents.

A prior states the mean and the scale of each element and the logarithms of its tails. The code
length of an interval, and the range coder, follow from the tails (:meth:`Prior.bits`,
:meth:`Prior.index_log_tail`). All computations are in float64 and in the log domain, so that they
are exact where probabilities underflow.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

import lazy_loader

from rdpipe.core.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy_loader.load("torch")

OUTLIER = 2.0**-20
"""Probability with which the range coder expects an element that its prior does not."""

NO_ORIGIN = (
    "has its mean between the points of the codec's grid; expected an offset in send: 0.0 if the"
    " codec rounds to integers, or the median of each channel"
)
"""Why a prior needs an offset."""

SUM_TOLERANCE = 1e-3
"""Difference of a sum of weights from 1 that rounding errors explain."""


class Prior(ABC):
    """The density of each element of a latent.

    Attributes
    ----------
    mean, scale : Tensor of the shape of the elements
        Expected value and standard deviation of each element.
    least : float
        Smallest probability that the codec's own likelihood takes. It is a property of the code
        lengths that a model reports: with it they are not those of a real code, whose bytes may be
        more or fewer.
    is_gaussian : bool
        Whether the density is normal with this mean and scale.
    """

    mean: Tensor
    scale: Tensor
    least: float = 0.0
    is_gaussian: bool = False

    @property
    def origin(self) -> Tensor:
        """A point of the grid to which elements are rounded, unless ``send`` states another.

        Raises
        ------
        InputError
            If the mean lies between the points of the model's grid, and the prior does not know
            that grid.
        """
        return self.mean

    @abstractmethod
    def log_tail(self, x: Tensor, upper: Tensor) -> Tensor:
        """Return ln P(X > x) where ``upper`` is True, and ln P(X < x) elsewhere, float64."""

    @abstractmethod
    def select(self, index: Tensor) -> Prior:
        """Return the prior of some elements, as a vector.

        Parameters
        ----------
        index : Tensor of int64, of shape (n,)
            Positions in the flattened elements.
        """

    def join(self, priors: Sequence[Prior]) -> Prior:
        """Return the prior of the elements of several priors, as a vector."""
        return _Joined(priors)

    def bits(self, x: Tensor, step: float | Tensor = 1.0) -> Tensor:
        """Return the code length of [x - step/2, x + step/2], bit.

        Parameters
        ----------
        x : Tensor of the shape of the elements
        step : float or Tensor
            Length of the intervals.
        """
        bits = -self.log_probability(x, step) / math.log(2)
        return bits.clamp(max=-math.log2(self.least)) if self.least else bits

    def log_probability(self, x: Tensor, step: float | Tensor = 1.0) -> Tensor:
        """Return ln P(x - step/2 < X < x + step/2), without the floor of the codec's likelihood.

        Its gradient is finite everywhere, and 0 where it is -infinity because of an underflow.
        Parameters are those of :meth:`bits`.
        """
        x, upper = x.double(), x > self.mean
        near = self.log_tail(torch.where(upper, x - step / 2, x + step / 2), upper)
        far = self.log_tail(torch.where(upper, x + step / 2, x - step / 2), upper)
        return _log_difference(near, far)

    def index_log_tail(
        self, offset: Tensor, step: float | Tensor
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the log tails of the index (x - offset) / step.

        They are those that :func:`rdpipe.entropy.range_coding.code_indices` expects. With a
        probability of 2^-20 an index is of another distribution, with P(index >= m) = 1 / (2m + 1),
        so that an outlier costs about 20 + 2 log2(m) bits, whatever its prior.
        """

        def log_tail(m: Tensor, positive: Tensor) -> Tensor:
            edge = offset + step * torch.where(positive, m - 0.5, 0.5 - m)
            usual = self.log_tail(edge, positive) + math.log1p(-OUTLIER)
            return torch.logaddexp(usual, math.log(OUTLIER) - torch.log(2 * m + 1))

        return log_tail


def _log_difference(near: Tensor, far: Tensor) -> Tensor:
    """Return ln(exp(near) - exp(far)); -infinity, with a gradient of 0, if it underflows."""
    possible = (far < near) & near.isfinite()
    inside = torch.log(-torch.expm1(torch.where(possible, far - near, -1.0)))
    return torch.where(possible, near + inside, -math.inf)


class _LocationScale(Prior):
    """A symmetric density of one shape, with a mean and a scale."""

    def __init__(self, mean: Tensor, scale: Tensor, least: float = 0.0):
        if mean.shape != scale.shape:
            mean, scale = mean + 0 * scale, scale + 0 * mean
        self.mean, self.scale = mean, scale
        self.least = least

    def select(self, index: Tensor) -> Self:
        """Return the prior of some elements, as a vector."""
        mean, scale = (x.flatten()[index] for x in (self.mean, self.scale))
        return type(self)(mean, scale, self.least)

    def join(self, priors: Sequence[Prior]) -> Prior:
        """Return the prior of the elements of several priors, as a vector."""
        if any(type(prior) is not type(self) or prior.least != self.least for prior in priors):
            return super().join(priors)
        return type(self)(*_moments(priors), self.least)

    def log_tail(self, x: Tensor, upper: Tensor) -> Tensor:
        """Return ln P(X > x) where ``upper`` is True, and ln P(X < x) elsewhere."""
        t = (x.double() - self.mean) / self.scale
        return self._log_upper_tail(torch.where(upper, t, -t))

    def log_probability(self, x: Tensor, step: float | Tensor = 1.0) -> Tensor:
        """Return ln P(x - step/2 < X < x + step/2); by symmetry, from upper tails alone."""
        distance = (x.double() - self.mean).abs()
        near, far = ((distance + side) / self.scale for side in (-step / 2, step / 2))
        return _log_difference(self._log_upper_tail(near), self._log_upper_tail(far))

    @staticmethod
    @abstractmethod
    def _log_upper_tail(t: Tensor) -> Tensor:
        """Return ln P(X > t) of the density with mean 0 and standard deviation 1."""


class Gaussian(_LocationScale):
    """Normal density.

    Parameters
    ----------
    mean, scale : Tensor
        Expected value and standard deviation of each element.
    least : float
        See :class:`Prior`.
    """

    is_gaussian = True

    @staticmethod
    def _log_upper_tail(t: Tensor) -> Tensor:
        tail: Tensor = torch.special.log_ndtr(-t)
        return tail


class Laplace(_LocationScale):
    """Laplace density; ``scale`` is its standard deviation, sqrt(2) b. See :class:`Gaussian`."""

    @staticmethod
    def _log_upper_tail(t: Tensor) -> Tensor:
        t = t * math.sqrt(2)
        inside = torch.log1p(-0.5 * torch.exp(t.clamp(max=0)))
        return torch.where(t > 0, -math.log(2) - t, inside)


class Logistic(_LocationScale):
    """Logistic density; ``scale`` is its standard deviation, pi s / sqrt(3).

    See :class:`Gaussian`.
    """

    @staticmethod
    def _log_upper_tail(t: Tensor) -> Tensor:
        return torch.nn.functional.logsigmoid(-t * (math.pi / math.sqrt(3)))


class Mixture(Prior):
    """A mixture of priors.

    Parameters
    ----------
    weights : Tensor of shape (component, ...)
        Weights of the components, which sum to 1; of the shape of the elements, or one that
        broadcasts to it.
    components : sequence of Prior
    least : float
        See :class:`Prior`.

    Raises
    ------
    InputError
        If the weights do not sum to 1, or their shape does not fit.
    """

    def __init__(self, weights: Tensor, components: Sequence[Prior], least: float = 0.0):
        expected = len(components), *components[0].mean.shape
        try:
            weights = weights.expand(*expected)
        except RuntimeError:
            raise InputError(
                f"Mixture: the weights have shape {tuple(weights.shape)}; expected {expected}, or a"
                " shape that broadcasts to it"
            ) from None
        _check_sums("Mixture: the weights", weights.sum(0))
        self.weights, self.components, self.least = weights, list(components), least
        means, scales = (
            torch.stack([getattr(prior, name) for prior in components])
            for name in ("mean", "scale")
        )
        self.mean = (weights * means).sum(0)
        self.scale = (weights * (scales.square() + (means - self.mean).square())).sum(0).sqrt()

    @property
    def origin(self) -> Tensor:
        """Raise an error: it is unknown."""
        raise InputError(f"a Mixture {NO_ORIGIN}")

    def log_tail(self, x: Tensor, upper: Tensor) -> Tensor:
        """Return ln P(X > x) where ``upper`` is True, and ln P(X < x) elsewhere."""
        tails = torch.stack([prior.log_tail(x, upper) for prior in self.components])
        return torch.logsumexp(self.weights.double().log() + tails, 0)

    def select(self, index: Tensor) -> Mixture:
        """Return the prior of some elements, as a vector."""
        weights = self.weights.flatten(1)[:, index]
        return Mixture(weights, [prior.select(index) for prior in self.components], self.least)

    def join(self, priors: Sequence[Prior]) -> Prior:
        """Return the prior of the elements of several priors, as a vector."""
        mixtures = [prior for prior in priors if isinstance(prior, Mixture)]
        kinds = {(len(prior.components), prior.least) for prior in mixtures}
        if len(kinds) > 1 or len(mixtures) < len(priors):
            return super().join(priors)
        weights = torch.cat([prior.weights.flatten(1) for prior in mixtures], 1)
        components = zip(*(prior.components for prior in mixtures), strict=True)
        joined = [column[0].join(column) for column in components]
        return Mixture(weights, joined, self.least)


class Learned(Prior):
    """A density that is given by the logits of its cumulative distribution.

    Parameters
    ----------
    logits : callable
        ``logits(x)`` is the logit of P(X < x) of each element, for x of shape (n, channel, ...).
        Each channel has a density of its own, so n and the last axes may have any length.
    mean, scale : Tensor of shape (1, channel, row, column)
        Expected value and standard deviation, or another point of the grid and the root mean
        square about it. :meth:`from_logits` computes the former.
    least : float
        See :class:`Prior`.
    """

    _mean_is_on_grid = True

    def __init__(
        self,
        logits: Callable[[Tensor], Tensor],
        mean: Tensor,
        scale: Tensor,
        least: float = 0.0,
    ):
        self.logits, self.mean, self.scale, self.least = logits, mean, scale, least

    @classmethod
    def from_logits(
        cls,
        logits: Callable[[Tensor], Tensor],
        shape: Sequence[int],
        center: Tensor | float = 0.0,
        reach: int = 60,
        least: float = 0.0,
    ) -> Self:
        """Return the prior of elements of ``shape``, with its moments.

        They are sums over cells of length 1/8 within ``reach`` of the center, which is a number, or
        a tensor of shape (1, channel, 1, 1) on the device of the codec.
        """
        if not isinstance(center, torch.Tensor):
            center = torch.tensor(float(center))
        middle = center + center.new_zeros(1, shape[1], 1, 1)
        offsets = torch.arange(-8 * reach, 8 * reach + 1).to(middle) / 8
        cumulative = torch.sigmoid(logits(middle + offsets))
        mass, x = cumulative.diff(dim=-1), middle + (offsets[1:] + offsets[:-1]) / 2
        total = mass.sum(-1, keepdim=True)
        mean = (mass * x).sum(-1, keepdim=True) / total
        variance = (mass * (x - mean).square()).sum(-1, keepdim=True) / total
        scale = variance.clamp(min=1e-12).sqrt()
        prior = cls(logits, mean.expand(*shape), scale.expand(*shape), least)
        prior._mean_is_on_grid = False
        return prior

    @property
    def origin(self) -> Tensor:
        """The mean, unless it was computed."""
        if not self._mean_is_on_grid:
            raise InputError(f"a Learned prior {NO_ORIGIN}")
        return self.mean

    def log_tail(self, x: Tensor, upper: Tensor) -> Tensor:
        """Return ln P(X > x) where ``upper`` is True, and ln P(X < x) elsewhere."""
        logits = self.logits(x.to(self.mean.dtype)).double()
        return torch.nn.functional.logsigmoid(torch.where(upper, -logits, logits))

    def select(self, index: Tensor) -> Prior:
        """Return the prior of some elements, as a vector."""
        return _Selected(self, index)


class _Selected(Prior):
    """Some elements of a prior that is evaluated for all of them."""

    def __init__(self, prior: Prior, index: Tensor):
        self.prior, self.index, self.least = prior, index, prior.least
        self.mean, self.scale = (x.flatten()[index] for x in (prior.mean, prior.scale))

    def log_tail(self, x: Tensor, upper: Tensor) -> Tensor:
        everywhere = self.prior.mean.double().flatten().clone()
        everywhere[self.index] = x.double()
        flags = torch.zeros_like(everywhere, dtype=torch.bool)
        flags[self.index] = upper
        shape = self.prior.mean.shape
        return self.prior.log_tail(everywhere.view(shape), flags.view(shape)).flatten()[self.index]

    def select(self, index: Tensor) -> Prior:
        return _Selected(self.prior, self.index[index])


class _Joined(Prior):
    """The elements of several priors, one after the other."""

    def __init__(self, priors: Sequence[Prior]):
        self.priors = list(priors)
        self.mean, self.scale = _moments(priors)

    def log_tail(self, x: Tensor, upper: Tensor) -> Tensor:
        return self._by_prior("log_tail", x, upper)

    def bits(self, x: Tensor, step: float | Tensor = 1.0) -> Tensor:
        return self._by_prior("bits", x, torch.as_tensor(step).expand(x.shape))

    def _by_prior(self, method: str, *arguments: Tensor) -> Tensor:
        sizes = [prior.mean.numel() for prior in self.priors]
        split = zip(*(torch.split(argument, sizes) for argument in arguments), strict=True)
        results = [
            getattr(prior, method)(*(piece.view(prior.mean.shape) for piece in pieces)).flatten()
            for prior, pieces in zip(self.priors, split, strict=True)
        ]
        return torch.cat(results)

    def select(self, index: Tensor) -> Prior:
        return _Selected(self, index)


class Table(Prior):
    """Probabilities of the integers from ``first`` on, one table for each channel.

    Parameters
    ----------
    probabilities : Tensor of shape (channel, symbol)
        They are positive and sum to 1 for each channel.
    first : int
        The integer of the first symbol.
    shape : sequence of int
        Shape (1, channel, row, column) of the elements.
    least : float
        See :class:`Prior`. Without it an integer that has no symbol has infinitely many bits.

    Raises
    ------
    InputError
        If the probabilities of a channel do not sum to 1.
    """

    def __init__(self, probabilities: Tensor, first: int, shape: Sequence[int], least: float = 0.0):
        _check_sums("Table: the probabilities of a channel", probabilities.sum(1))
        self.least = least
        channel = torch.arange(shape[1], device=probabilities.device).view(1, -1, 1, 1)
        self._set(probabilities.double(), first, channel.expand(*shape))

    def _set(self, probabilities: Tensor, first: int, channel: Tensor) -> None:
        self.probabilities, self.first, self.channel = probabilities, first, channel
        symbols = first + torch.arange(probabilities.shape[1], device=probabilities.device)
        mean = (probabilities * symbols).sum(1)
        variance = (probabilities * (symbols - mean[:, None]).square()).sum(1)
        self.mean, self.scale = mean[channel], variance.sqrt()[channel]
        below = torch.nn.functional.pad(probabilities.cumsum(1), (1, 0))
        above = torch.nn.functional.pad(probabilities.flip(1).cumsum(1).flip(1), (0, 1))
        self._below, self._above = below.log(), above.log()

    @property
    def origin(self) -> Tensor:
        """The integer 0."""
        return torch.zeros_like(self.mean)

    def log_tail(self, x: Tensor, upper: Tensor) -> Tensor:
        """Return ln P(X > x) where ``upper`` is True, and ln P(X < x) elsewhere.

        x lies between two integers.
        """
        symbols = self.probabilities.shape[1]
        place = (x - self.first).ceil().long().clamp(0, symbols)
        return torch.where(
            upper, self._above[self.channel, place], self._below[self.channel, place]
        )

    def select(self, index: Tensor) -> Table:
        """Return the prior of some elements, as a vector."""
        selected = object.__new__(Table)
        selected.least = self.least
        selected._set(self.probabilities, self.first, self.channel.flatten()[index])
        return selected


def _check_sums(label: str, sums: Tensor) -> None:
    """Check that weights sum to 1, up to rounding errors."""
    if not ((sums - 1).abs() < SUM_TOLERANCE).all():
        worst = sums.flatten()[(sums - 1).abs().nan_to_num(math.inf).argmax()].item()
        raise InputError(f"{label} sum to {worst:g}; expected 1")


def _moments(priors: Sequence[Prior]) -> tuple[Tensor, Tensor]:
    """Return mean and scale of the elements of several priors, each as a vector."""
    mean = torch.cat([prior.mean.flatten() for prior in priors])
    scale = torch.cat([prior.scale.flatten() for prior in priors])
    return mean, scale

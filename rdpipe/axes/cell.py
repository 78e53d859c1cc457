"""One cell of the array: what its curve may be called, and how it codes an image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from rdpipe.axes import GENIE, TABLES, escape
from rdpipe.axes import quantizer as quantizers
from rdpipe.axes import variance as variances
from rdpipe.axes.causal import FLOOR, blocks, traverse
from rdpipe.axes.level import LEAST_LEVEL, solve_level
from rdpipe.axes.mean import Codec
from rdpipe.axes.quantizer import Rounding
from rdpipe.axes.variance import residuals
from rdpipe.errors import InputError
from rdpipe.latents import Latents
from rdpipe.plugins import make
from rdpipe.random import standard_normal

Fits = Mapping[tuple[str, str], dict[str, np.ndarray]]
"""What fitted estimators found, by axis and name."""
DEFAULTS = {
    "uses_side": True,
    "sees_context": True,
    "causal": False,
    "fitted": False,
    "sender": None,
}
"""Of means and variances."""
OF_QUANTIZERS = {"fitted": False, "own_prior": False, "elementwise": False}
"""The same of quantizers."""


def build(axis: str, name: str, entry: dict, fits: Fits):
    """One estimator of an axis, with what it found on the calibration images if it is a fitted one."""
    estimator = make(axis, name, entry, TABLES[axis])
    estimator.name = name
    complete(axis, estimator)
    if estimator.fitted:
        if (axis, name) not in fits:
            raise InputError(
                f"{axis} {name!r} must be fitted first: name a data set as `calibration` in the config"
            )
        estimator.use(fits[axis, name])
    return estimator


def complete(axis: str, estimator) -> None:
    """Give an estimator of one's own what it left out, on the safe side.

    Raises
    ------
    InputError
        If it does not say what it must.
    """
    needed = ("information", *(("realisable", "level") if axis == "quantizer" else ()))
    for attribute in needed:
        if not hasattr(estimator, attribute):
            raise InputError(f"{axis} {estimator.name!r} must have an attribute {attribute!r}")
    defaults = OF_QUANTIZERS if axis == "quantizer" else DEFAULTS
    for attribute, value in defaults.items():
        if not hasattr(estimator, attribute):
            setattr(estimator, attribute, value)


def kind(mean, variance, quantizer, context: bool = False) -> str:
    """What a curve of this cell may be called (SCIENCE.md, section 5); computed, never typed.

    Parameters
    ----------
    mean, variance, quantizer
        Estimators.
    context : bool
        Whether the codec has a context model. What that predicts was stored with the codec's own
        rounded past; in a cell with another past it is a genie's (SCIENCE.md, section 7).
    """
    if any(part.information == "genie" for part in (mean, variance, quantizer)):
        return GENIE
    if context and not as_codec(mean, quantizer) and (mean.sees_context or variance.sees_context):
        return GENIE
    return "achievable" if quantizer.realisable else "upper bound on R(D)"


def anew(step: Callable, channels: slice, positions, mean, scale) -> torch.Tensor:
    """y_hat of some elements whose mean and scale a codec has just predicted, in its own precision."""
    mu, v = mean.double(), scale.double().square().clamp(min=FLOOR)
    return (mu + step(channels, positions, mu, v)).to(mean.dtype)


def as_codec(mean, quantizer) -> bool:
    """Whether a decoder of this cell has the y_hat of the codec's own."""
    rounds = type(quantizer) in (Rounding, quantizers.Codec) and quantizer.level == 1
    return type(mean) is Codec and rounds


def side_counted(mean, variance, quantizer, context: bool = False) -> bool:
    """Whether this cell's rate must include the codec's side information.

    It must where a real decoder would need it to know the mean or the variance. A genie is told
    everything, so nothing is sent to it. Parameters as for :func:`kind`.
    """
    needed = mean.uses_side or variance.uses_side
    return needed and kind(mean, variance, quantizer, context) != GENIE


def doubled(latents: Latents) -> Latents:
    """The same in float64, in the order of memory that everything below relies on."""
    known = ("y", "mean", "scale", *([] if latents.hyper is None else ["hyper"]))
    return replace(latents, **{n: getattr(latents, n).double().contiguous() for n in known})


def kept(shared: dict, what: str, by: tuple, make: Callable):
    """What was made ``by`` the same estimators the last time, or else is made now."""
    if what not in shared or shared[what][0] != by:
        shared[what] = by, make()
    return shared[what][1]


@dataclass(frozen=True)
class Prepared:
    """An image as one cell sees it before coding begins.

    Parameters
    ----------
    y, prediction, residual, spread, noise : Tensor of shape (channel, row, column), float64
        Latents; the mean as far as it is known beforehand, and the residuals that the variance is
        estimated from; the variance as far as it is known beforehand; standard normal noise.
    bits : float
        What the variance estimator sends.
    own_bits : Tensor of the same shape, or None
        Code length of each element under the codec's own prior, where the cell's quantizer asks for it.
    escaped : Tensor of shape (channel, position), or None
        The variance after escapes, where the cell's level is to be solved for and nothing is causal.
    """

    y: torch.Tensor
    prediction: torch.Tensor
    residual: torch.Tensor
    spread: torch.Tensor
    noise: torch.Tensor
    bits: float
    own_bits: torch.Tensor | None = None
    escaped: torch.Tensor | None = None


@dataclass(frozen=True)
class Sent:
    """What a cell makes of one image: bits (the codec's side information not included), the sum of
    squared errors of the latents, that sum weighted as the quantizer wants it, y_hat, and the bits of
    each element, which lack only what the variance estimator sends."""

    bits: float
    distortion: float
    weighted: float
    y_hat: torch.Tensor
    element_bits: torch.Tensor


class Cell:
    """One cell of the array: a mean, a variance and a quantizer that code images together.

    Parameters
    ----------
    mean, variance, quantizer
        Estimators.
    context : bool
        Whether the codec has a context model.
    """

    def __init__(self, mean, variance, quantizer, context: bool = False):
        self.mean, self.estimator, self.quantizer = mean, variance, quantizer
        self.variance = variance.given(mean) if hasattr(variance, "given") else variance
        self.causal = mean.causal or self.variance.causal
        self.weights = getattr(quantizer, "weights", None)
        self.step = quantizer.step if quantizer.level is None else quantizer.level
        self.kind = kind(mean, variance, quantizer, context)
        self.side_counted = side_counted(mean, variance, quantizer, context)

    @classmethod
    def from_spec(cls, spec: dict, fits: Fits, corner: dict, context: bool = False) -> Cell:
        """A cell from names by axis, and the config entries of ``means``, ``variances``, ``quantizers``."""
        parts = (build(axis, corner[axis], spec[f"{axis}s"][corner[axis]], fits) for axis in TABLES)
        return cls(*parts, context)

    @property
    def predicts_as_codec(self) -> bool:
        """Whether mean and variance are the codec's own."""
        return type(self.mean) is Codec and type(self.variance) is variances.Codec

    def levels(self, sweep: list[float]) -> list[float]:
        """The quantizer's own level, or the whole sweep where it has none."""
        return sweep if self.quantizer.level is None else [self.quantizer.level]

    def prepare(self, latents: Latents, key: int = 0, shared: dict | None = None) -> Prepared:
        """Work out all that does not depend on the level.

        The noise depends on its key alone: the same in any cell, batch and order. A variance that
        needs the residuals of a causal mean gets those that rounding leaves.

        Parameters
        ----------
        latents : Latents
        key : int
            Of the noise.
        shared : dict, optional
            Empty at first, and given again with the next cell of the same image: what the two have in
            common is not made anew.
        """
        keep = partial(kept, {} if shared is None else shared)
        latents = keep("latents", (), lambda: doubled(latents))
        y, mean = latents.y, (self.mean, self.step)
        noise, own = keep("noise", (), lambda: standard_normal(key, y.shape)), None
        prediction = keep("prediction", mean, lambda: self.mean(latents).double())
        residual = keep("residual", mean, lambda: residuals(self.mean, y, prediction, self.step))
        of_variance = *mean, self.estimator
        spread, bits = keep("spread", of_variance, lambda: self.variance(latents, residual))
        if self.quantizer.own_prior and latents.own_bits is not None:
            known = type(self.mean) is Codec
            own = latents.own_bits.double() if known else torch.full_like(y, torch.nan)
        escaped = None
        if self.quantizer.level is None and not self.causal:
            escaped = keep("escaped", of_variance, lambda: self._escaped(residual, spread))
        return Prepared(y, prediction, residual, spread, noise, bits, own, escaped)

    def _escaped(self, residual, spread) -> torch.Tensor:
        r, v = residual.flatten(1), spread.clamp(min=FLOOR).flatten(1)
        return escape.escaped(r, v, self.step)[0]

    def send(self, one: Prepared, level: float, walk: Callable | None = None) -> Sent:
        """Code an image at a level.

        Parameters
        ----------
        one : Prepared
        level : float
        walk : callable, optional
            ``walk(code)`` decodes the latents with the codec's own context model, run anew on what this
            cell's quantizer leaves, and returns y_hat; ``code(channels, positions, mean, scale)`` is
            y_hat of some elements, of shape (channel, position). For the codec's own mean and variance.
        """
        if walk is not None and not self.predicts_as_codec:
            raise ValueError("only the codec's own mean and variance come out of its context model")
        y, noise = one.y.flatten(1), one.noise.flatten(1)
        sums, element_bits = torch.zeros(3, dtype=y.dtype), torch.empty_like(y)
        solved = self._by_channel(level, y) if self.quantizer.level is None else None
        noise_power = self.step**2 / 12 if solved is None else solved
        own = None if one.own_bits is None else one.own_bits.flatten(1)

        def step(channels, positions, mu, v):
            r = y[channels, positions] - mu
            at_level = level if solved is None else solved[channels]
            v, escapes = escape.escaped(r, v, self.step)
            coded = self.quantizer.code(r, v, at_level, noise[channels, positions])
            bits = coded.bits + escapes if own is None else own[channels, positions]
            element_bits[channels, positions] = bits
            both = coded.distortion.sum(), self._weighted(coded.distortion, channels)
            sums.add_(torch.stack([bits.sum(), *both]))
            return coded.residual

        if walk is None:
            known, alone = (one.prediction, one.spread), self.quantizer.elementwise
            y_hat = traverse(self.mean, self.variance, *known, step, noise_power, alone)
        else:
            y_hat = walk(partial(anew, step))
        bits, distortion, weighted = sums.tolist()
        element_bits = element_bits.view(one.y.shape)
        return Sent(bits + one.bits, distortion, weighted, y_hat, element_bits)

    def matched_level(self, images: Iterable[Prepared]) -> float:
        """The level at which some images together have the distortion that rounding has on them.

        They are gone through once for every level that is tried, so an iterator will not do. At least
        ``LEAST_LEVEL`` squared steps, where rounding happens to make no error.
        """
        target = count = 0
        for one in images:
            target += self._distortion_of_rounding(one)
            count += one.y.numel()
        target = max(target, LEAST_LEVEL * self.step**2 * count)

        def distortion(level: float) -> float:
            return sum(self._distortion(one, level) for one in images)

        # a causal cell is walked through anew at every level: a millionth is enough
        return solve_level(distortion, target, target / count, 1e-6 if self.causal else 1e-12)

    def _distortion_of_rounding(self, one: Prepared) -> float:
        """Weighted distortion of an image rounded with this cell's mean."""
        if self.causal:
            rounding = Cell(self.mean, self.variance, Rounding(self.step))
            rounding.weights = self.weights
            return rounding.send(one, self.step).weighted
        r = one.residual.flatten(1)
        return self._weighted((r - (r / self.step).round() * self.step).square()).item()

    def _distortion(self, one: Prepared, level: float) -> float:
        """Weighted distortion of an image at a level; the test channel's needs nothing to be coded."""
        if self.causal or type(self.quantizer).code is not quantizers.TestChannel.code:
            return self.send(one, level).weighted
        r, v = one.residual.flatten(1), one.escaped
        at_level = self._by_channel(level, r)
        return sum(
            self._weighted(self.quantizer.distortion(r[some], v[some], at_level[some]), some).item()
            for some in blocks(r)
        )

    def _by_channel(self, level: float, y) -> torch.Tensor:
        """The level of each channel, of shape (channel, 1)."""
        weights = y.new_ones(len(y), 1) if self.weights is None else self.weights
        return level / weights

    def _weighted(self, distortion, channels=slice(None)) -> torch.Tensor:
        """Sum of the distortions of elements, weighted as the quantizer wants it."""
        return (distortion if self.weights is None else self.weights[channels] * distortion).sum()

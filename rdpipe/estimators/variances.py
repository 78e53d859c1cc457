"""Variances: the expected square of each residual.

Under N(0, v) the expected code length 1/2 log2(2 pi v) + E r^2 / (2 v ln 2) has its minimum at v =
E r^2, so the estimators here, except the codec's own, are second moments. They differ in what the
expectation is taken over. See ``docs/explanation/science.md``, section 2.2, and
:mod:`rdpipe.estimators.transmitted` for variances that are sent.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

import lazy_loader
import numpy as np
from numpy.typing import NDArray

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import Information
from rdpipe.estimators.base import (
    CausalEstimator,
    FittedEstimator,
    Mean,
    State,
    Transmitter,
    Variance,
)
from rdpipe.estimators.causal import FLOOR, residuals
from rdpipe.estimators.transmitted import ChannelVariance
from rdpipe.estimators.user_estimators import check_mean_output

if TYPE_CHECKING:
    import scipy.optimize
    import torch
    from torch import Tensor

    from rdpipe.core.latents import Latents
    from rdpipe.estimators.causal import CausalContext
else:
    torch = lazy_loader.load("torch")
    scipy = lazy_loader.load("scipy")


class CodecVariance(Variance):
    """The variance that the codec predicts, sigma_i^2."""

    information = Information.DECODABLE

    def __call__(self, latents: Latents, residual: Tensor) -> tuple[Tensor, float]:
        """Return the codec's variance of each element, and no bits."""
        return latents.scale.square(), 0

    @property
    def is_codec(self) -> bool:
        """Whether the estimate is inherited unchanged."""
        unchanged = type(self).__call__ is CodecVariance.__call__
        return unchanged and not isinstance(self, CausalEstimator)

    @property
    def uses_residual(self) -> bool:
        """Whether :meth:`__call__` uses the residuals."""
        return type(self).__call__ is not CodecVariance.__call__


class HyperVariance(Variance):
    """The codec's variance without its context model; ``latents.scale`` if it has no such model."""

    information = Information.DECODABLE
    uses_context = False

    def __call__(self, latents: Latents, residual: Tensor) -> tuple[Tensor, float]:
        """Return the variance without context of each element, and no bits."""
        scale = latents.hyper_scale if latents.with_context else latents.scale
        if scale is None:
            raise InputError(
                f"image {latents.name!r} has hyper but no hyper_scale; expected both or neither"
            )
        return scale.square(), 0

    @property
    def uses_residual(self) -> bool:
        """Whether :meth:`__call__` uses the residuals."""
        return type(self).__call__ is not HyperVariance.__call__


class CalibratedVariance(Variance, FittedEstimator):
    """E[r^2 | sigma], a monotone function of the codec's sigma, fitted on calibration images.

    The second moments of the residuals in bins of 1/8 octave of sigma are made monotone by isotonic
    regression and interpolated in the log domain. Beyond the outermost bins the ratio v / sigma^2
    stays constant. There is one function per mean, because each mean leaves residuals of its own.
    """

    information = Information.DECODABLE
    bins_per_octave = 8

    def __init__(self) -> None:
        self.knots: State = {}
        self.mean_name: str | None = None

    def __call__(self, latents: Latents, residual: Tensor) -> tuple[Tensor, float]:
        """Return the calibrated variance of each element, and no bits."""
        assert self.mean_name is not None, "for_mean selects the function"
        log_scale = latents.scale.log2().numpy()
        log_ratio = np.interp(log_scale, *self.knots[self.mean_name])
        return latents.scale.square() * torch.from_numpy(2**log_ratio), 0

    def for_mean(self, mean_name: str) -> CalibratedVariance:
        """Return the variance for the residuals of one mean.

        Raises
        ------
        InputError
            If it was not fitted to them.
        """
        if mean_name not in self.knots:
            raise InputError(
                f"calibrated was not fitted to the mean {mean_name!r}; expected one of:"
                f" {', '.join(sorted(self.knots))}"
            )
        selected = copy.copy(self)
        selected.mean_name = mean_name
        return selected

    def fit(self, images: Sequence[Latents], means: Mapping[str, Mean] | None = None) -> Self:
        """Fit one function per mean to the elements that are coded.

        Parameters
        ----------
        images : sequence of Latents
        means : mapping of str to Mean
            Means by name. A fitted mean was fitted on the same images, whose residuals are a little
            smaller than those of other images.
        """
        return self.load_state(
            {name: self._fit_to(name, mean, images) for name, mean in (means or {}).items()}
        )

    def _fit_to(self, name: str, mean: Mean, images: Sequence[Latents]) -> NDArray[np.float64]:
        """Return knots of shape (2, knot): log2 sigma, and log2 of E r^2 / sigma^2."""
        sums: dict[float, list[float]] = {}
        for latents in images:
            y = latents.y.double()
            coded = torch.ones_like(y, dtype=torch.bool) if latents.coded is None else latents.coded
            log_scale = latents.scale.double().log2()[coded]
            initial_mean = check_mean_output(f"mean {name!r}", mean(latents), latents.y).double()
            r = residuals(mean, y, initial_mean, coded=latents.coded)
            square = r.square()[coded]
            bins, place = torch.unique(
                (log_scale * self.bins_per_octave).floor(), return_inverse=True
            )
            for key, values in enumerate((torch.ones_like(square), log_scale, square)):
                total = torch.zeros_like(bins).index_add_(0, place, values)
                for number, value in zip(bins.tolist(), total.tolist(), strict=True):
                    sums.setdefault(number, [0.0, 0.0, 0.0])[key] += value
        if not sums:
            raise InputError(
                "calibrated: no element of the calibration images is coded; expected at least one"
            )
        count, log_scale, square = np.array([sums[number] for number in sorted(sums)]).T
        moment = scipy.optimize.isotonic_regression(square / count, weights=count).x
        log_scale /= count
        return np.stack([log_scale, np.log2(moment.clip(FLOOR)) - 2 * log_scale])

    def state(self) -> State:
        """Return the knots by name of the mean."""
        return self.knots

    def load_state(self, state: State) -> Self:
        """Set the knots."""
        self.knots = dict(state)
        return self

    @property
    def uses_residual(self) -> bool:
        """Whether :meth:`__call__` uses the residuals."""
        return type(self).__call__ is not CalibratedVariance.__call__


class CausalWindowVariance(Variance, CausalEstimator):
    """Second moment of the residuals decoded before, in a window around the element.

    v_i = p_i (w + sum_k m_k / p_k) / (w + n), where the sum runs over the n decoded elements k of
    the window in the same channel. The estimate is shrunk, with the weight of w elements, towards a
    variance p that is known beforehand. If that is the second moment of the channel, v_i = (w p +
    sum_k m_k) / (w + n). m_k = r_hat_k^2 + min(d, p_k) is the second moment of r_k given its
    decoded value, where d is the noise of the quantizer: step^2/12, or theta of the test channel,
    whose r_hat has the variance v - theta.

    Parameters
    ----------
    size : int
        Odd side length of the window, elements.
    weight : float
        w.
    towards : {"channel", "codec"}
        What p is: the channel's second moment, sent as by ``channel``, or the codec's variance.
    """

    information = Information.DECODABLE
    groups = 1

    def __init__(self, size: int = 5, weight: float = 4.0, towards: str = "channel"):
        if not (isinstance(size, int) and size > 1 and size % 2):
            raise InputError(f"causal-window: size is {size!r}; expected 3, 5, 7, ...")
        if not weight > 0:
            raise InputError(f"causal-window: weight is {weight!r}; expected a positive number")
        if towards not in ("channel", "codec"):
            allowed = "one of: channel, codec"
            raise InputError(f"causal-window: towards is {towards!r}; expected {allowed}")
        self.radius, self.weight = size // 2, weight
        self.initial: Variance = CodecVariance() if towards == "codec" else ChannelVariance()
        self.uses_side = self.initial.uses_side
        self.uses_context = self.initial.uses_context
        around = range(-self.radius, self.radius + 1)
        self.window = [(i, j) for i in around for j in around if (i, j) != (0, 0)]

    @property
    def transmitter(self) -> Transmitter | None:
        """The code of the initial variance."""
        return self.initial.transmitter

    def __call__(self, latents: Latents, residual: Tensor) -> tuple[Tensor, float]:
        """Return the variance before anything is decoded, and the bits sent for it."""
        return self.initial(latents, residual)

    def predict(
        self, context: CausalContext, initial: Tensor, channels: slice, positions: Tensor
    ) -> Tensor:
        """Return the variance given the decoded elements, of shape (channel, position)."""
        energy, count = (
            context.gather(array, channels, self.window).sum(2)
            for array in (context.normalized_energy, context.decoded)
        )
        return initial * (self.weight + energy) / (self.weight + count)


class WindowVariance(Variance):
    """Second moment over the ``size`` x ``size`` window around each element, itself included.

    At the border the window is cut. The estimator is a genie: no decoder has these residuals.

    Parameters
    ----------
    size : int
        Odd side length of the window, elements.
    """

    information = Information.GENIE
    uses_side = False
    uses_context = False

    def __init__(self, size: int):
        if not (isinstance(size, int) and size > 0 and size % 2):
            raise InputError(f"window: size is {size!r}; expected 1, 3, 5, ...")
        self.size = size

    def __call__(self, latents: Latents, residual: Tensor) -> tuple[Tensor, float]:
        """Return the second moment around each element, and no bits."""
        square = residual.square()
        moments = window_sum(square, self.size) / window_sum(torch.ones_like(square[:1]), self.size)
        return moments.clamp(min=FLOOR), 0


class RelativeWindowVariance(WindowVariance):
    """The codec's variance times the second moment of r / sigma over the window around it.

    It corrects the scale that the codec predicts, where :class:`WindowVariance` ignores it. It is a
    genie as well.

    Parameters
    ----------
    size : int
        Odd side length of the window, elements.
    """

    uses_side = True
    uses_context = True

    def __call__(self, latents: Latents, residual: Tensor) -> tuple[Tensor, float]:
        """Return the corrected variance of each element, and no bits."""
        variance = latents.scale.square().clamp(min=FLOOR)
        relative, _ = super().__call__(latents, residual / variance.sqrt())
        return (variance * relative).clamp(min=FLOOR), 0


def window_sum(x: Tensor, size: int) -> Tensor:
    """Return sums over windows around each element of an array of shape (channel, row, column).

    Windows are cut at the border.
    """
    for dim in (1, 2):
        length, reach = x.shape[dim], size // 2
        x = torch.nn.functional.pad(x, (0, 0, reach, reach) if dim == 1 else (reach, reach))
        windows: Tensor | int = sum(x.narrow(dim, start, length) for start in range(size))
        assert isinstance(windows, torch.Tensor)
        x = windows
    return x


class ElementVariance(WindowVariance):
    """r_i^2 itself: the second moment without an expectation, the most optimistic genie."""

    def __init__(self) -> None:
        super().__init__(1)

"""Contracts of means and variances.

An estimator states in :attr:`Estimator.information` what it knows. All other attributes have
conservative defaults, in the base class only: side information and the context model are taken to be
used unless an estimator says otherwise, so a forgotten attribute never turns a genie into a bound.

Users either subclass :class:`Mean` or :class:`Variance`, or write a plain class with ``information``
and ``__call__``, which :func:`adapt_mean` and :func:`adapt_variance` wrap and validate. Causal and
fitted estimators subclass :class:`CausalEstimator` and :class:`FittedEstimator` too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, runtime_checkable

import lazy_loader
import numpy as np
from numpy.typing import NDArray

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import Information

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from rdpipe.core.latents import Latents
    from rdpipe.estimators.causal import CausalContext
else:
    torch = lazy_loader.load("torch")

State = dict[str, NDArray[np.generic]]
"""Arrays of a fitted estimator, by name."""


class Estimator(ABC):
    """Base of means and variances.

    Attributes
    ----------
    information : Information
        What the estimator knows. Required; there is no default.
    uses_side : bool
        Whether a decoder needs the codec's side information to compute it.
    uses_context : bool
        Whether it depends on the output of the codec's context model, if the codec has one.
    """

    information: ClassVar[Information]
    uses_side: bool = True
    uses_context: bool = True


class Mean(Estimator):
    """Expected value of each latent: the context axis."""

    @abstractmethod
    def __call__(self, latents: Latents) -> Tensor:
        """Return the mean that is known before coding begins, of shape (channel, row, column)."""

    @property
    def is_codec(self) -> bool:
        """Whether this is the codec's own mean."""
        return False


class Variance(Estimator):
    """Expected square of each residual: the variance axis."""

    @abstractmethod
    def __call__(self, latents: Latents, residual: Tensor) -> tuple[Tensor, float]:
        """Return the variance that is known before coding begins, and the bits sent for it.

        Parameters
        ----------
        latents : Latents
        residual : Tensor of shape (channel, row, column)
            Latents minus their mean.

        Returns
        -------
        variance : Tensor of shape (channel, row, column)
            Finite and nonnegative, squared latent units.
        bits : float
            Bits that make it known to the decoder.
        """

    @property
    def is_codec(self) -> bool:
        """Whether this is the codec's own variance."""
        return False

    @property
    def transmitter(self) -> Transmitter | None:
        """The code of what the variance transmits; None if it transmits nothing."""
        return None

    def for_mean(self, mean_name: str) -> Variance:
        """Return the variance for residuals of the mean with this name."""
        return self


class CausalEstimator(ABC):
    """An estimator that also depends on the elements decoded before.

    Attributes
    ----------
    radius : int
        Largest distance at which it looks at decoded elements, at least 1.
    groups : int
        Number of channel groups that are coded one after the other.
    """

    radius: int
    groups: int = 1

    @abstractmethod
    def predict(
        self, context: CausalContext, initial: Tensor, channels: slice, positions: Tensor
    ) -> Tensor:
        """Return the estimate for some elements, of shape (channel, position).

        Parameters
        ----------
        context : CausalContext
            What is decoded so far.
        initial : Tensor of shape (channel, position)
            The estimate before anything was decoded.
        channels : slice
        positions : Tensor of int64, of shape (position,)
            ``row * columns + column``.
        """

    def decoding_order(self, shape: Sequence[int]) -> Iterator[tuple[slice, Tensor]] | None:
        """Return channels and positions of each decoding step; None for waves of the radius."""
        return None


class FittedEstimator(ABC):
    """An estimator or quantizer with parameters that are fitted on calibration images."""

    @abstractmethod
    def fit(self, images: Sequence[Latents], means: Mapping[str, Mean] | None = None) -> Self:
        """Fit the parameters.

        Parameters
        ----------
        images : sequence of Latents
            Calibration images.
        means : mapping of str to Mean, optional
            Means by name, for variances that are fitted to the residuals of each mean.
        """

    @abstractmethod
    def state(self) -> State:
        """Return the fitted parameters."""

    @abstractmethod
    def load_state(self, state: State) -> Self:
        """Set the parameters to what :meth:`state` returned."""


@runtime_checkable
class Transmitter(Protocol):
    """Code of an integer array from which the decoder computes a variance."""

    def index(self, residual: Tensor) -> Tensor:
        """Return the integer array for some residuals."""

    def from_index(self, index: Tensor, shape: Sequence[int]) -> Tensor:
        """Return the variance of each element."""

    def index_bits(self, index: Tensor) -> float:
        """Return the length of the code, bit."""

    def write(self, encoder: Any, index: Tensor) -> None:
        """Write the array to a range encoder."""

    def read(self, decoder: Any, shape: Sequence[int]) -> Tensor:
        """Read the array for latents of ``shape`` from a range decoder."""


def adapt_mean(name: str, mean: object) -> Mean:
    """Return a mean that fulfills the contract; wrap a user's plain class.

    Raises
    ------
    InputError
        If an attribute is missing or invalid.
    """
    if not isinstance(mean, Mean):
        return UserMean(name, mean)
    check_estimator("mean", name, mean)
    return mean


def adapt_variance(name: str, variance: object) -> Variance:
    """Return a variance that fulfills the contract; wrap a user's plain class.

    Raises
    ------
    InputError
        If an attribute is missing or invalid.
    """
    if not isinstance(variance, Variance):
        return UserVariance(name, variance)
    check_estimator("variance", name, variance)
    return variance


def check_estimator(axis: str, name: str, part: object) -> Information:
    """Check the attributes of a part of any axis; return what it knows.

    Raises
    ------
    InputError
        If an attribute is missing or invalid.
    """
    if not hasattr(part, "information"):
        raise InputError(
            f"{axis} {name!r} has no attribute 'information'; expected 'decodable' or 'genie'"
        )
    information = Information.parse(part.information, f"{axis} {name!r}")
    if isinstance(part, CausalEstimator):
        for attribute in ("radius", "groups"):
            value = getattr(part, attribute, None)
            if not (isinstance(value, int) and value > 0):
                raise InputError(
                    f"causal {axis} {name!r} has {attribute} {value!r}; expected 1, 2, 3, ..."
                )
    return information


def check_plain(axis: str, name: str, part: object, bases: str) -> None:
    """Check that a part without a base class has no trait that needs one.

    Raises
    ------
    InputError
        If it is not callable in the way of its axis, or claims to be causal or fitted.
    """
    traits = [trait for trait in ("causal", "fitted") if getattr(part, trait, False)]
    traits += ["fitted"] if isinstance(part, _HasFit) and "fitted" not in traits else []
    if traits:
        base = {"causal": "CausalEstimator", "fitted": "FittedEstimator"}[traits[0]]
        raise InputError(
            f"{axis} {name!r} is {traits[0]} but has no base class; expected a subclass of {bases}"
            f" and rdpipe.estimators.base.{base}"
        )


@runtime_checkable
class _HasFit(Protocol):
    """A plain object with a method ``fit``."""

    def fit(self, *args: Any) -> Any: ...


class UserMean(Mean):
    """A user's plain class as a mean.

    Parameters
    ----------
    name : str
        Name in the config, for error messages.
    wrapped : object
        With ``information`` and ``__call__(latents)``; optionally ``uses_side``, ``uses_context``.
    """

    def __init__(self, name: str, wrapped: Any):
        self.information = check_estimator("mean", name, wrapped)  # type: ignore[misc]
        check_plain("mean", name, wrapped, "rdpipe.estimators.base.Mean")
        _check_callable("mean", name, wrapped)
        self.wrapped = wrapped
        self.uses_side = bool(getattr(wrapped, "uses_side", True))
        self.uses_context = bool(getattr(wrapped, "uses_context", True))

    def __call__(self, latents: Latents) -> Tensor:
        """Return the wrapped mean of each element."""
        mean: Tensor = self.wrapped(latents)
        return mean


class UserVariance(Variance):
    """A user's plain class as a variance.

    Parameters
    ----------
    name : str
        Name in the config, for error messages.
    wrapped : object
        With ``information`` and ``__call__(latents, residual)``; optionally ``uses_side``,
        ``uses_context`` and ``transmitter``.
    """

    def __init__(self, name: str, wrapped: Any):
        self.information = check_estimator("variance", name, wrapped)  # type: ignore[misc]
        check_plain("variance", name, wrapped, "rdpipe.estimators.base.Variance")
        _check_callable("variance", name, wrapped)
        self.wrapped = wrapped
        self.uses_side = bool(getattr(wrapped, "uses_side", True))
        self.uses_context = bool(getattr(wrapped, "uses_context", True))

    def __call__(self, latents: Latents, residual: Tensor) -> tuple[Tensor, float]:
        """Return the wrapped variance of each element, and the bits sent for it."""
        estimate: tuple[Tensor, float] = self.wrapped(latents, residual)
        return estimate

    @property
    def transmitter(self) -> Transmitter | None:
        """The wrapped object's transmitter, if it has one."""
        transmitter: Transmitter | None = getattr(self.wrapped, "transmitter", None)
        return transmitter


def _check_callable(axis: str, name: str, part: object) -> None:
    if not callable(part):
        raise InputError(f"{axis} {name!r} is a {type(part).__name__}; expected a callable object")


def check_mean_output(name: str, value: object, shape: Sequence[int]) -> Tensor:
    """Return the output of a mean if it is usable.

    Raises
    ------
    InputError
        If it is not a finite floating-point tensor of the shape of the latents.
    """
    tensor = _check_tensor(f"mean {name!r}", value, shape)
    if not tensor.isfinite().all():
        raise InputError(f"mean {name!r} returned values that are not finite")
    return tensor


def check_variance_output(
    name: str, value: object, shape: Sequence[int]
) -> tuple[Tensor, float]:
    """Return the output of a variance if it is usable.

    Raises
    ------
    InputError
        If it is not a pair of a finite, nonnegative floating-point tensor of the shape of the
        latents and a number of bits.
    """
    if not (isinstance(value, tuple) and len(value) == 2):
        kind = type(value).__name__
        raise InputError(f"variance {name!r} returned a {kind}; expected (variance, bits)")
    tensor, bits = _check_tensor(f"variance {name!r}", value[0], shape), float(value[1])
    if tensor.numel() and not (0 <= tensor.min() and tensor.max() < torch.inf):
        invalid = tensor[~((tensor >= 0) & (tensor < torch.inf))].flatten()[0].item()
        raise InputError(
            f"variance {name!r} returned {invalid:g}; expected finite numbers >= 0"
        )
    if not 0 <= bits < float("inf"):
        raise InputError(f"variance {name!r} sends {bits:g} bits; expected a finite number >= 0")
    return tensor, value[1]


def _check_tensor(what: str, value: object, shape: Sequence[int]) -> Tensor:
    if not isinstance(value, torch.Tensor):
        raise InputError(f"{what} returned a {type(value).__name__}; expected a torch.Tensor")
    if tuple(value.shape) != tuple(shape):
        raise InputError(
            f"{what} returned a tensor of shape {tuple(value.shape)}; expected {tuple(shape)}"
        )
    if not value.is_floating_point():
        raise InputError(f"{what} returned a tensor of {value.dtype}; expected a floating point type")
    return value

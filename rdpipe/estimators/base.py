"""Contracts of means and variances.

An estimator states in :attr:`Estimator.information` what it knows. All other attributes have
conservative defaults, in the base class only: side information and the context model are taken to
be used unless an estimator says otherwise, so a forgotten attribute never turns a genie into a
bound.

Users either subclass :class:`Mean` or :class:`Variance`, or write a plain class with
``information`` and ``__call__`` (:mod:`rdpipe.estimators.user_estimators`). Causal and fitted
estimators subclass :class:`CausalEstimator` and :class:`FittedEstimator` too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rdpipe.core.kinds import Information

if TYPE_CHECKING:
    from torch import Tensor

    from rdpipe.core.latents import Latents
    from rdpipe.estimators.causal import CausalContext

State = dict[str, NDArray[np.generic]]
"""Arrays of a fitted estimator, by name."""


class Estimator(ABC):
    """Base of means and variances.

    Attributes
    ----------
    information : Information
        What the estimator knows. Required; there is no default.
    uses_side : bool
        Whether it is computed from the codec's side information, whose bits are then part of the
        rate, also if it is a genie.
    uses_context : bool
        Whether it depends on the output of the codec's context model, if the codec has one.
    """

    information: Information
    uses_side: bool = True
    uses_context: bool = True


class Mean(Estimator):
    """Expected value of each latent: the mean axis, whose term is context."""

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
    def uses_residual(self) -> bool:
        """Whether :meth:`__call__` uses the residuals; without them a causal mean codes faster."""
        return True

    @property
    def transmitter(self) -> Transmitter | None:
        """Coder of the transmitted index array; None if nothing is transmitted."""
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
        """Return channels and positions of each wave; None to use the waves of the radius.

        If mean and variance both give an order, that of the mean is used.
        """
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

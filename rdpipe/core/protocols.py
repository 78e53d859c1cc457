"""What rdpipe expects of a codec: one required method, and one protocol per optional capability."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

Image = NDArray[Any]
"""uint8 of shape (height, width, 3), or float32 of shape (height, width, 1) for Gaussian fields."""
Region = tuple[slice, slice, slice]
"""Channels, rows and columns."""


class Prior(Protocol):
    """The density of each element of a latent (:mod:`rdpipe.entropy.priors`)."""

    mean: Tensor
    scale: Tensor
    is_gaussian: bool

    @property
    def origin(self) -> Tensor:
        """A point of the grid to which elements are rounded, unless ``send`` states another."""

    def log_tail(self, x: Tensor, upper: Tensor) -> Tensor:
        """Return ln P(X > x) where ``upper`` is True, and ln P(X < x) elsewhere."""

    def select(self, index: Tensor) -> Prior:
        """Return the prior of some elements, as a vector."""

    def join(self, priors: Sequence[Any]) -> Prior:
        """Return the prior of the elements of several priors, as a vector."""

    def index_log_tail(
        self, offset: Tensor, step: float | Tensor
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the log tails of the index (x - offset) / step for a range coder."""

    def bits(self, x: Tensor, step: float | Tensor = 1.0) -> Tensor:
        """Return the code length of [x - step/2, x + step/2], bit."""

    def log_probability(self, x: Tensor, step: float | Tensor = 1.0) -> Tensor:
        """Return ln P(x - step/2 < X < x + step/2), with finite gradients."""


class Send(Protocol):
    """Transmit the elements of a latent, and return what the decoder has of them."""

    def __call__(
        self,
        name: str,
        prior: Prior | Callable[[], Prior],
        y: Tensor | None = None,
        *,
        at: Tensor | Region | None = None,
        offset: Tensor | float | None = None,
        step: Tensor | float = 1.0,
        skip: Tensor | None = None,
        side: bool = False,
    ) -> Tensor:
        """Return y_hat.

        Parameters
        ----------
        name : str
            Name of the latent. Several calls with one name are its parts, in decoding order.
        prior : Prior or callable
            Density of the elements, of shape (1, channel, row, column): its mean and its scale have
            that shape. Or a function without arguments that returns it, which is called only if the
            prior is needed.
        y : Tensor of the shape of the prior, optional
            The elements before quantization; None at a decoder.
        at : Tensor of bool, or tuple of slices, optional
            Which elements of the latent the part holds. A tensor has the shape of the whole latent
            (or broadcasts to it), as have the prior, ``y`` and ``y_hat`` then, which is 0
            elsewhere. Slices of channels, rows and columns, with both ends, place a small part.
            Parts do not overlap, and all calls of a name use the same form. Default: the channels
            after the previous part.
        offset : Tensor or float, optional
            A point of the grid to which elements are rounded. Default: the mean of the prior; 0 for
            a table. A codec that rounds to integers, or about a median, must say so. A mixture and
            a learned density whose mean is computed have no default.
        step : Tensor or float
            Distance of the points of that grid.
        skip : Tensor of bool, of the shape of the prior, optional
            Elements that are never coded: the decoder has ``offset``. The decision itself is not
            transmitted. If rounding errors of another machine change it, decoding fails there.
        side : bool
            Whether the latent is side information: it is coded as it is, and no other quantizer
            takes its place. It depends on nothing but the image and other side information.

        Returns
        -------
        Tensor of the shape and the dtype of the mean of the prior
        """


@runtime_checkable
class Codec(Protocol):
    """A codec at one quality: one method, which encoder and decoder both run.

    .. code-block:: none

        encoder: image -> code(image, size, send) -> the decoded image
                            | y, prior       ^ y_hat
        send:             quantize, write: bytes
        decoder:                      read: bytes
                            | prior          ^ y_hat
                 None  -> code(None, size, send) -> the decoded image
    """

    def code(
        self, image: Tensor | None, size: tuple[int, int], send: Send
    ) -> Tensor | Callable[[], Tensor]:
        """Code an image.

        Parameters
        ----------
        image : Tensor of shape (1, 3, height, width), optional
            Values in [0, 1]; of shape (1, 1, height, width), in gray levels, for Gaussian fields.
            The sides are multiples of ``multiple`` (64 if the codec has no such attribute); the
            image is extended at the right and at the bottom by repeating its border. None at a
            decoder.
        size : tuple of int
            Height and width of that image, pixels.
        send : Send
            Call it with every latent, in decoding order. What a decoder needs of the image goes
            through it.

        Returns
        -------
        Tensor of the shape of the image
            The decoded image; or a function without arguments that returns it, which is called only
            if the image is needed.
        """


@runtime_checkable
class HasMultiple(Protocol):
    """A codec that states the multiple to which the sides of its images are extended, pixels."""

    multiple: int


@runtime_checkable
class HasLeast(Protocol):
    """A codec that states the least side of its images, pixels."""

    least: int


@runtime_checkable
class HasDevice(Protocol):
    """A codec that expects images on a device."""

    device: Any


@runtime_checkable
class StatesDecoding(Protocol):
    """A codec that states whether ``code(None, ...)`` decodes. Default: it does.

    A codec that only describes what a model does with an image has no bitstream: its curve is
    achievable instead of achieved.
    """

    can_decode: bool


@runtime_checkable
class SupportsCoder(Protocol):
    """A codec with a bitstream of its own, whose bytes its curve then counts.

    For other codecs rdpipe writes and reads the bytes.
    """

    def compress(self, image: Image) -> bytes:
        """Return all that :meth:`decompress` needs besides the codec."""

    def decompress(self, stream: bytes) -> Image:
        """Return the decoded image."""


@runtime_checkable
class SupportsLatentCoder(SupportsCoder, Protocol):
    """A codec whose bitstream can hold other latents than those that it computes of the image."""

    def compress_latents(self, image: Image, latents: Mapping[str, Tensor]) -> bytes:
        """Return all that ``decompress`` needs besides the codec.

        Parameters
        ----------
        image : array
            Only its size counts.
        latents : mapping of str to Tensor of shape (1, channel, row, column)
            The elements of each latent, as ``code`` sends them.
        """


@runtime_checkable
class SupportsFloat64(Protocol):
    """A codec that makes a copy of itself for bitstreams.

    Its transforms may stay in float32. Of a codec without it everything is computed in float64 for
    a bitstream, its transforms too, and new tensors are of that type.
    """

    def to_float64(self) -> Codec:
        """Return a codec whose means and scales are computed in float64."""


@runtime_checkable
class SupportsForward(Protocol):
    """A codec with a forward pass to compare ``code`` with."""

    def forward(self, image: Tensor) -> Tensor:
        """Return the decoded image according to the model's own forward pass."""


@runtime_checkable
class SupportsForwardBits(Protocol):
    """A codec with likelihoods to compare the priors of ``code`` with.

    A training graph that rounds without the feedback of a context model has other bits than the
    coder. Papers report them.
    """

    def forward_bits(self, image: Tensor) -> float | None:
        """Return the bits of an image by the model's own likelihoods; None if there are none.

        They are the sum of -log2 of all likelihoods that the model's forward pass returns.
        """


class SendWithContext(Protocol):
    """A ``send`` that also sends latents whose prior depends on their own decoded elements."""

    def __call__(
        self,
        name: str,
        prior: Prior | Callable[[], Prior],
        y: Tensor | None = None,
        *,
        step: Tensor | float = 1.0,
        side: bool = False,
    ) -> Tensor:
        """Return y_hat; see :class:`Send`."""

    def send_with_context(self, name: str, predict: Callable[[Tensor], Prior]) -> Tensor:
        """Return y_hat of a whole latent; ``predict`` returns its prior from y_hat."""


@runtime_checkable
class SupportsParallel(Protocol):
    """A codec with a context model in raster scan that evaluates it for all elements at once.

    ``code`` runs its networks for each element, which is too slow for refinement.
    """

    def code_parallel(self, size: tuple[int, int], send: SendWithContext) -> Tensor:
        """Return the decoded image, for given latents.

        Parameters
        ----------
        size : tuple of int
            Height and width of the extended image, pixels.
        send : SendWithContext
        """


@runtime_checkable
class SupportsTraining(Protocol):
    """A codec that PyTorch can train through ``code``.

    In the training mode of ``network``, what ``code`` returns and the priors that it sends have
    gradients with respect to the weights.
    """

    @property
    def network(self) -> Module:
        """The module that has all weights of the codec as its parameters."""

    def part_of(self, weight: str) -> str | None:
        """Return what a parameter of the network belongs to.

        It is ``encoder``, ``decoder`` or ``prior``; or None if no gradient descent trains it.
        """

    def checkpoint(self) -> dict[str, Tensor]:
        """Return the weights of a trained codec, under the names of the codec's own format."""

    def load_checkpoint(self, weights: Mapping[str, Tensor]) -> None:
        """Replace the weights by some that :meth:`checkpoint` returned."""


@runtime_checkable
class SupportsKnownSource(Protocol):
    """A codec of a source whose rate-distortion function is known."""

    def references(self) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Return the rate-distortion functions by name: MSE and bit/pixel."""

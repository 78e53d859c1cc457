"""What rdpipe expects of a codec: one required protocol, and one for each optional capability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rdpipe.core.latents import Latents

if TYPE_CHECKING:
    from torch import Tensor

Image = NDArray[Any]
"""uint8 of shape (height, width, 3), or float32 of shape (height, width, 1) for Gaussian fields."""
CodeStep = Callable[[slice, "Tensor", "Tensor", "Tensor"], "Tensor"]
"""``code(channels, positions, mean, scale)`` returns y_hat of some elements.

Positions are ``row * columns + column``, int64; mean, scale and y_hat have the shape (channel,
position).
"""


@dataclass(frozen=True)
class Analysis:
    """The analysis of one image by a codec.

    Parameters
    ----------
    latents : Latents
        The latents, and the mean and scale that the codec predicts for them.
    latent_bits : float
        Code length of the rounded latents under the codec's own likelihood, including its floors.
    side_bits : float
        Code length of the side information (hyper-latents) under the codec's own likelihood.
    forward_bits : float, optional
        Code length of both according to the model's training graph, if it differs: that graph
        rounds without the feedback of a context model, and papers report it.
    """

    latents: Latents
    latent_bits: float
    side_bits: float
    forward_bits: float | None = None


@runtime_checkable
class Codec(Protocol):
    """A codec at one quality.

    .. code-block:: none

        image --analyse--> latents --(quantizer of a cell)--> y_hat --synthesise--> image
        image --compress--> bytes --decompress--> image          (the codec's own bitstream)
    """

    def analyse(self, name: str, image: Image) -> Analysis:
        """Return the latents of an image, not quantized, and the codec's prediction of them."""

    def synthesise(self, y_hat: Tensor, height: int, width: int) -> Image:
        """Return the image of decoded latents of shape (channel, row, column)."""


@runtime_checkable
class SupportsBitstream(Protocol):
    """A codec with a bitstream of its own.

    The curve of a codec without one is called achievable instead of achieved.
    """

    def compress(self, image: Image) -> bytes:
        """Return all that :meth:`decompress` needs besides the codec."""

    def decompress(self, stream: bytes) -> Image:
        """Return the decoded image."""


@runtime_checkable
class SupportsSideInformation(Protocol):
    """A codec that can transmit its side information separately."""

    def side(self, image: Image) -> bytes:
        """Return the part of the bitstream from which :meth:`predict` works; may be empty."""

    def predict(self, side: bytes, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Return mean and scale, of shape (channel, row, column), before any latent is decoded."""


@runtime_checkable
class SupportsContext(Protocol):
    """A codec whose context model can run on the output of another quantizer.

    Without it, a cell with the codec's context model and another quantizer is genie-aided.
    """

    def recode(self, image: Image, code: CodeStep) -> Tensor:
        """Return y_hat of another quantizer, whose output the context model sees.

        Parameters
        ----------
        image : array
        code : callable
            See :data:`CodeStep`; it is called in decoding order.
        """


@runtime_checkable
class SupportsReconstruction(Protocol):
    """A codec whose decoder does not use rounded latents as they are."""

    def reconstruct(self, y_hat: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        """Return what the codec's own decoder uses instead of rounded latents."""


@runtime_checkable
class SupportsGain(Protocol):
    """A codec that measures the gain of its decoder."""

    def decoder_gain(self, latents: Latents, height: int, width: int) -> Tensor:
        """Return the squared change of the image for a unit change of one latent.

        It has the shape (channel,): summed over pixels and colors, in pixel values of [0, 1],
        averaged over the positions of each channel. It is measured on calibration images, for
        ``weighted-test-channel``. A random estimate is seeded by the name of the image.
        """


@runtime_checkable
class SupportsKnownSource(Protocol):
    """A codec of a source whose rate-distortion function is known."""

    def references(self) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Return the rate-distortion functions by name: MSE and bit/pixel."""

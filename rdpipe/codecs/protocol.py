"""What rdpipe asks of a codec."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents


@dataclass(frozen=True)
class Analysis:
    """What a codec finds in one image.

    Parameters
    ----------
    latents : Latents
        The latents, and the mean and scale that the codec predicts for them.
    latent_bits : float
        Code length of the rounded latents under the codec's own likelihood, its floors included.
    side_bits : float
        Code length of the side information (hyper-latents) under the codec's own likelihood.
    forward_bits : float or None
        What the model's training graph says that both cost, where that is another number: it rounds
        without a context's feedback, and papers report it.
    """

    latents: Latents
    latent_bits: float
    side_bits: float
    forward_bits: float | None = None


def decoded_latents(codec, latents: Latents) -> torch.Tensor:
    """What the codec's own decoder has of some latents: rounded, and reconstructed as it does."""
    y_hat = (latents.y - latents.mean).round() + latents.mean
    if hasattr(codec, "reconstruct"):
        y_hat = codec.reconstruct(y_hat, latents.mean, latents.scale)
    return y_hat


def gain_of(codec, latents: Latents, height: int, width: int) -> torch.Tensor:
    """What a codec says of its decoder's gain; an InputError where that cannot be one."""
    gain = torch.as_tensor(codec.decoder_gain(latents, height, width))
    if gain.shape != latents.y.shape[:1]:
        raise InputError(f"decoder_gain has shape {tuple(gain.shape)}; it must be (channel,)")
    if not gain.isfinite().all():
        raise InputError("decoder_gain holds values that are not finite")
    return gain


def own_code(codec, y: torch.Tensor) -> Callable:
    """The codec's own quantizer of latents of shape (channel, row, column), as :meth:`Codec.recode` takes one."""
    y = y.flatten(1)

    def code(channels, positions, mean, scale):
        return decoded_latents(codec, Latents("", y[channels][:, positions], mean, scale))

    return code


class Codec(Protocol):
    """A codec at one quality. Images are uint8 arrays of shape (height, width, 3).

    .. code-block:: none

        image --analyse--> latents --(an axis' quantizer)--> y_hat --synthesise--> image
        image --compress--> bytes --decompress--> image          (the real bitstream)
    """

    def analyse(self, name: str, image: np.ndarray) -> Analysis:
        """Latents of an image, before quantization, and the codec's prediction of them."""

    def synthesise(self, y_hat: torch.Tensor, height: int, width: int) -> np.ndarray:
        """Image from decoded latents of shape (channel, row, column)."""

    # All below is optional. Also: references() -> {name: (mse, bpp)}, rate-distortion functions that
    # are known; stride, pixels from one latent to the next, for the maps over an image.
    # Without compress and decompress a codec's curve is called achievable, not achieved.

    def compress(self, image: np.ndarray) -> bytes:
        """The real bitstream: all that :meth:`decompress` needs beside the codec."""

    def decompress(self, stream: bytes) -> np.ndarray:
        """The decoded image."""

    def decoder_gain(self, latents: Latents, height: int, width: int) -> torch.Tensor:
        """Squared change of the image for a unit change of one latent, averaged over each channel.

        Of shape (channel,), summed over pixels and colours, in pixel values of [0, 1]. Asked for on
        calibration images, for ``weighted-test-channel``. Where it is drawn at random, the seed is the
        name of the image.
        """

    def side(self, image: np.ndarray) -> bytes:
        """The part of the bitstream that says what :meth:`predict` needs; may be empty."""

    def predict(self, side: bytes, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and scale of the latents, of shape (channel, row, column), as a decoder knows them
        before it decodes any."""

    def recode(self, image: np.ndarray, code: Callable) -> torch.Tensor:
        """y_hat of another quantizer, through a context model that sees what that quantizer leaves.

        ``code(channels, positions, mean, scale)`` gives y_hat of some elements, of shape (channel,
        position), in decoding order; positions are ``row * columns + column``. Without it a cell with
        the codec's context model and another quantizer is a genie's (SCIENCE.md, section 7).
        """

    def reconstruct(
        self, y_hat: torch.Tensor, mean: torch.Tensor, scale: torch.Tensor
    ) -> torch.Tensor:
        """What the codec's own decoder puts in the place of rounded latents, if not themselves."""

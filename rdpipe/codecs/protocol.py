"""What rdpipe asks of a codec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from rdpipe.latents import Latents


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
    """

    latents: Latents
    latent_bits: float
    side_bits: float


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

    def compress(self, image: np.ndarray) -> bytes:
        """The real bitstream: all that :meth:`decompress` needs beside the codec."""

    def decompress(self, stream: bytes) -> np.ndarray:
        """The decoded image."""

    # optional: stride, pixels from one latent to the next, for the maps over an image

    # optional: references() -> {name: (mse, bpp)}, rate-distortion functions that are known

    def side(self, image: np.ndarray) -> bytes:
        """The part of the bitstream that says what :meth:`predict` needs; may be empty."""

    def predict(self, side: bytes, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and scale of the latents, of shape (channel, row, column), as a decoder knows them."""

"""The latents of one image and the codec's prediction of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Latents:
    """The latents of one image and the codec's own prediction of them.

    Parameters
    ----------
    name : str
        Name of the image.
    y : Tensor of shape (channel, row, column)
        Latents before quantization, in units of the codec's quantization step.
    mean, scale : Tensor of shape (channel, row, column)
        Mean and standard deviation that the codec predicts for each element of ``y``.
    hyper : Tensor of shape (channel, row, column), optional
        Mean that the codec predicts without its context model. Required if the codec has one.
    gain : Tensor of shape (channel,), optional
        Gain of the decoder (:meth:`rdpipe.core.protocols.SupportsGain.decoder_gain`), measured on
        calibration images.
    own_bits : Tensor of shape (channel, row, column), optional
        Code length of each rounded element under the codec's own prior, bit. Required if that
        prior is not a Gaussian with this mean and scale.
    """

    name: str
    y: Tensor
    mean: Tensor
    scale: Tensor
    hyper: Tensor | None = None
    gain: Tensor | None = None
    own_bits: Tensor | None = None

    @property
    def with_context(self) -> bool:
        """Whether mean and scale depend on latents that are decoded before."""
        return self.hyper is not None

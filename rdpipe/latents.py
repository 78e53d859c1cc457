"""What a codec says about one image, and all that the axes look at."""

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
        The image.
    y : Tensor of shape (channel, row, column)
        Latents before quantization, in units of the codec's quantization step.
    mean, scale : Tensor of shape (channel, row, column)
        The codec's own mean and standard deviation for each element of ``y``.
    hyper : Tensor of the same shape, or None
        The codec's mean without its context model, where it has one.
    gain : Tensor of shape (channel,), or None
        The decoder's gain (:meth:`rdpipe.codecs.protocol.Codec.decoder_gain`), of calibration images.
    own_bits : Tensor of shape (channel, row, column), or None
        Code length of each element, rounded, under the codec's own prior, bit; of a codec whose prior is
        no Gaussian of that mean and scale.
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
        """Whether the codec's mean depends on latents decoded before, so that it holds in its own past alone."""
        return self.hyper is not None

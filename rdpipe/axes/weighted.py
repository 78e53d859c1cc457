"""The test channel with the decoder's gain as weights (SCIENCE.md, section 2.3)."""

from __future__ import annotations

import lazy_loader
import numpy as np

from rdpipe.axes.quantizer import TestChannel
from rdpipe.errors import InputError

torch = lazy_loader.load("torch")


class WeightedTestChannel(TestChannel):
    """The test channel at level theta / w_c in channel c: an error costs what it does in the image.

    w_c is the decoder's gain, the squared change of the image for a unit change of one latent of the
    channel, averaged over the calibration images and scaled to a mean of 1. Its level gives the
    weighted distortion that rounding has. Where the decoder is linear and its columns orthogonal,
    equal weighted distortion is equal PSNR.
    """

    fitted = needs_gain = True

    def fit(self, images) -> dict[str, np.ndarray]:
        """``weights`` of shape (channel,)."""
        gains = [latents.gain for latents in images]
        if any(gain is None for gain in gains):
            raise InputError("weighted-test-channel: latents without the decoder's gain; a codec must have a decoder_gain")
        mean = torch.stack(gains).double().mean(0)
        return {"weights": (mean / mean.mean()).numpy()}

    def use(self, fit: dict[str, np.ndarray]) -> None:
        """Take the weights that :meth:`fit` found."""
        self.weights = torch.from_numpy(fit["weights"])[:, None]

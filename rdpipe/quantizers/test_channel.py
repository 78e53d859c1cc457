"""The Gaussian test channel of reverse water-filling, plain and with the decoder's gain as weights.

See ``docs/explanation/science.md``, section 2.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

import lazy_loader

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import Information, LevelKind
from rdpipe.estimators.base import FittedEstimator, Mean, State
from rdpipe.quantizers.base import Quantizer, QuantizerOutput

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from rdpipe.core.latents import Latents
else:
    torch = lazy_loader.load("torch")


class TestChannel(Quantizer):
    """The Gaussian test channel at water level theta, with a = max(0, 1 - theta/v).

    It outputs a r + sqrt(theta a) n, where the decoder expects N(0, v - theta). The rate is the
    divergence KL(N(a r, theta a) || N(0, v - theta)). With a decodable mean and variance it bounds
    the rate-distortion function from above, whatever the true distribution of r (Cover & Thomas,
    section 10.3).

    Parameters
    ----------
    step : float
        Step of the rounding whose distortion the channel has, latent units.
    """

    __test__ = False  # not a test class of pytest
    information = Information.DECODABLE
    level_kind = LevelKind.THETA
    elementwise = True
    rate_is_bound = True
    level = None

    def __init__(self, step: float = 1.0):
        self.step = step

    def code(
        self, r: Tensor, v: Tensor, level: float | Tensor, noise: Tensor | None = None
    ) -> QuantizerOutput:
        """Send residuals through the channel at theta = ``level``, which broadcasts to ``r``.

        The rate is KL = 1/2 [ln(v/theta) + (theta + a r^2)/v - 1] / ln 2 bit, the expected squared
        error is (1-a)^2 r^2 + theta a. Nothing is sent where v <= theta. Without ``noise`` the
        residual is its expectation a r.
        """
        lost = (level / v).clamp(max=1)  # 1 - a; all terms vanish by themselves where v <= theta
        a, square = 1 - lost, r.square()
        bits = (a * (square / v - 1) - lost.log()) / (2 * math.log(2))
        noise_power = lost * a * v
        residual = a * r if noise is None else a * r + noise_power.sqrt() * noise
        return QuantizerOutput(bits, lost.square() * square + noise_power, residual)

    @property
    def has_expected_distortion(self) -> bool:
        """Whether :meth:`code` is inherited unchanged, so that the closed form holds."""
        names = ("code", "expected_distortion")
        return all(getattr(type(self), name) is getattr(TestChannel, name) for name in names)

    def expected_distortion(self, r: Tensor, v: Tensor, level: float | Tensor) -> Tensor:
        """Return the distortion of :meth:`code` by its closed form."""
        lost = (level / v).clamp_(max=1)
        return r.square().sub_(v).mul_(lost).add_(v).mul_(lost)


class WeightedTestChannel(TestChannel, FittedEstimator):
    """The test channel at level theta / w_c in channel c, which weights errors as the image does.

    w_c is the decoder's gain: the squared change of the image for a unit change of one latent of
    the channel, averaged over the calibration images and scaled to a mean of 1. The level is solved
    such that the weighted distortion equals that of rounding. If the decoder is linear with
    orthogonal columns, equal weighted distortion is equal PSNR.
    """

    needs_gain = True

    def fit(self, images: Sequence[Latents], means: Mapping[str, Mean] | None = None) -> Self:
        """Average the gains of the calibration images.

        Raises
        ------
        InputError
            If an image has no gain, or all gains are 0.
        """
        gains = [latents.gain for latents in images if latents.gain is not None]
        if len(gains) < len(images):
            raise InputError(
                "weighted-test-channel: latents without the decoder's gain; expected a decoder that"
                " PyTorch can differentiate"
            )
        mean = torch.stack(gains).double().mean(0)
        if not mean.any():
            raise InputError(
                "weighted-test-channel: the decoder's gain is 0 for every channel; expected an"
                " image that depends on the latents"
            )
        return self.load_state({"weights": (mean / mean.mean()).numpy()})

    def state(self) -> State:
        """Return ``weights`` of shape (channel,)."""
        assert self.weights is not None, "fit or load_state sets the weights"
        return {"weights": self.weights[:, 0].numpy()}

    def load_state(self, state: State) -> Self:
        """Set the weights."""
        self.weights = torch.from_numpy(state["weights"])[:, None]
        return self

"""Variable-rate networks of every family, which fold into plain models, one per rate."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from rdpipe.codecs.compressai._torchvision import declare_missing_operators
from rdpipe.core.axes import TRAINED_LEVEL
from rdpipe.entropy import escape
from rdpipe.quantizers.test_channel import TestChannel
from rdpipe.entropy.range_coding import interval_bits
from rdpipe.core.errors import InputError

declare_missing_operators()

from compressai.models import (  # noqa: E402
    CompressionModel,
    FactorizedPrior,
    MeanScaleHyperprior,
    ScaleHyperprior,
)
from compressai.ops import LowerBound, quantize_ste  # noqa: E402

from rdpipe.codecs.compressai.checkerboard import CheckerboardHyperprior, two_passes  # noqa: E402
from rdpipe.codecs.compressai.checkpoint import stretched  # noqa: E402

FAMILIES: dict[tuple[str, str], type[CompressionModel]] = {
    ("zero", "factorized"): FactorizedPrior,
    ("zero", "hyperprior"): ScaleHyperprior,
    ("hyper", "hyperprior"): MeanScaleHyperprior,
    ("checkerboard", "hyperprior"): CheckerboardHyperprior,
    ("zero", "window-5"): FactorizedPrior,
    ("hyper", "window-5"): MeanScaleHyperprior,
}
"""By mean and variance, what a network folds into.

To a genie's variance belongs no prior that a decoder has: the scales of its hyperprior stay as they began.
"""
QUANTIZERS = ("ste", "noise", "test-channel")
"""What a network can be trained with."""
LEAST_SCALE = 0.11
"""Least scale of CompressAI's coder."""
RARE_BITS = -math.log2(escape.RARE)
"""What an escape costs in training, bit."""


class Gained(nn.Module):
    """A codec with one gain vector per rate, trained at all rates at once.

    .. code-block:: none

        x --> g_a --> (* gain[rate]) --> y --> Q --> y_hat --> (* inverse_gain[rate]) --> g_s --> x_hat
                                         |     ^
                                        h_a    | mean, scale
                                         '-> z -> EB -> h_s

    The gains are linear and stand next to a convolution on both sides, so
    :func:`rdpipe.codecs.compressai.checkpoint.fold` turns the network at one rate into an ordinary model, of the class that ``FAMILIES`` says.

    Parameters
    ----------
    N, M : int
        Channels of the transforms and of the latents.
    lambdas : sequence of float
        One Lagrange multiplier per rate; the loss is ``bpp + lambda * 255**2 * MSE``.
    mean : {"hyper", "zero", "checkerboard"}
        The mean axis: from the hyper-latents, none, or from the hyper-latents and the decoded
        neighbours on a checkerboard.
    variance : {"hyperprior", "factorized", "window-5"}
        The variance axis: from the hyper-latents (and the neighbours); none, but a learned density
        for each channel; or the second moment of what is coded over the 5 x 5 window around each
        element, which no decoder has (a genie).
    quantizer : {"ste", "noise", "test-channel"}
        The quantizer axis: rounding, noise in its place for the rate and its gradient passed straight
        through for the synthesis; noise for both; or the Gaussian test channel at level ``TRAINED_LEVEL``,
        whose rate is the divergence of SCIENCE.md, section 2.3.

    Raises
    ------
    InputError
        If these do not go together.

    References
    ----------
    J. Balle et al., "Variational Image Compression with a Scale Hyperprior", ICLR 2018; D. Minnen,
    J. Balle, G. Toderici, "Joint Autoregressive and Hierarchical Priors for Learned Image
    Compression", NeurIPS 2018; D. He et al., "Checkerboard Context Model for Efficient Learned Image
    Compression", CVPR 2021 (the models). Z. Cui et al., "Asymmetric Gained Deep Image Compression
    with Continuous Rate Adaptation", CVPR 2021 (the gains). D. Minnen, S. Singh, "Channel-wise
    Autoregressive Entropy Models", ICIP 2020 (noise for the rate, straight-through rounding for the
    synthesis).
    """

    def __init__(
        self,
        N: int,
        M: int,
        lambdas,
        mean: str = "hyper",
        variance: str = "hyperprior",
        quantizer: str = "ste",
    ):
        super().__init__()
        check_axes(mean, variance, quantizer)
        self.mean, self.variance, self.quantizer = mean, variance, quantizer
        for name, module in FAMILIES[mean, variance](N, M).named_children():
            self.add_module(name, module)
        # the best step falls as lambda ** -1/2, because distortion grows as step ** 2
        log_gain = 0.5 * torch.log(torch.as_tensor(lambdas, dtype=torch.float32))
        log_gain = (log_gain - log_gain.mean())[:, None].repeat(1, M)
        self.log_gain = nn.Parameter(log_gain.clone())
        self.log_inverse_gain = nn.Parameter(-log_gain.clone())

    def forward(self, x: Tensor, rate: Tensor) -> dict:
        """Reconstruct a batch, each image at its own rate.

        Parameters
        ----------
        x : Tensor of shape (n, 3, h, w)
            Images in [0, 1].
        rate : Tensor of shape (n,), int64
            Index into ``lambdas`` for each image.

        Returns
        -------
        dict
            ``x_hat`` of shape (n, 3, h, w) and ``bits`` of shape (n,).
        """
        gain = self.log_gain[rate].exp()[:, :, None, None]
        y = self.g_a(x).float() * gain
        code = self._factorized if self.variance == "factorized" else self._gaussian
        bits, y_hat = code(y, gain)
        x_hat = self.g_s(y_hat * self.log_inverse_gain[rate].exp()[:, :, None, None])
        return {"x_hat": x_hat, "bits": bits}

    def _factorized(self, y: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        """Bits of each image and the decoded latents, under a learned density for each channel."""
        bits, coded = self._channel_densities(y, gain)
        return bits, coded if self.quantizer == "noise" else quantize_ste(y)

    def _channel_densities(self, y: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        """Bits of each image under the bottleneck, and the latents that they are of, noisy or rounded.

        The density is that of latents without the gain, stretched by it: one shape for all rates, each
        at its own width.
        """
        coded = y + torch.rand_like(y) - 0.5 if self.training else y.round()
        ends = [((coded + half) / gain).transpose(0, 1).flatten(1)[:, None] for half in (-0.5, 0.5)]
        with torch.autocast(y.device.type, enabled=False):
            below, above = (
                self.entropy_bottleneck._logits_cumulative(end, stop_gradient=False).sigmoid()
                for end in ends
            )
            likelihoods = self.entropy_bottleneck.likelihood_lower_bound(above - below)
        return _bits(likelihoods.view(y.transpose(0, 1).shape).transpose(0, 1)), coded

    def _gaussian(self, y: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        """Bits of each image and the decoded latents, under Gaussians."""
        gaussian = self.quantizer == "test-channel"
        noise = torch.randn_like(y) if gaussian else torch.rand_like(y) - 0.5

        def send(scales: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
            with torch.autocast(y.device.type, enabled=False):
                r = y - means.float()
                if self.variance == "window-5":
                    v = avg_pool2d(r.square(), 5, 1, 2, count_include_pad=False)
                else:
                    v = LowerBound(LEAST_SCALE)(scales.float()).square()
                if gaussian:
                    bits, r_hat = test_channel(r, v, noise)
                else:
                    bits, r_hat = rounding(r, v, noise if self.training else None)
                    if self.quantizer == "ste":
                        r_hat = quantize_ste(r)
                return bits.sum((1, 2, 3)), means + r_hat

        scales, means, side_bits = self._predict(y, gain, lambda *given: send(*given)[1])
        bits, y_hat = send(scales, means)
        return bits + side_bits, y_hat

    def _predict(self, y: Tensor, gain: Tensor, send) -> tuple[Tensor, Tensor, Tensor]:
        """Scales, means, and the bits of the side information that they come from."""
        zero = torch.zeros_like(y)
        if not hasattr(self, "h_s"):
            # a genie needs no prior; one is fitted all the same, so that it has a bitstream
            own, _ = self._channel_densities(y.detach(), gain.detach())
            return zero, zero, own - own.detach()
        z = self.h_a(y.abs() if self.mean == "zero" else y).float()
        with torch.autocast(y.device.type, enabled=False):
            z_hat, likelihoods = self.entropy_bottleneck(z)
        side = self.h_s(z_hat)
        if self.mean == "zero":
            scales, means = side, zero
        elif self.mean == "hyper":
            scales, means = side.chunk(2, 1)
        else:
            scales, means = two_passes(self, side, send)
        return scales, means, _bits(likelihoods)

    @torch.no_grad()
    def widen(self, x: Tensor) -> None:
        """Give the learned densities of latents the spread that images of shape (n, 3, h, w) have.

        As it begins, a density is logistic, and as wide for every channel; learning that takes thousands
        of steps.
        """
        spread = self.g_a(x).float().std((0, 2, 3)).clamp(min=1e-3)
        logistic = self.entropy_bottleneck.init_scale * math.pi / math.sqrt(3)
        self.entropy_bottleneck.matrices[0].copy_(
            stretched(self.entropy_bottleneck.matrices[0], spread / logistic)
        )

    @torch.no_grad()
    def settle(self) -> None:
        """Solve for the quantiles of the bottleneck, which a plain model needs to code with.

        Rounded latents stay on the grid that they were trained on, about zero.
        """
        self.entropy_bottleneck.update(force=True, update_quantiles=True)
        if not hasattr(self, "h_s"):
            self.entropy_bottleneck.quantiles[:, :, 1] = 0


def check_axes(mean: str, variance: str, quantizer: str) -> None:
    """Refuse choices that a network cannot be trained with.

    Raises
    ------
    InputError
        Names them and what is allowed.
    """
    if quantizer not in QUANTIZERS:
        allowed = ", ".join(QUANTIZERS)
        raise InputError(f"training: quantizer {quantizer!r}; allowed are {allowed}")
    if (mean, variance) not in FAMILIES:
        allowed = ", ".join(" with ".join(pair) for pair in FAMILIES)
        raise InputError(
            f"training: mean {mean!r} with variance {variance!r}; allowed are {allowed}"
        )
    if (variance, quantizer) == ("factorized", "test-channel"):
        raise InputError("training: the test channel is Gaussian; variance 'factorized' is not")


def _bits(likelihoods: Tensor) -> Tensor:
    return -likelihoods.log2().sum((1, 2, 3))


def rounding(r: Tensor, v: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
    """Code length of each residual, rounded or with noise in the place of rounding, and what it becomes."""
    coded = r.round() if noise is None else r + noise
    v = LowerBound(LEAST_SCALE**2)(v)
    reach = 40 * v.sqrt() + 2  # beyond, an escape is cheaper by a thousand bits
    bits = interval_bits(coded.clamp(-reach, reach), v, 1.0)
    return with_escape(bits, coded), coded


def test_channel(r: Tensor, v: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Divergence for each residual, and what comes out of the channel at level ``TRAINED_LEVEL``."""
    v = LowerBound(1.001 * TRAINED_LEVEL)(v)  # above theta, so that its gradient is finite
    coded = TestChannel().code(r, v, TRAINED_LEVEL, noise)
    return with_escape(coded.bits, r), coded.residual


def with_escape(bits: Tensor, r: Tensor) -> Tensor:
    """Code length where a residual may escape, with a probability of 2^-20, for 2 log2(1 + |r|) bits.

    CompressAI's likelihoods stop at 1e-9, where an outlier feels no gradient; without a stop its
    gradient would drown all others.
    """
    return -torch.logaddexp2(-bits, -RARE_BITS - 2 * torch.log2(1 + r.abs()))

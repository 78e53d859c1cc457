"""Variable-rate networks that fold into plain CompressAI models, one per rate."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from rdpipe._torchvision import declare_missing_operators
from rdpipe.axes import escape
from rdpipe.axes.quantizer import TestChannel
from rdpipe.axes.stream import interval_bits
from rdpipe.errors import InputError

declare_missing_operators()

from compressai.models import MeanScaleHyperprior  # noqa: E402
from compressai.ops import LowerBound, quantize_ste  # noqa: E402

CHOICES = {
    "mean": ("hyper", "zero"),
    "variance": ("hyperprior", "window-5"),
    "quantizer": ("ste", "test-channel"),
}
"""By axis, what a network can be trained with."""
THETA = 1 / 12
"""Level of the test channel in training, squared latent units: the gains find the right scale."""
LEAST_SCALE = 0.11
"""Least scale of CompressAI's coder."""
RARE_BITS = -math.log2(escape.RARE)
"""What an escape costs in training, bit."""


class GainedHyperprior(MeanScaleHyperprior):
    """A hyperprior with one gain vector per rate, trained at all rates at once.

    .. code-block:: none

        x --> g_a --> (* gain[rate]) --> y --> Q --> y_hat --> (* inverse_gain[rate]) --> g_s --> x_hat
                                         |     ^
                                        h_a    | mean, scale
                                         '-> z -> EB -> h_s

    The gains are linear and stand next to a convolution on both sides, so :meth:`fold` turns the
    network at one rate into an ordinary ``compressai.models.MeanScaleHyperprior``.

    Parameters
    ----------
    N, M : int
        Channels of the transforms and of the latents.
    lambdas : sequence of float
        One Lagrange multiplier per rate; the loss is ``bpp + lambda * 255**2 * MSE``.
    mean : {"hyper", "zero"}
        The mean axis: from the hyper-latents, or none.
    variance : {"hyperprior", "window-5"}
        The variance axis: from the hyper-latents, or the second moment of what is coded over the
        5 x 5 window around each element, which no decoder has (a genie).
    quantizer : {"ste", "test-channel"}
        The quantizer axis: rounding, noise in its place for the rate and its gradient passed straight
        through for the synthesis; or the Gaussian test channel at level ``THETA``, whose rate is the
        divergence of SCIENCE.md, section 2.3.

    References
    ----------
    D. Minnen, J. Balle, G. Toderici, "Joint Autoregressive and Hierarchical Priors for Learned
    Image Compression", NeurIPS 2018 (the model); Z. Cui et al., "Asymmetric Gained Deep Image
    Compression with Continuous Rate Adaptation", CVPR 2021 (the gains); D. Minnen, S. Singh,
    "Channel-wise Autoregressive Entropy Models", ICIP 2020 (noise for the rate, straight-through
    rounding for the synthesis).
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
        super().__init__(N, M)
        self.axes = {"mean": mean, "variance": variance, "quantizer": quantizer}
        for axis, choice in self.axes.items():
            if choice not in CHOICES[axis]:
                allowed = ", ".join(CHOICES[axis])
                raise InputError(f"training {axis} {choice!r}: allowed are {allowed}")
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
        y = self.g_a(x).float() * self.log_gain[rate].exp()[:, :, None, None]
        z = self.h_a(y).float()
        with torch.autocast(x.device.type, enabled=False):
            z_hat, z_likelihoods = self.entropy_bottleneck(z)
        scales, means = self.h_s(z_hat).float().chunk(2, 1)
        means = means if self.axes["mean"] == "hyper" else torch.zeros_like(means)
        with torch.autocast(x.device.type, enabled=False):
            r = y - means
            if self.axes["variance"] == "hyperprior":
                v = LowerBound(LEAST_SCALE)(scales).square()
            else:
                v = avg_pool2d(r.square(), 5, 1, 2, count_include_pad=False)
            rounds = self.axes["quantizer"] == "ste"
            y_bits, r_hat = round_through(r, v, self.training) if rounds else test_channel(r, v)
        x_hat = self.g_s((means + r_hat) * self.log_inverse_gain[rate].exp()[:, :, None, None])
        bits = y_bits.sum((1, 2, 3)) - z_likelihoods.log2().sum((1, 2, 3))
        return {"x_hat": x_hat, "bits": bits}

    @torch.no_grad()
    def settle(self) -> None:
        """Make the weights what a plain model of CompressAI needs to code with them.

        The quantiles of the bottleneck are solved for, and where the mean is zero, h_s gives zeros.
        """
        self.entropy_bottleneck.update(force=True, update_quantiles=True)
        if self.axes["mean"] == "zero":
            for parameter in self.h_s[4].parameters():
                parameter[len(parameter) // 2 :] = 0


def round_through(r: Tensor, v: Tensor, training: bool) -> tuple[Tensor, Tensor]:
    """Code length of each residual, in training with noise for rounding, and the rounded residual."""
    noisy = r + torch.rand_like(r) - 0.5 if training else r.round()
    v = LowerBound(LEAST_SCALE**2)(v)
    reach = 40 * v.sqrt() + 2  # beyond, an escape is cheaper by a thousand bits
    bits = interval_bits(noisy.clamp(-reach, reach), v, 1.0)
    return with_escape(bits, noisy), quantize_ste(r)


def test_channel(r: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Divergence for each residual, and what comes out of the channel at level ``THETA``."""
    v = LowerBound(1.001 * THETA)(v)  # above theta, so that its gradient is finite
    coded = TestChannel().code(r, v, THETA, torch.randn_like(r))
    return with_escape(coded.bits, r), coded.residual


def with_escape(bits: Tensor, r: Tensor) -> Tensor:
    """Code length where a residual may escape, with a probability of 2^-20, for 2 log2(1 + |r|) bits.

    CompressAI's likelihoods stop at 1e-9, where an outlier feels no gradient; without a stop its
    gradient would drown all others.
    """
    return -torch.logaddexp2(-bits, -RARE_BITS - 2 * torch.log2(1 + r.abs()))


def fold(state: dict[str, Tensor], rate: int) -> dict[str, Tensor]:
    """Fold the gains of one rate into the neighbouring convolutions.

    Parameters
    ----------
    state : dict of Tensor
        State dict of a :class:`GainedHyperprior`.
    rate : int
        Which of its rates.

    Returns
    -------
    dict of Tensor
        State dict of an equivalent ``compressai.models.MeanScaleHyperprior``, in float32.

    Raises
    ------
    IndexError
        If the network has no such rate.
    """
    rates = len(state["log_gain"])
    if not 0 <= rate < rates:
        raise IndexError(f"no rate {rate}: the network has rates 0 to {rates - 1}")
    folded = {name: value.float() for name, value in state.items()}
    gain = folded.pop("log_gain")[rate].exp()
    inverse_gain = folded.pop("log_inverse_gain")[rate].exp()
    folded["g_a.6.weight"] = folded["g_a.6.weight"] * gain[:, None, None, None]
    folded["g_a.6.bias"] = folded["g_a.6.bias"] * gain
    # transposed convolutions keep their input channels first
    folded["g_s.0.weight"] = folded["g_s.0.weight"] * inverse_gain[:, None, None, None]
    return folded

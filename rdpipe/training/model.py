"""Variable-rate networks of every family, which fold into one plain model per rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from rdpipe.codecs.compressai.checkerboard import CheckerboardHyperprior
from rdpipe.codecs.compressai.checkpoint import stretch_density

# isort: split
# compressai can be imported beside a CPU-only torch once rdpipe.codecs.compressai has been
from compressai.entropy_models import EntropyBottleneck
from compressai.models import (
    CompressionModel,
    FactorizedPrior,
    MeanScaleHyperprior,
    ScaleHyperprior,
)
from compressai.ops import quantize_ste
from compressai.ops.bound_ops import LowerBoundFunction

from rdpipe.core.axes import TRAINING_THETA
from rdpipe.core.errors import InputError
from rdpipe.entropy import escape
from rdpipe.entropy.range_coding import interval_bits
from rdpipe.quantizers.test_channel import TestChannel

FAMILIES: dict[tuple[str, str], type[CompressionModel]] = {
    ("zero", "factorized"): FactorizedPrior,
    ("zero", "hyperprior"): ScaleHyperprior,
    ("hyper", "hyperprior"): MeanScaleHyperprior,
    ("checkerboard", "hyperprior"): CheckerboardHyperprior,
    ("zero", "window-5"): FactorizedPrior,
    ("hyper", "window-5"): MeanScaleHyperprior,
}
"""Class of the plain models that a network folds into, by mean and variance.

A genie's variance has no prior that a decoder knows: the scales of its hyperprior are not trained.
"""
QUANTIZERS = ("ste", "noise", "test-channel")
"""Quantizers that a network can be trained with."""
LEAST_SCALE = 0.11
"""Lower bound of the scale in CompressAI's coder, latent units."""
ESCAPE_BITS = -math.log2(escape.PROBABILITY)
"""Cost of an escape in training, bit."""

CodePass = Callable[[Tensor, Tensor], Tensor]
"""``code(scales, means)`` returns y_hat of all latents."""


class VariableRateModel(nn.Module):
    """A codec with one gain vector per rate, trained at all rates together.

    .. code-block:: none

        x -> g_a -> (* gain[rate]) -> y -> Q -> y_hat -> (* inverse_gain[rate]) -> g_s -> x_hat
                                      |    ^
                                     h_a   | mean, scale
                                      '-> z -> EB -> h_s

    The gains are linear and adjacent to a convolution on both sides. With
    :func:`rdpipe.codecs.compressai.checkpoint.fold` the network at one rate therefore becomes a
    plain model, of the class in :data:`FAMILIES`.

    Parameters
    ----------
    N, M : int
        Channels of the transforms and of the latents.
    lambdas : sequence of float
        One Lagrange multiplier per rate; the loss is ``bpp + lambda * 255**2 * MSE``.
    mean : {"hyper", "zero", "checkerboard"}
        The mean axis: predicted from the hyper-latents; zero; or predicted from the hyper-latents
        and the decoded neighbors on a checkerboard.
    variance : {"hyperprior", "factorized", "window-5"}
        The variance axis: predicted from the hyper-latents (and the neighbors); a learned density
        for each channel; or the second moment of the residuals in the 5 x 5 window around each
        element, which is a genie.
    quantizer : {"ste", "noise", "test-channel"}
        The quantizer axis. ``ste`` is rounding: noise replaces it in the rate, and its gradient
        passes straight through to the synthesis. ``noise`` uses noise for both. ``test-channel`` is
        the Gaussian test channel with the water level ``TRAINING_THETA``, whose rate is the
        divergence in ``docs/explanation/science.md``, section 2.3.

    Raises
    ------
    InputError
        If a network cannot be trained with this combination.

    References
    ----------
    J. Balle et al., "Variational Image Compression with a Scale Hyperprior", ICLR 2018; D. Minnen,
    J. Balle, G. Toderici, "Joint Autoregressive and Hierarchical Priors for Learned Image
    Compression", NeurIPS 2018; D. He et al., "Checkerboard Context Model for Efficient Learned
    Image Compression", CVPR 2021 (the models). Z. Cui et al., "Asymmetric Gained Deep Image
    Compression with Continuous Rate Adaptation", CVPR 2021 (the gains). D. Minnen, S. Singh,
    "Channel-wise Autoregressive Entropy Models", ICIP 2020 (noise for the rate, straight-through
    rounding for the synthesis).
    """

    g_a: nn.Module
    g_s: nn.Module
    h_a: nn.Module
    h_s: nn.Module
    context_prediction: nn.Module
    entropy_parameters: nn.Module
    entropy_bottleneck: EntropyBottleneck

    def __init__(
        self,
        N: int,
        M: int,
        lambdas: Sequence[float],
        mean: str = "hyper",
        variance: str = "hyperprior",
        quantizer: str = "ste",
    ):
        super().__init__()
        check_axes(mean, variance, quantizer)
        self.mean, self.variance, self.quantizer = mean, variance, quantizer
        for name, module in FAMILIES[mean, variance](N, M).named_children():
            self.add_module(name, module)
        # the best step is proportional to lambda ** -1/2, because distortion grows as step ** 2
        log_gain = 0.5 * torch.log(torch.as_tensor(lambdas, dtype=torch.float32))
        log_gain = (log_gain - log_gain.mean())[:, None].repeat(1, M)
        self.log_gain = nn.Parameter(log_gain.clone())
        self.log_inverse_gain = nn.Parameter(-log_gain.clone())

    @property
    def has_hyperprior(self) -> bool:
        """Whether the network has hyper-latents."""
        return hasattr(self, "h_s")

    def forward(self, x: Tensor, rate: Tensor) -> dict[str, Tensor]:
        """Code a batch, each image at its rate.

        Parameters
        ----------
        x : Tensor of shape (n, 3, height, width)
            Images in [0, 1].
        rate : Tensor of int64, of shape (n,)
            Index into ``lambdas`` for each image.

        Returns
        -------
        dict
            ``x_hat`` of shape (n, 3, height, width) and ``bits`` of shape (n,).
        """
        gain = self.log_gain[rate].exp()[:, :, None, None]
        y = self.g_a(x).float() * gain
        code = self._code_factorized if self.variance == "factorized" else self._code_gaussian
        bits, y_hat = code(y, gain)
        x_hat = self.g_s(y_hat * self.log_inverse_gain[rate].exp()[:, :, None, None])
        return {"x_hat": x_hat, "bits": bits}

    def _code_factorized(self, y: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bits of each image and y_hat, under a learned density for each channel."""
        bits, noisy = self._code_channel_densities(y, gain)
        return bits, noisy if self.quantizer == "noise" else quantize_ste(y)

    def _code_channel_densities(self, y: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bits of each image under the bottleneck, and its noisy or rounded latents.

        The density is that of the latents without the gain, stretched by the gain: all rates share
        one shape, each with its width.
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

    def _code_gaussian(self, y: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bits of each image and y_hat, under Gaussian densities."""
        uses_channel = self.quantizer == "test-channel"
        noise = torch.randn_like(y) if uses_channel else torch.rand_like(y) - 0.5

        def code(scales: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
            with torch.autocast(y.device.type, enabled=False):
                r = y - means.float()
                if self.variance == "window-5":
                    v = avg_pool2d(r.square(), 5, 1, 2, count_include_pad=False)
                else:
                    v = lower_bound(scales.float(), LEAST_SCALE).square()
                if uses_channel:
                    bits, r_hat = code_test_channel(r, v, noise)
                else:
                    bits, r_hat = code_rounding(r, v, noise if self.training else None)
                    if self.quantizer == "ste":
                        r_hat = quantize_ste(r)
                return bits.sum((1, 2, 3)), means + r_hat

        scales, means, side_bits = self._predict(y, gain, lambda *prior: code(*prior)[1])
        bits, y_hat = code(scales, means)
        return bits + side_bits, y_hat

    def _predict(self, y: Tensor, gain: Tensor, code: CodePass) -> tuple[Tensor, Tensor, Tensor]:
        """Return scales, means, and the bits of the side information behind them."""
        zero = torch.zeros_like(y)
        if not self.has_hyperprior:
            # a genie needs no prior; one is fitted nevertheless, so that the model has a bitstream
            bits, _ = self._code_channel_densities(y.detach(), gain.detach())
            return zero, zero, bits - bits.detach()
        z = self.h_a(y.abs() if self.mean == "zero" else y).float()
        with torch.autocast(y.device.type, enabled=False):
            z_hat, likelihoods = code_hyper_latents(self.entropy_bottleneck, z)
        side = self.h_s(z_hat)
        if self.mean == "zero":
            scales, means = side, zero
        elif self.mean == "hyper":
            scales, means = side.chunk(2, 1)
        else:
            scales, means = two_passes(self, side, code)
        return scales, means, _bits(likelihoods)

    @torch.no_grad()
    def initialize_densities(self, x: Tensor) -> None:
        """Set the widths of the learned densities of the latents from images.

        The initial densities are logistic, with the same width for all channels. Learning the
        widths takes thousands of steps.

        Parameters
        ----------
        x : Tensor of shape (n, 3, height, width)
            Images in [0, 1].
        """
        deviation = self.g_a(x).float().std((0, 2, 3)).clamp(min=1e-3)
        logistic = self.entropy_bottleneck.init_scale * math.pi / math.sqrt(3)
        self.entropy_bottleneck.matrices[0].copy_(
            stretch_density(self.entropy_bottleneck.matrices[0], deviation / logistic)
        )

    @torch.no_grad()
    def solve_quantiles(self) -> None:
        """Solve for the quantiles of the bottleneck, which the coder of a plain model needs.

        The grid of rounded latents stays where it was in training, around zero.
        """
        self.entropy_bottleneck.update(force=True, update_quantiles=True)
        if not self.has_hyperprior:
            self.entropy_bottleneck.quantiles[:, :, 1] = 0


def check_axes(mean: str, variance: str, quantizer: str) -> None:
    """Check that a network can be trained with a mean, a variance and a quantizer.

    Raises
    ------
    InputError
        If it cannot; names the allowed combinations.
    """
    if quantizer not in QUANTIZERS:
        raise InputError(
            f"training: {quantizer!r} is not a quantizer; expected one of: {', '.join(QUANTIZERS)}"
        )
    if (mean, variance) not in FAMILIES:
        allowed = ", ".join(" with ".join(pair) for pair in FAMILIES)
        raise InputError(
            f"training: mean {mean!r} with variance {variance!r} is not a family; expected one of:"
            f" {allowed}"
        )
    if (variance, quantizer) == ("factorized", "test-channel"):
        raise InputError("training: the test channel is Gaussian; variance 'factorized' is not")


def two_passes(
    model: VariableRateModel | CheckerboardHyperprior, side: Tensor, code: CodePass
) -> tuple[Tensor, Tensor]:
    """Predict scales and means with a context model, in two passes over a checkerboard.

    Parameters
    ----------
    model : VariableRateModel or CheckerboardHyperprior
    side : Tensor of shape (n, 2 M, row, column)
        Output of ``h_s``.
    code : callable
        Called with the prediction of the first pass. Only its elements at even row + column are
        used.

    Returns
    -------
    scales, means : Tensor of shape (n, M, row, column)
    """

    def predict(context: Tensor) -> tuple[Tensor, Tensor]:
        scales, means = model.entropy_parameters(torch.cat([context, side], 1)).chunk(2, 1)
        return scales, means

    y_hat = code(*predict(torch.zeros_like(side[:, : side.shape[1] // 2])))
    row, column = (torch.arange(length, device=side.device) for length in side.shape[2:])
    first_pass = ((row[:, None] + column) % 2 == 0).to(side.dtype)
    return predict(model.context_prediction(y_hat * first_pass) * (1 - first_pass))


def code_hyper_latents(bottleneck: EntropyBottleneck, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output of an entropy bottleneck: z_hat, and the likelihood of each element.

    The bottleneck itself reads its permutation of the axes from a tensor, for which the host waits
    twelve times on a GPU.
    """
    by_channel = z.transpose(0, 1).contiguous()
    elements = by_channel.reshape(len(by_channel), 1, -1)
    mode = "noise" if bottleneck.training else "dequantize"
    z_hat = bottleneck.quantize(elements, mode, bottleneck.quantiles[:, :, 1:2])
    likelihood = bottleneck.likelihood_lower_bound(bottleneck._likelihood(z_hat)[0])
    z_hat, likelihood = (
        values.reshape(by_channel.shape).transpose(0, 1).contiguous()
        for values in (z_hat, likelihood)
    )
    return z_hat, likelihood


def lower_bound(x: Tensor, bound: float) -> Tensor:
    """Return ``max(x, bound)``, with the gradient of CompressAI's ``LowerBound``.

    That module would keep its bound on the CPU.
    """
    bounded: Tensor = LowerBoundFunction.apply(x, x.new_full((1,), bound))
    return bounded


def _bits(likelihoods: Tensor) -> Tensor:
    """Return the code length of each image, bit."""
    return -likelihoods.log2().sum((1, 2, 3))


def code_rounding(r: Tensor, v: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the code length of each residual, and the residual rounded or with noise.

    Parameters
    ----------
    r, v : Tensor
        Residuals and their variances.
    noise : Tensor, optional
        Uniform on +-1/2, used instead of rounding.
    """
    coded = r.round() if noise is None else r + noise
    v = lower_bound(v, LEAST_SCALE**2)
    reach = 40 * v.sqrt() + 2  # beyond it, an escape is a thousand bits cheaper
    bits = interval_bits(coded.clamp(-reach, reach), v, 1.0)
    return with_escape(bits, coded), coded


def code_test_channel(r: Tensor, v: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return the divergence of each residual, and the output of the test channel.

    Parameters
    ----------
    r, v : Tensor
        Residuals and their variances.
    noise : Tensor
        Standard normal.
    """
    v = lower_bound(v, 1.001 * TRAINING_THETA)  # above theta, so that its gradient is finite
    coded = TestChannel().code(r, v, TRAINING_THETA, noise)
    return with_escape(coded.bits, r), coded.residual


def with_escape(bits: Tensor, r: Tensor) -> Tensor:
    """Return the code length if a residual may also escape, for ``20 + 2 log2(1 + |r|)`` bits.

    CompressAI bounds likelihoods at 1e-9, where an outlier has no gradient. Without any bound its
    gradient would be much larger than all others.
    """
    return -torch.logaddexp2(-bits, -ESCAPE_BITS - 2 * torch.log2(1 + r.abs()))

"""Variable-rate networks that fold into plain CompressAI models, one per rate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rdpipe._torchvision import declare_missing_operators
from rdpipe.axes.stream import interval_bits

declare_missing_operators()

from compressai.models import MeanScaleHyperprior  # noqa: E402
from compressai.ops import quantize_ste  # noqa: E402


class GainedMeanScaleHyperprior(MeanScaleHyperprior):
    """A mean-scale hyperprior with one gain vector per rate, trained at all rates at once.

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

    References
    ----------
    D. Minnen, J. Balle, G. Toderici, "Joint Autoregressive and Hierarchical Priors for Learned
    Image Compression", NeurIPS 2018 (the model); Z. Cui et al., "Asymmetric Gained Deep Image
    Compression with Continuous Rate Adaptation", CVPR 2021 (the gains); D. Minnen, S. Singh,
    "Channel-wise Autoregressive Entropy Models", ICIP 2020 (noise for the rate, straight-through
    rounding for the synthesis).
    """

    def __init__(self, N: int, M: int, lambdas):
        super().__init__(N, M)
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
        with torch.autocast(x.device.type, enabled=False):
            y_bits = self._latent_bits(y, scales, means)
        y_hat = quantize_ste(y - means) + means
        x_hat = self.g_s(y_hat * self.log_inverse_gain[rate].exp()[:, :, None, None])
        bits = y_bits.sum((1, 2, 3)) - z_likelihoods.log2().sum((1, 2, 3))
        return {"x_hat": x_hat, "bits": bits}

    def _latent_bits(self, y: Tensor, scales: Tensor, means: Tensor) -> Tensor:
        """Code length of each latent, noisy in training and rounded otherwise.

        That of a Gaussian, or with a probability of 2^-20 of an escape, 2 log2(1 + |r|) bits.
        CompressAI's likelihoods stop at 1e-9, where an outlier feels no gradient; without a stop its
        gradient would drown all others.
        """
        mode = "noise" if self.training else "dequantize"
        residual = self.gaussian_conditional.quantize(y, mode, means) - means
        variances = self.gaussian_conditional.lower_bound_scale(scales).square()
        reach = 40 * variances.sqrt() + 2  # beyond, an escape is cheaper by a thousand bits
        gaussian = interval_bits(residual.clamp(-reach, reach), variances, 1.0)
        escape = 20 + 2 * torch.log2(1 + residual.abs())
        return -torch.logaddexp2(-gaussian, -escape)


def fold(state: dict[str, Tensor], rate: int) -> dict[str, Tensor]:
    """Fold the gains of one rate into the neighbouring convolutions.

    Parameters
    ----------
    state : dict of Tensor
        State dict of a :class:`GainedMeanScaleHyperprior`.
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

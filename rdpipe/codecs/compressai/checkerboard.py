"""A mean-scale hyperprior with a checkerboard context model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rdpipe.codecs.compressai._torchvision import declare_missing_operators

declare_missing_operators()

from compressai.latent_codecs import (  # noqa: E402
    CheckerboardLatentCodec,
    GaussianConditionalLatentCodec,
)
from compressai.layers import CheckerboardMaskedConv2d  # noqa: E402
from compressai.models import MeanScaleHyperprior  # noqa: E402


class CheckerboardHyperprior(MeanScaleHyperprior):
    """CompressAI's ``mbt2018-mean`` whose means and scales also depend on decoded neighbours.

    .. code-block:: none

        x --> g_a --> y --> Q --> y_hat --> g_s --> x_hat
                      |     ^ mean, scale
                      |   entropy_parameters <-- context_prediction <-- y_hat of the anchors
                     h_a    ^
                      '-> z -> EB -> h_s

    The latents at even row + column, the anchors, are decoded first, from the hyper-latents alone;
    the others then see the anchors around them. Bitstreams are made by CompressAI's
    ``CheckerboardLatentCodec``.

    Parameters
    ----------
    N, M : int
        Channels of the transforms and of the latents.

    References
    ----------
    D. He et al., "Checkerboard Context Model for Efficient Learned Image Compression", CVPR 2021.
    """

    def __init__(self, N: int, M: int):
        super().__init__(N, M)
        self.context_prediction = CheckerboardMaskedConv2d(M, M, 5, padding=2)
        self.entropy_parameters = nn.Sequential(
            nn.Conv2d(3 * M, 2 * M, 1), nn.LeakyReLU(inplace=True), nn.Conv2d(2 * M, 2 * M, 1)
        )

    def forward(self, x: Tensor) -> dict:
        y = self.g_a(x)
        z_hat, z_likelihoods = self.entropy_bottleneck(self.h_a(y))
        out = self.latent_coder()(y, self.h_s(z_hat))
        likelihoods = {**out["likelihoods"], "z": z_likelihoods}
        return {"x_hat": self.g_s(out["y_hat"]), "likelihoods": likelihoods}

    def compress(self, x: Tensor) -> dict:
        y = self.g_a(x)
        z_strings = self.entropy_bottleneck.compress(self.h_a(y))
        shape = torch.Size(side // 4 for side in y.shape[2:])
        z_hat = self.entropy_bottleneck.decompress(z_strings, shape)
        out = self.latent_coder().compress(y, self.h_s(z_hat))
        return {"strings": [z_strings, *out["strings"]], "shape": shape}

    def decompress(self, strings: list, shape) -> dict:
        z_strings, *y_strings = strings
        side = self.h_s(self.entropy_bottleneck.decompress(z_strings, shape))
        y_hat = self.latent_coder().decompress(y_strings, (self.M, *side.shape[2:]), side)["y_hat"]
        return {"x_hat": self.g_s(y_hat).clamp(0, 1)}

    def latent_coder(self) -> CheckerboardLatentCodec:
        """CompressAI's coder of the latents, of the same parameters."""
        y = GaussianConditionalLatentCodec(
            gaussian_conditional=self.gaussian_conditional, quantizer="ste"
        )
        return CheckerboardLatentCodec({"y": y}, self.entropy_parameters, self.context_prediction)


def scales_and_means(
    model: nn.Module, side: Tensor, context: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Scales and means, from what the hyper-latents say and the context, if any.

    Parameters
    ----------
    model : nn.Module
        With ``entropy_parameters``.
    side : Tensor of shape (n, 2 M, h, w)
        From ``h_s``.
    context : Tensor of shape (n, M, h, w), optional
        From ``context_prediction``; zero at an anchor.

    Returns
    -------
    scales, means : Tensor of shape (n, M, h, w)
    """
    if context is None:
        context = torch.zeros_like(side[:, : side.shape[1] // 2])
    return model.entropy_parameters(torch.cat([context, side], 1)).chunk(2, 1)


def two_passes(model: nn.Module, side: Tensor, send: Callable[[Tensor, Tensor], Tensor]) -> tuple:
    """Scales and means with the context model, the anchors first.

    Parameters
    ----------
    model, side
        As for :func:`scales_and_means`; the model has ``context_prediction`` too.
    send : callable
        From the scales and means of the first pass, y_hat; only its anchors are looked at.

    Returns
    -------
    scales, means : Tensor of shape (n, M, h, w)
    """
    y_hat = send(*scales_and_means(model, side))
    row, column = (torch.arange(length, device=side.device) for length in side.shape[2:])
    anchors = ((row[:, None] + column) % 2 == 0).to(side.dtype)
    context = model.context_prediction(y_hat * anchors) * (1 - anchors)
    return scales_and_means(model, side, context)

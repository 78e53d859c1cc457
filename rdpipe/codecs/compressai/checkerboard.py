"""A mean-scale hyperprior with a checkerboard context model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from compressai.latent_codecs import (
    CheckerboardLatentCodec,
    GaussianConditionalLatentCodec,
)
from compressai.layers import CheckerboardMaskedConv2d
from compressai.models import MeanScaleHyperprior
from torch import Tensor, nn


class HasContextModel(Protocol):
    """A network with a checkerboard context model."""

    context_prediction: nn.Module
    entropy_parameters: nn.Module


class CheckerboardHyperprior(MeanScaleHyperprior):
    """CompressAI's ``mbt2018-mean`` whose means and scales also depend on decoded neighbors.

    .. code-block:: none

        x --> g_a --> y --> Q --> y_hat --> g_s --> x_hat
                      |     ^ mean, scale
                      |   entropy_parameters <-- context_prediction <-- y_hat of the first pass
                     h_a    ^
                      '-> z -> EB -> h_s

    The first pass decodes the latents at even row + column from the hyper-latents alone. The second
    pass decodes the others, which depend on the neighbors of the first pass. CompressAI's
    ``CheckerboardLatentCodec`` writes and reads the bitstream.

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

    def forward(self, x: Tensor) -> dict[str, Any]:
        """Return ``x_hat`` and ``likelihoods``, as all CompressAI models do."""
        y = self.g_a(x)
        z_hat, z_likelihoods = self.entropy_bottleneck(self.h_a(y))
        out = self.latent_coder()(y, self.h_s(z_hat))
        likelihoods = {**out["likelihoods"], "z": z_likelihoods}
        return {"x_hat": self.g_s(out["y_hat"]), "likelihoods": likelihoods}

    def compress(self, x: Tensor) -> dict[str, Any]:
        """Return ``strings`` and ``shape``, as all CompressAI models do."""
        y = self.g_a(x)
        z_strings = self.entropy_bottleneck.compress(self.h_a(y))
        shape = torch.Size(side // 4 for side in y.shape[2:])
        z_hat = self.entropy_bottleneck.decompress(z_strings, shape)
        out = self.latent_coder().compress(y, self.h_s(z_hat))
        return {"strings": [z_strings, *out["strings"]], "shape": shape}

    def decompress(self, strings: list[list[bytes]], shape: Sequence[int]) -> dict[str, Any]:
        """Return ``x_hat``, as all CompressAI models do."""
        z_strings, *y_strings = strings
        side = self.h_s(self.entropy_bottleneck.decompress(z_strings, shape))
        y_hat = self.latent_coder().decompress(y_strings, (self.M, *side.shape[2:]), side)["y_hat"]
        return {"x_hat": self.g_s(y_hat).clamp(0, 1)}

    def latent_coder(self) -> CheckerboardLatentCodec:
        """Return CompressAI's coder of the latents, which shares the parameters of this model."""
        y = GaussianConditionalLatentCodec(
            gaussian_conditional=self.gaussian_conditional, quantizer="ste"
        )
        return CheckerboardLatentCodec({"y": y}, self.entropy_parameters, self.context_prediction)


def scales_and_means(
    model: HasContextModel, side: Tensor, context: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Predict scales and means from the hyper-latents and the context.

    Parameters
    ----------
    model : HasContextModel
    side : Tensor of shape (n, 2 M, row, column)
        Output of ``h_s``.
    context : Tensor of shape (n, M, row, column), optional
        Output of ``context_prediction``; zero in the first pass.

    Returns
    -------
    scales, means : Tensor of shape (n, M, row, column)
    """
    if context is None:
        context = torch.zeros_like(side[:, : side.shape[1] // 2])
    scales, means = model.entropy_parameters(torch.cat([context, side], 1)).chunk(2, 1)
    return scales, means


def two_passes(
    model: HasContextModel, side: Tensor, code: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Predict scales and means with the context model, in two passes over a checkerboard.

    Parameters
    ----------
    model, side
        See :func:`scales_and_means`.
    code : callable
        ``code(scales, means)`` returns y_hat for the prediction of the first pass. Only its
        elements at even row + column are used.

    Returns
    -------
    scales, means : Tensor of shape (n, M, row, column)
    """
    y_hat = code(*scales_and_means(model, side))
    row, column = (torch.arange(length, device=side.device) for length in side.shape[2:])
    first_pass = ((row[:, None] + column) % 2 == 0).to(side.dtype)
    context = model.context_prediction(y_hat * first_pass) * (1 - first_pass)
    return scales_and_means(model, side, context)

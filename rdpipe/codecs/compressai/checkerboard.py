"""A mean-scale hyperprior with a checkerboard context model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from compressai.latent_codecs import (
    CheckerboardLatentCodec,
    GaussianConditionalLatentCodec,
)
from compressai.layers import CheckerboardMaskedConv2d
from compressai.models import MeanScaleHyperprior
from torch import Tensor, nn


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

"""Adapter to CompressAI's variable-rate models, one stage of them a quality."""

from __future__ import annotations

import torch
from torch import Tensor

from rdpipe.codecs.compressai._torchvision import declare_missing_operators
from rdpipe.codecs.compressai.adapter import CompressAI
from rdpipe.core.errors import InputError

declare_missing_operators()

from compressai.entropy_models import EntropyBottleneckVbr  # noqa: E402
from compressai.models import CompressionModel  # noqa: E402


class VariableRate(CompressAI):
    """One stage of a model whose quantization step is a parameter.

    The decoder puts what was rounded away from zero closer to it, by an offset that depends on the
    scale (:meth:`reconstruct`): a reconstruction of the codec's own, neither midpoint nor centroid.

    Parameters
    ----------
    model : CompressionModel
        One of CompressAI's ``-vbr`` models.
    quality : int
        Stage, from 1.
    device : str
        As for :class:`rdpipe.codecs.compressai.adapter.CompressAI`.

    References
    ----------
    F. Kamisli, F. Racape, H. Choi, "Variable-Rate Learned Image Compression with Multi-Objective
    Optimization and Quantization-Reconstruction Offsets", DCC 2024.
    """

    def __init__(self, model: CompressionModel, quality: int, device: str = "auto"):
        if not 1 <= quality <= model.levels:
            raise InputError(f"no quality {quality}; a variable-rate model has 1 to {model.levels}")
        self.options = {"stage": 2, "s": quality - 1}
        self.own_step = isinstance(model.entropy_bottleneck, EntropyBottleneckVbr)
        super().__init__(model, device)
        self.gain = model.Gain[quality - 1].detach().abs()
        if hasattr(model, "scale_to_context"):
            with torch.inference_mode():
                self.shift = model.scale_to_context(self.gain.view(1, 1)).view(1, -1, 1, 1)

    def _make_tables(self) -> None:
        self.model.update(force=True, scale=self.model.Gain[self.options["s"]].abs())

    def reconstruct(self, y_hat: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        index = y_hat - mean
        given = torch.stack([scale, self.gain.expand(scale.shape)], -1)
        offset = -self.model.QuantABCD(given)[..., 0]
        return torch.where(index.abs() < 0.5, y_hat, y_hat + index.sign() * offset)

    def _step(self) -> dict[str, Tensor]:
        """Quantization step of the hyper-latents, where it depends on the gain."""
        if not self.own_step:
            return {}
        step = self.model.lower_bound_zqstep(self.model.gayn2zqstep(1 / self.gain.view(1)))
        return {"qs": step[0]}

    def _entropy_code(self, z: Tensor) -> bytes:
        return self.bottleneck.compress(z, **self._step())[0]

    def _entropy_decode(self, string: bytes, shape) -> Tensor:
        return self.bottleneck.decompress([string], shape, **self._step())

    def _hyper_likelihoods(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Rounded hyper-latents, and their likelihoods as the coder's tables have them.

        Those of CompressAI's own ``forward`` are over cells of width 1 whatever the step.
        """
        z_hat, likelihoods = self.bottleneck(z, **self._step())
        if self.own_step:
            values = z_hat.transpose(0, 1).flatten(1)[:, None]
            likelihoods, *_ = self.bottleneck._likelihood_variable(values, **self._step())
            likelihoods = self.bottleneck.likelihood_lower_bound(likelihoods)
            likelihoods = likelihoods.view(z_hat.transpose(0, 1).shape).transpose(0, 1)
        return z_hat, likelihoods

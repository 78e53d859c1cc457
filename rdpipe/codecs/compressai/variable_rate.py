"""Codecs that wrap CompressAI's variable-rate models, with one quality for each stage."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from compressai.entropy_models import EntropyBottleneckVbr
from compressai.models import CompressionModel
from compressai.models.vbr import JointAutoregressiveHierarchicalPriorsVbr, ScaleHyperpriorVbr
from torch import Tensor

from rdpipe.codecs.compressai.adapter import CompressAICodec, ContextCodec, check_model
from rdpipe.codecs.compressai.checkpoint import check_quality
from rdpipe.core.errors import InputError


class VariableRateCodec(CompressAICodec):
    """One stage of a CompressAI model whose quantization step is a parameter.

    The decoder shifts latents that are rounded away from zero towards zero, by an offset that
    depends on the scale (:meth:`reconstruct`).

    Parameters
    ----------
    model : CompressionModel
        One of CompressAI's ``-vbr`` models.
    quality : int
        Stage, from 1.
    device, copy
        See :class:`~rdpipe.codecs.compressai.adapter.CompressAICodec`.

    Raises
    ------
    InputError
        If the model has no variable rate or no such stage, or another class supports it.

    References
    ----------
    F. Kamisli, F. Racape, H. Choi, "Variable-Rate Learned Image Compression with Multi-Objective
    Optimization and Quantization-Reconstruction Offsets", DCC 2024.
    """

    def __init__(
        self, model: CompressionModel, quality: int, device: str = "auto", copy: bool = True
    ):
        check_model(model)
        if not isinstance(model, ScaleHyperpriorVbr):
            raise InputError(
                f"{type(model).__name__} is not a variable-rate model; expected a model of type"
                " ScaleHyperpriorVbr"
            )
        check_quality(quality, model.levels)
        self._stage = quality - 1
        self._options = {"stage": 2, "s": self._stage}
        super().__init__(model, device, copy)

    def _use_model(self, model: CompressionModel) -> None:
        super()._use_model(model)
        self.has_variable_bottleneck = isinstance(self.bottleneck, EntropyBottleneckVbr)
        self._gain: Tensor = model.Gain[self._stage].detach().abs()
        if isinstance(model, JointAutoregressiveHierarchicalPriorsVbr):
            with torch.inference_mode():
                shift = model.scale_to_context(self._gain.view(1, 1))
                self._shift = shift.view(1, -1, 1, 1)

    def _update_tables(self) -> None:
        self.model.update(force=True, scale=self.model.Gain[self._stage].abs())

    def reconstruct(self, y_hat: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        """Return what the codec's own decoder uses instead of rounded latents."""
        with self._inference():
            index = y_hat - mean
            features = torch.stack([scale, self._gain.expand(scale.shape)], -1)
            offset = -self.model.QuantABCD(features)[..., 0]
            return torch.where(index.abs() < 0.5, y_hat, y_hat + index.sign() * offset)

    def _bottleneck_options(self) -> dict[str, Tensor]:
        """Return the quantization step of the hyper-latents, if it depends on the gain."""
        if not self.has_variable_bottleneck:
            return {}
        step = self.model.lower_bound_zqstep(self.model.gayn2zqstep(1 / self._gain.view(1)))
        return {"qs": step[0]}

    def _entropy_code(self, z: Tensor) -> bytes:
        string: bytes = self.bottleneck.compress(z, **self._bottleneck_options())[0]
        return string

    def _entropy_decode(self, string: bytes, shape: Sequence[int]) -> Tensor:
        return self.bottleneck.decompress([string], shape, **self._bottleneck_options())

    def _hyper_likelihoods(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return rounded hyper-latents and their likelihoods under the coder's tables.

        CompressAI's ``forward`` takes likelihoods over cells of width 1, whatever the step.
        """
        z_hat, likelihoods = self.bottleneck(z, **self._bottleneck_options())
        if self.has_variable_bottleneck:
            values = z_hat.transpose(0, 1).flatten(1)[:, None]
            likelihoods, *_ = self.bottleneck._likelihood_variable(
                values, **self._bottleneck_options()
            )
            likelihoods = self.bottleneck.likelihood_lower_bound(likelihoods)
            likelihoods = likelihoods.view(z_hat.transpose(0, 1).shape).transpose(0, 1)
        return z_hat, likelihoods


class VariableRateContextCodec(VariableRateCodec, ContextCodec):
    """One stage of a CompressAI model with a context model, whose quantization step is a parameter.

    Parameters are those of :class:`VariableRateCodec`.
    """

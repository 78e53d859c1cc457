"""Codecs that wrap CompressAI's variable-rate models, with one quality for each stage."""

from __future__ import annotations

import torch
from compressai.entropy_models import EntropyBottleneckVbr
from compressai.models import CompressionModel
from compressai.models.vbr import JointAutoregressiveHierarchicalPriorsVbr, ScaleHyperpriorVbr
from torch import Tensor

from rdpipe.codecs.compressai import decoding_order
from rdpipe.codecs.compressai.adapter import CompressAICodec, check_model
from rdpipe.codecs.compressai.checkpoint import check_quality
from rdpipe.core.errors import InputError
from rdpipe.entropy.priors import Gaussian


class VariableRateCodec(CompressAICodec):
    """One stage of a CompressAI model whose quantization step is a parameter.

    The decoder shifts latents that are not near zero towards zero, by an offset that depends on the
    scale.

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

    def part_of(self, weight: str) -> str | None:
        """Return the part of a parameter; only the decoder can be trained for one stage."""
        part = super().part_of(weight)
        return part if part == "decoder" else None

    def _update_tables(self) -> None:
        self.model.update(force=True, scale=self.model.Gain[self._stage].abs())

    def _use_predictors(self, model: CompressionModel) -> None:
        super()._use_predictors(model)
        self._gain: Tensor = model.Gain[self._stage].abs()
        self._offset = model.QuantABCD
        with torch.no_grad():
            if isinstance(self._density, EntropyBottleneckVbr):
                step = model.gayn2zqstep(1 / self._gain.view(1))
                self._z_step = step.clamp(min=model.lower_bound_zqstep.bound.item())
            if isinstance(model, JointAutoregressiveHierarchicalPriorsVbr):
                shift = model.scale_to_context(self._gain.view(1, 1))
                self._decode_latents = decoding_order.decoder(model, shift.flatten())

    def _correct(self, y_hat: Tensor, prior: Gaussian) -> Tensor:
        """Return y_hat, shifted towards zero and in units of the model."""
        index = y_hat - prior.mean
        features = torch.stack([prior.scale, self._gain.expand(prior.scale.shape)], -1)
        offset = -self._offset(features)[..., 0]
        corrected = torch.where(index.abs() < 0.5, y_hat, y_hat + index.sign() * offset)
        return corrected / self._gain

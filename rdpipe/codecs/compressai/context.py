"""Decoding order of CompressAI's models, and what they predict at each step.

.. code-block:: none

    no context      all elements at once
    raster scan     one position after the other (mbt2018, cheng2020)
    checkerboard    one half of the positions, then the other
    channel groups  one group of channels after the other, each in one of these orders (ELIC)

A codec and a cell with another quantizer decode in the same steps. What is predicted depends on
what was decoded before; see ``docs/explanation/science.md``, section 8.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from compressai.latent_codecs import (
    ChannelGroupsLatentCodec,
    CheckerboardLatentCodec,
    LatentCodec,
)
from compressai.models import (
    CompressionModel,
    JointAutoregressiveHierarchicalPriors,
    MeanScaleHyperprior,
)
from torch import Tensor, nn

from rdpipe.codecs.compressai.checkerboard import CheckerboardHyperprior
from rdpipe.core.errors import InputError
from rdpipe.core.protocols import CodeStep


def has_context(model: CompressionModel) -> bool:
    """Return whether the prediction of a model depends on latents that are decoded before."""
    raster_scan = isinstance(model, JointAutoregressiveHierarchicalPriors)
    return raster_scan or latent_codec(model) is not None


def has_latent_codecs(model: CompressionModel) -> bool:
    """Return whether a model is composed of CompressAI's latent codecs.

    ``SimpleVAECompressionModel`` is; users' models need not derive from it.
    """
    return has_child(model, "latent_codec")


def has_child(module: nn.Module, name: str) -> bool:
    """Return whether a module has a direct submodule of some name."""
    return name in dict(module.named_children())


def latent_codec(model: CompressionModel) -> LatentCodec | None:
    """Return CompressAI's latent codec of y, if the model has one."""
    if has_latent_codecs(model):
        return model.latent_codec["y"]
    return model.latent_coder() if isinstance(model, CheckerboardHyperprior) else None


def decode(
    model: CompressionModel, side: Tensor, code: CodeStep, shift: Tensor | float = 0.0
) -> Tensor:
    """Decode the latents in the order of the model's decoder.

    Parameters
    ----------
    model : CompressionModel
        A model with a hyperprior.
    side : Tensor of shape (1, c, row, column)
        Output of the hyper-synthesis.
    code : callable
        See :data:`rdpipe.core.protocols.CodeStep`.
    shift : Tensor of shape (1, c, 1, 1), optional
        Added to the output of the context model of a raster scan.

    Returns
    -------
    Tensor of shape (1, channel, row, column)
        y_hat.
    """
    if isinstance(model, JointAutoregressiveHierarchicalPriors):
        return _decode_raster_scan(model, side, code, shift)
    if (coder := latent_codec(model)) is not None:
        return _decode_latent_codec(coder, side, code)
    if isinstance(model, MeanScaleHyperprior):
        scale, mean = side.chunk(2, 1)
    else:
        scale, mean = side, torch.zeros_like(side)
    y_hat = torch.zeros_like(mean)
    positions = torch.arange(mean[0, 0].numel(), device=mean.device)
    _decode_positions(y_hat, positions, code, mean, scale)
    return y_hat


def initial_prior(
    model: CompressionModel, side: Tensor, shift: Tensor | float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return mean and scale before any latent is decoded, each of shape (1, channel, row, column).

    Parameters are those of :func:`decode`.
    """
    if isinstance(model, JointAutoregressiveHierarchicalPriors):
        no_context = (model.context_prediction.bias[None, :, None, None] + shift).expand(
            -1, -1, *side.shape[2:]
        )
        scale, mean = model.entropy_parameters(torch.cat([side, no_context], 1)).chunk(2, 1)
        return mean, scale
    return sequential_prior(model, side, _decode_to_zero)


def _decode_to_zero(channels: slice, positions: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return torch.zeros_like(mean)


def sequential_prior(
    model: CompressionModel, side: Tensor, code: CodeStep, shift: Tensor | float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return mean and scale of each element at its decoding step.

    Parameters are those of :func:`decode`; the tensors have the shape (1, channel, row, column).
    """
    steps = []

    def record(channels: slice, positions: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        steps.append((channels, positions, mean, scale))
        return code(channels, positions, mean, scale)

    y_hat = decode(model, side, record, shift)
    means, scales = torch.empty_like(y_hat), torch.empty_like(y_hat)
    for channels, positions, mean, scale in steps:
        means[0, channels].flatten(1)[:, positions] = mean
        scales[0, channels].flatten(1)[:, positions] = scale
    return means, scales


def _decode_raster_scan(
    model: JointAutoregressiveHierarchicalPriors,
    side: Tensor,
    code: CodeStep,
    shift: Tensor | float,
) -> Tensor:
    """Decode one position after the other.

    The context is a window of the rows above and the elements to the left.
    """
    context, radius = model.context_prediction, model.context_prediction.padding[0]
    weight = context.weight * context.mask
    rows, columns = side.shape[2:]
    y_hat = side.new_zeros(1, model.M, rows + 2 * radius, columns + 2 * radius)
    for row in range(rows):
        for column in range(columns):
            window = y_hat[:, :, row : row + 2 * radius + 1, column : column + 2 * radius + 1]
            prediction = F.conv2d(window, weight, context.bias) + shift
            side_here = side[:, :, row : row + 1, column : column + 1]
            parameters = model.entropy_parameters(torch.cat([side_here, prediction], 1))
            scale, mean = parameters[0, :, 0].chunk(2)
            position = torch.tensor([row * columns + column], device=side.device)
            value = code(slice(0, model.M), position, mean, scale)
            y_hat[0, :, row + radius, column + radius] = value[:, 0]
    return F.pad(y_hat, (-radius,) * 4)


def _decode_latent_codec(coder: LatentCodec, side: Tensor, code: CodeStep) -> Tensor:
    """Decode in the order of one of CompressAI's latent codecs."""
    if isinstance(coder, ChannelGroupsLatentCodec):
        return _decode_channel_groups(coder, side, code)
    if isinstance(coder, CheckerboardLatentCodec):
        return _decode_checkerboard(coder, side, code)
    raise InputError(
        f"a model with a latent codec of type {type(coder).__name__} is not supported; expected"
        " ChannelGroupsLatentCodec or CheckerboardLatentCodec"
    )


def _decode_channel_groups(coder: ChannelGroupsLatentCodec, side: Tensor, code: CodeStep) -> Tensor:
    """Decode one group of channels after the other."""
    groups: list[Tensor] = []
    for k, first in enumerate(coder.groups_acc[:-1]):

        def code_group(
            channels: slice, positions: Tensor, mean: Tensor, scale: Tensor, first: int = first
        ) -> Tensor:
            channels = slice(first + channels.start, first + channels.stop)
            return code(channels, positions, mean, scale)

        parameters = coder._get_ctx_params(k, side, groups)
        groups.append(_decode_latent_codec(coder.latent_codec[f"y{k}"], parameters, code_group))
    return torch.cat(groups, 1)


def _decode_checkerboard(coder: CheckerboardLatentCodec, side: Tensor, code: CodeStep) -> Tensor:
    """Decode one half of a checkerboard from the hyper-latents, then the half that sees it."""
    y_hat = side.new_zeros(1, coder.context_prediction.in_channels, *side.shape[2:])
    row, column = (torch.arange(length, device=side.device) for length in side.shape[2:])
    second = (row[:, None] + column).flatten() % 2 != (coder.anchor_parity == "odd")
    for step, half in enumerate((~second, second)):
        context = coder.context_prediction(y_hat)
        merged = coder.merge(context if step else 0 * context, side)
        parameters = coder["y"].entropy_parameters(coder.entropy_parameters(merged))
        scale, mean = coder["y"]._chunk(parameters)
        _decode_positions(y_hat, half.nonzero()[:, 0], code, mean, scale)
    return y_hat


def _decode_positions(
    y_hat: Tensor, positions: Tensor, code: CodeStep, mean: Tensor, scale: Tensor
) -> None:
    """Decode all channels at some positions into ``y_hat``."""
    mean, scale = (tensor[0].flatten(1)[:, positions] for tensor in (mean, scale))
    y_hat[0].flatten(1)[:, positions] = code(slice(0, len(mean)), positions, mean, scale)

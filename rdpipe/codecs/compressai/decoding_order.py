"""Decoding order of CompressAI's models, and what they predict at each step.

.. code-block:: none

    no context      all elements at once
    raster scan     one position after the other (mbt2018, cheng2020)
    checkerboard    one half of the positions, then the other
    channel groups  one group of channels after the other, each on a checkerboard (ELIC)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch
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
from torch.nn import functional as F

from rdpipe.codecs.compressai.checkerboard import CheckerboardHyperprior
from rdpipe.core.errors import InputError
from rdpipe.core.protocols import Region


class SendLatents(Protocol):
    """Send elements of y with a mean and a scale in units of the model, and return y_hat.

    See :class:`rdpipe.core.protocols.Send` for ``at``.
    """

    def __call__(self, mean: Tensor, scale: Tensor, at: Tensor | Region | None = None) -> Tensor:
        """Return y_hat of the shape of the mean."""


DecodeLatents = Callable[[Tensor, SendLatents], Tensor]
"""``decode(side, send)`` returns y_hat; ``side`` is the output of the hyper-synthesis."""


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


def decoder(model: CompressionModel, shift: Tensor | float = 0.0) -> DecodeLatents:
    """Return the function that decodes the latents in the order of the model's decoder.

    Parameters
    ----------
    model : CompressionModel
        A model with a hyperprior.
    shift : Tensor of shape (c,), optional
        Added to the output of the context model of a raster scan.

    Raises
    ------
    InputError
        If the model has a latent codec that is not supported.
    """
    if isinstance(model, JointAutoregressiveHierarchicalPriors):
        return RasterScan(model, shift)
    coder = latent_codec(model)
    if isinstance(coder, ChannelGroupsLatentCodec):
        return partial(decode_channel_groups, coder)
    if isinstance(coder, CheckerboardLatentCodec):
        return partial(decode_checkerboard, coder)
    if coder is not None:
        raise InputError(
            f"a model with a latent codec of type {type(coder).__name__} is not supported; expected"
            " ChannelGroupsLatentCodec or CheckerboardLatentCodec"
        )
    return decode_with_means if isinstance(model, MeanScaleHyperprior) else decode_zero_means


def decode_with_means(side: Tensor, send: SendLatents) -> Tensor:
    """Decode all latents at once, with scales and means from the hyper-synthesis."""
    scale, mean = side.chunk(2, 1)
    return send(mean, scale)


def decode_zero_means(side: Tensor, send: SendLatents) -> Tensor:
    """Decode all latents at once, with scales from the hyper-synthesis."""
    return send(torch.zeros_like(side), side)


class RasterScan:
    """Decode one position after the other.

    The context is a window of the rows above and the elements to the left. Networks are applied to
    vectors: with one position at a time a convolution is a product with a matrix.

    Parameters
    ----------
    model, shift
        See :func:`decoder`.
    """

    def __init__(self, model: JointAutoregressiveHierarchicalPriors, shift: Tensor | float = 0.0):
        context = model.context_prediction
        self.radius: int = context.padding[0]
        self.kernel = (context.weight * context.mask).contiguous()
        self.taps = context.mask[0, 0].flatten().nonzero()[:, 0]
        self.weight = self.kernel.flatten(2)[:, :, self.taps].flatten(1)
        self.bias = context.bias + shift
        self.networks = model.entropy_parameters
        self.parameters = [as_vector_function(layer) for layer in model.entropy_parameters]

    def __call__(self, side: Tensor, send: SendLatents) -> Tensor:
        """Return y_hat of shape (1, channel, row, column)."""
        radius, (rows, columns) = self.radius, side.shape[2:]
        channels = self.kernel.shape[1]
        y_hat = side.new_zeros(channels, rows + 2 * radius, columns + 2 * radius)
        everything, by_position = slice(0, channels), side[0].permute(1, 2, 0).contiguous()
        for row in range(rows):
            for column in range(columns):
                window = y_hat[:, row : row + 2 * radius + 1, column : column + 2 * radius + 1]
                neighbors = window.reshape(channels, -1)[:, self.taps].flatten()
                context = F.linear(neighbors, self.weight, self.bias)
                x = torch.cat([by_position[row, column], context])
                for layer in self.parameters:
                    x = layer(x)
                scale, mean = x.view(1, -1, 1, 1).chunk(2, 1)
                at = everything, slice(row, row + 1), slice(column, column + 1)
                y_hat[:, row + radius, column + radius] = send(mean, scale, at)[0, :, 0, 0]
        return F.pad(y_hat, (-radius,) * 4)[None]

    def predict(self, side: Tensor, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and scale of all elements from the whole y_hat, with convolutions."""
        context = F.conv2d(y_hat, self.kernel, self.bias, padding=self.radius)
        scale, mean = self.networks(torch.cat([side, context], 1)).chunk(2, 1)
        return mean, scale


def as_vector_function(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a layer of 1 x 1 convolutions as a function of the channels at one position."""
    if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1:
        return partial(F.linear, weight=layer.weight[:, :, 0, 0], bias=layer.bias)
    return partial(_apply_at_position, layer)


def _apply_at_position(layer: nn.Module, x: Tensor) -> Tensor:
    result: Tensor = layer(x.view(1, -1, 1, 1)).flatten()
    return result


def decode_channel_groups(
    coder: ChannelGroupsLatentCodec, side: Tensor, send: SendLatents
) -> Tensor:
    """Decode one group of channels after the other, each on a checkerboard."""
    groups: list[Tensor] = []

    def send_group(mean: Tensor, scale: Tensor, at: Any = None) -> Tensor:
        first = coder.groups_acc[len(groups)]
        margin = (0, 0, 0, 0, first, coder.groups_acc[-1] - first - mean.shape[1])
        mean, scale, at = (F.pad(x.expand_as(mean), margin) for x in (mean, scale, at))
        return send(mean, scale, at)[:, first : coder.groups_acc[len(groups) + 1]]

    for k in range(len(coder.groups)):
        parameters = coder._get_ctx_params(k, side, groups)
        groups.append(decode_checkerboard(coder.latent_codec[f"y{k}"], parameters, send_group))
    return torch.cat(groups, 1)


def decode_checkerboard(coder: CheckerboardLatentCodec, side: Tensor, send: SendLatents) -> Tensor:
    """Decode one half of a checkerboard from the hyper-latents, then the half that sees it."""
    y_hat = side.new_zeros(1, coder.context_prediction.in_channels, *side.shape[2:])
    no_context = side.new_zeros(1, coder.context_prediction.out_channels, *side.shape[2:])
    row, column = (torch.arange(length, device=side.device) for length in side.shape[2:])
    second = (row[:, None] + column) % 2 != (coder.anchor_parity == "odd")
    for step, half in enumerate((~second, second)):
        context = coder.context_prediction(y_hat) if step else no_context
        merged = coder.merge(context, side)
        parameters = coder["y"].entropy_parameters(coder.entropy_parameters(merged))
        scale, mean = coder["y"]._chunk(parameters)
        y_hat = y_hat + send(mean, scale, half)
    return y_hat

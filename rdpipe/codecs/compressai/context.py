"""The order in which a CompressAI model decodes its latents, and what it knows at each step.

.. code-block:: none

    no context      everything at once
    raster scan     one position after the other (mbt2018, cheng2020)
    checkerboard    one half of the positions, then the other
    channel groups  one group of channels after the other, each in one of these ways (ELIC)

Encoder and decoder make the same steps, and so does anything that puts another quantizer in the
codec's place: what is predicted depends on what has been decoded (SCIENCE.md, section 7).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from rdpipe.codecs.compressai._torchvision import declare_missing_operators
from rdpipe.codecs.compressai.checkerboard import CheckerboardHyperprior

declare_missing_operators()

from compressai.latent_codecs import (  # noqa: E402
    ChannelGroupsLatentCodec,
    CheckerboardLatentCodec,
    LatentCodec,
)
from compressai.models import (  # noqa: E402
    CompressionModel,
    JointAutoregressiveHierarchicalPriors,
    MeanScaleHyperprior,
)

Code = Callable[[slice, Tensor, Tensor, Tensor], Tensor]
"""``code(channels, positions, mean, scale)`` -> y_hat of these elements.

Positions are ``row * columns + column``, int64; the others are of shape (channel, position).
"""


def has_context(model: CompressionModel) -> bool:
    """Whether what a model predicts depends on the latents decoded before."""
    return isinstance(model, JointAutoregressiveHierarchicalPriors) or latent_codec(model) is not None


def latent_codec(model: CompressionModel) -> LatentCodec | None:
    """CompressAI's latent codec of a model's y, where it is made of such."""
    if hasattr(model, "latent_codec"):
        return model.latent_codec["y"]
    return model.latent_coder() if isinstance(model, CheckerboardHyperprior) else None


def decode(model: CompressionModel, side: Tensor, code: Code, shift: Tensor | float = 0.0) -> Tensor:
    """Walk through the latents as the decoder does.

    Parameters
    ----------
    model : CompressionModel
        With a hyperprior.
    side : Tensor of shape (1, c, h, w)
        From the hyper-synthesis.
    code : callable
        See ``Code``.
    shift : Tensor of shape (1, c, 1, 1)
        Added to what the context model of a raster scan says.

    Returns
    -------
    Tensor of shape (1, channel, h, w)
        y_hat.
    """
    if isinstance(model, JointAutoregressiveHierarchicalPriors):
        return raster(model, side, code, shift)
    if (coder := latent_codec(model)) is not None:
        return by_latent_codec(coder, side, code)
    if isinstance(model, MeanScaleHyperprior):
        scale, mean = side.chunk(2, 1)
    else:
        scale, mean = side, torch.zeros_like(side)
    y_hat = torch.zeros_like(mean)
    put(y_hat, torch.arange(mean[0, 0].numel(), device=mean.device), code, mean, scale)
    return y_hat


def undecoded(model: CompressionModel, side: Tensor, shift: Tensor | float = 0.0) -> tuple:
    """Mean and scale as long as nothing is decoded, each of shape (1, channel, h, w)."""
    if isinstance(model, JointAutoregressiveHierarchicalPriors):
        nothing = (model.context_prediction.bias[None, :, None, None] + shift).expand(
            -1, -1, *side.shape[2:]
        )
        scale, mean = model.entropy_parameters(torch.cat([side, nothing], 1)).chunk(2, 1)
        return mean, scale
    return told(model, side, lambda channels, positions, mean, scale: torch.zeros_like(mean))


def told(model: CompressionModel, side: Tensor, code: Code, shift: Tensor | float = 0.0) -> tuple:
    """Mean and scale of each element when its turn comes, each of shape (1, channel, h, w)."""
    steps = []

    def note(channels, positions, mean, scale):
        steps.append((channels, positions, mean, scale))
        return code(channels, positions, mean, scale)

    y_hat = decode(model, side, note, shift)
    found = torch.empty_like(y_hat), torch.empty_like(y_hat)
    for channels, positions, *parameters in steps:
        for array, value in zip(found, parameters):
            array[0, channels].flatten(1)[:, positions] = value
    return found


def raster(model, side: Tensor, code: Code, shift: Tensor | float) -> Tensor:
    """One position after the other; its context is a window of the rows above and the row to the left."""
    context, radius = model.context_prediction, model.context_prediction.padding[0]
    weight = context.weight * context.mask
    rows, columns = side.shape[2:]
    y_hat = side.new_zeros(1, model.M, rows + 2 * radius, columns + 2 * radius)
    for row in range(rows):
        for column in range(columns):
            window = y_hat[:, :, row : row + 2 * radius + 1, column : column + 2 * radius + 1]
            seen = F.conv2d(window, weight, context.bias) + shift
            here = side[:, :, row : row + 1, column : column + 1]
            scale, mean = model.entropy_parameters(torch.cat([here, seen], 1))[0, :, 0].chunk(2)
            position = torch.tensor([row * columns + column], device=side.device)
            value = code(slice(0, model.M), position, mean, scale)
            y_hat[0, :, row + radius, column + radius] = value[:, 0]
    return F.pad(y_hat, (-radius,) * 4)


def by_latent_codec(coder: LatentCodec, side: Tensor, code: Code) -> Tensor:
    """As one of CompressAI's latent codecs does."""
    if isinstance(coder, ChannelGroupsLatentCodec):
        return channel_groups(coder, side, code)
    if isinstance(coder, CheckerboardLatentCodec):
        return checkerboard(coder, side, code)
    raise TypeError(f"a latent codec of type {type(coder).__name__}")


def channel_groups(coder: ChannelGroupsLatentCodec, side: Tensor, code: Code) -> Tensor:
    """One group of channels after the other."""
    groups = []
    for k, first in enumerate(coder.groups_acc[:-1]):

        def shifted(channels, *rest, first=first):
            return code(slice(first + channels.start, first + channels.stop), *rest)

        given = coder._get_ctx_params(k, side, groups)
        groups.append(by_latent_codec(coder.latent_codec[f"y{k}"], given, shifted))
    return torch.cat(groups, 1)


def checkerboard(coder: CheckerboardLatentCodec, side: Tensor, code: Code) -> Tensor:
    """The anchors, from the hyper-latents alone; then the others, which see the anchors around them."""
    y_hat = side.new_zeros(1, coder.context_prediction.in_channels, *side.shape[2:])
    row, column = (torch.arange(length, device=side.device) for length in side.shape[2:])
    others = (row[:, None] + column).flatten() % 2 != (coder.anchor_parity == "odd")
    for step, here in enumerate((~others, others)):
        seen = coder.context_prediction(y_hat)
        given = coder.entropy_parameters(coder.merge(seen if step else 0 * seen, side))
        scale, mean = coder["y"]._chunk(coder["y"].entropy_parameters(given))
        put(y_hat, here.nonzero()[:, 0], code, mean, scale)
    return y_hat


def put(y_hat: Tensor, positions: Tensor, code: Code, mean: Tensor, scale: Tensor) -> None:
    """Decode all channels at some positions."""
    mean, scale = (one[0].flatten(1)[:, positions] for one in (mean, scale))
    y_hat[0].flatten(1)[:, positions] = code(slice(0, len(mean)), positions, mean, scale)

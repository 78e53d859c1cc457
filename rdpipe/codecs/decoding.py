"""Decoding of latents by any codec, with or without optional capabilities."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents
from rdpipe.core.protocols import CodeStep, SupportsGain, SupportsReconstruction


@runtime_checkable
class HasStride(Protocol):
    """A codec that states how many pixels lie between neighboring latents."""

    stride: int


def latent_stride(codec: object, latents: Latents, height: int) -> int:
    """Return the distance of neighboring latents in the image, in pixels.

    It is the codec's own attribute ``stride``, or derived from the height of the image.

    Parameters
    ----------
    codec : Codec
    latents : Latents
    height : int
        Height of the image, pixels.
    """
    return codec.stride if isinstance(codec, HasStride) else -(-height // latents.y.shape[1])


def decoded_latents(codec: object, latents: Latents) -> Tensor:
    """Return y_hat of the codec's own decoder: rounded latents, reconstructed as the codec does.

    Parameters
    ----------
    codec : Codec
    latents : Latents

    Returns
    -------
    Tensor of shape (channel, row, column)
    """
    y_hat = (latents.y - latents.mean).round() + latents.mean
    if isinstance(codec, SupportsReconstruction):
        y_hat = codec.reconstruct(y_hat, latents.mean, latents.scale)
    return y_hat


def measured_gain(codec: SupportsGain, latents: Latents, height: int, width: int) -> Tensor:
    """Return the gain of the codec's decoder, if it is usable.

    Parameters
    ----------
    codec : SupportsGain
    latents : Latents
    height, width : int
        Size of the image, pixels.

    Returns
    -------
    Tensor of shape (channel,)

    Raises
    ------
    InputError
        If it has another shape, or values that are not finite.
    """
    gain = torch.as_tensor(codec.decoder_gain(latents, height, width))
    if gain.shape != latents.y.shape[:1]:
        raise InputError(
            f"decoder_gain returned shape {tuple(gain.shape)}; expected"
            f" {tuple(latents.y.shape[:1])}, one value per channel"
        )
    if not gain.isfinite().all():
        raise InputError("decoder_gain returned values that are not finite")
    return gain


def own_code_step(codec: object, y: Tensor) -> CodeStep:
    """Return the codec's own quantizer, for :meth:`rdpipe.core.protocols.SupportsContext.recode`.

    Parameters
    ----------
    codec : Codec
    y : Tensor of shape (channel, row, column)
        Latents before quantization.
    """
    y = y.flatten(1)

    def code(channels: slice, positions: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        return decoded_latents(codec, Latents("", y[channels][:, positions], mean, scale))

    return code

"""Factories of codecs that wrap CompressAI's models."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from compressai.models import CompressionModel
from compressai.models.vbr import ScaleHyperpriorVbr

from rdpipe.codecs import EMBEDDED, weights_of
from rdpipe.codecs.compressai.adapter import CompressAICodec
from rdpipe.codecs.compressai.checkpoint import (
    architecture_of,
    check_quality,
    fetch,
    fold,
    load_model,
    read_state,
)
from rdpipe.codecs.compressai.variable_rate import VariableRateCodec
from rdpipe.core.errors import InputError


class EmbeddedFactory(Protocol):
    """Factory of a codec whose weights are in the package."""

    def __call__(self, quality: int, device: str = "auto") -> CompressAICodec:
        """Return the codec at one quality."""


def adapt_model(
    model: CompressionModel, quality: int = 1, device: str = "auto", copy: bool = True
) -> CompressAICodec:
    """Return the codec of a CompressAI model in memory.

    Parameters
    ----------
    model : CompressionModel
        A model with its weights. It stays as it is.
    quality : int
        Stage of a variable-rate model, from 1; not used for other models.
    device : str
        ``cpu``, ``cuda`` or ``auto``.
    copy : bool
        Whether to work on a copy that follows the weights of the model; see
        :class:`~rdpipe.codecs.compressai.adapter.CompressAICodec`.

    Raises
    ------
    InputError
        If the model is not an image codec of CompressAI in float32, has no such stage, or the
        device is not available.
    """
    if isinstance(model, ScaleHyperpriorVbr):
        return VariableRateCodec(model, quality, device, copy)
    return CompressAICodec(model, device, copy)


def from_checkpoint(
    quality: int,
    architecture: str,
    checkpoint: str | None = None,
    device: str = "auto",
    pretrained: bool = False,
    metric: str = "mse",
) -> CompressAICodec:
    """Return a codec of CompressAI from a file of weights, or from its model zoo.

    Parameters
    ----------
    quality : int
        Quality of the codec; replaces ``{quality}`` in ``checkpoint``. For a variable-rate model
        (``-vbr``) it is the stage, from 1.
    architecture : str
        One of :data:`rdpipe.codecs.compressai.checkpoint.ARCHITECTURES`.
    checkpoint : str, optional
        ``.pth.tar``, ``.pt`` or ``.safetensors``: a state dict, or a dict that holds one, such as
        ``state_dict``, ``model_state_dict``, ``model`` or ``net``; a leading ``~`` is the home.
        The number of channels is derived from it. It is loaded with ``weights_only``, so no code
        in it is executed.
    device : str
        ``cpu``, ``cuda`` or ``auto``.
    pretrained : bool
        Whether to use the weights of CompressAI's model zoo instead, which are downloaded once.
    metric : str
        Metric of the pretrained weights, ``mse`` or ``ms-ssim``.

    Raises
    ------
    InputError
        If both or neither of checkpoint and ``pretrained`` are given, or the weights cannot be
        loaded.
    """
    if pretrained == (checkpoint is not None):
        raise InputError(f"{architecture}: expected either a checkpoint or pretrained: true")
    if checkpoint is None:
        file = fetch(architecture, quality, metric)
    else:
        file = Path(weights_of(checkpoint, quality))
    model = load_model(architecture, read_state(file), str(file))
    return adapt_model(model, quality, device, copy=False)


def from_training(quality: int, checkpoint: str, device: str = "auto") -> CompressAICodec:
    """Return one rate of a variable-rate network that ``train_codec`` wrote.

    Parameters
    ----------
    quality : int
        Number of the rate, from 1; replaces ``{quality}`` in ``checkpoint``.
    checkpoint : str
        The weights, ``.safetensors``.
    device : str
        ``cpu``, ``cuda`` or ``auto``.

    Raises
    ------
    InputError
        If the network has no such rate, or the weights cannot be loaded.
    """
    checkpoint = weights_of(checkpoint, quality)
    state = read_state(Path(checkpoint))
    check_quality(quality, len(state.get("log_gain", ())), f"{checkpoint}: ")
    model = load_model(architecture_of(state), fold(state, quality - 1), checkpoint)
    return adapt_model(model, quality, device, copy=False)


def _embedded(name: str) -> EmbeddedFactory:
    """Return the factory of a network whose weights are in the package."""

    def codec(quality: int, device: str = "auto") -> CompressAICodec:
        return from_training(quality, str(EMBEDDED / f"{name}.safetensors"), device)

    codec.__name__ = codec.__qualname__ = name.replace("-", "_")
    codec.__doc__ = f"Return the embedded codec ``{name}`` at one quality, 1 to 4."
    return codec


mini_factorized = _embedded("mini-factorized")
mini_scale = _embedded("mini-scale")
mini_mean_scale = _embedded("mini-mean-scale")
mini_context = _embedded("mini-context")
joint_upper = _embedded("joint-upper")

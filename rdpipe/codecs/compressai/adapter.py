"""Codecs that wrap CompressAI's models."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from compressai.latent_codecs import ChannelGroupsLatentCodec
from compressai.models import CompressionModel, MeanScaleHyperprior, ScaleHyperprior
from torch import Tensor, nn

from rdpipe.codecs.compressai import context
from rdpipe.codecs.compressai.private_copy import (
    copy_without_hooks,
    named_weights,
    same_weights,
)
from rdpipe.codecs.decoding import own_code_step
from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents
from rdpipe.core.protocols import Analysis, CodeStep, Image, SupportsContext
from rdpipe.core.rng import generator

HEADER = struct.Struct(">IIB")
"""Height, width and number of strings.

The length of each string but the last follows, 4 bytes each.
"""


class CachedTransform(nn.Module):
    """A transform that keeps the output for its last input.

    Analysis, encoder and decoder of one image apply the same transforms to the same tensors. Inputs
    are compared number by number: what a decoder reads from a bitstream may differ.

    Parameters
    ----------
    transform : Module
    """

    def __init__(self, transform: nn.Module):
        super().__init__()
        self.transform = transform
        self._last: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the transform, in contiguous memory."""
        if not x.requires_grad and self._last is not None:
            last_input, last_output = self._last
            if last_input.shape == x.shape and torch.equal(last_input, x):
                return last_output.clone()
        output: Tensor = self.transform(x).contiguous()
        self._last = x.detach().clone(), output.detach().clone()
        return output

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_last": None}


class CompressAICodec:
    """A codec that wraps a CompressAI model without a context model.

    Images are padded at the right and at the bottom to multiples of 64 by repeating the border, and
    cropped after synthesis. Latents are in units of the quantization step.

    The codec works on a copy of the model, so the caller's model keeps its mode, device, memory
    format and entropy coder tables. The copy has no hooks of the caller, except those of PyTorch
    that compute weights (pruning, weight and spectral normalization).

    The copy follows the caller's model. It is made again if the weights, the scale tables or the
    printed form (``repr``) of the model have changed since the last call. Changes that none of
    these show are not noticed, such as a new ``forward`` method or an attribute that ``extra_repr``
    omits; adapt the model again after them.

    The tables of the entropy coder are computed from the weights, with the scale table of each
    Gaussian conditional, or CompressAI's default where that is empty. Other changes of the
    caller's tables are ignored.

    Threads may share a codec: its calls are executed one after another.

    Parameters
    ----------
    model : CompressionModel
        A model with its weights, float32. :func:`rdpipe.codecs.compressai.adapt_model` selects the
        class that supports it.
    device : str
        ``cpu``, ``cuda``, or ``auto`` for CUDA if there is a device.
    copy : bool
        Whether to work on a copy. False takes the model over: it saves the memory of the copy, but
        the model must not be used otherwise any more.

    Attributes
    ----------
    model : CompressionModel
        The copy of the model.
    stride : int
        Distance of neighboring latents in the image, pixels.

    Raises
    ------
    InputError
        If the model is not an image codec of CompressAI, its weights are not float32, another class
        supports it, or the device is not available.
    """

    stride = 16
    _gain: Tensor | float = 1.0
    """Inverse of the quantization step."""
    _shift: Tensor | float = 0.0
    """Added to the output of the context model."""
    _options: Mapping[str, Any] = {}
    """Further arguments of the model's ``compress``, ``decompress`` and ``forward``."""

    def __init__(self, model: CompressionModel, device: str = "auto", copy: bool = True):
        self.device = _available_device(device)
        self._source = model if copy else None
        self._lock = threading.RLock()
        self._in_call = False
        self._adapt(model)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()

    def _adapt(self, model: CompressionModel) -> None:
        """Use the caller's model, or a copy of it."""
        self._check_model(model)
        if self._source is not None:
            self._structure = repr(model)
            model = copy_without_hooks(model)
        self._use_model(model)

    def _check_model(self, model: CompressionModel) -> None:
        check_model(model)
        if context.has_context(model) != isinstance(self, SupportsContext):
            has = "has a" if context.has_context(model) else "has no"
            raise InputError(
                f"{type(model).__name__} {has} context model, which {type(self).__name__} does not"
                " support; use rdpipe.codecs.compressai.adapt_model"
            )

    def _use_model(self, model: CompressionModel) -> None:
        """Prepare a model that belongs to this codec alone."""
        self.model = model.eval().requires_grad_(False).to(self.device)
        if self.device.type == "cpu":  # convolutions are faster with channels last
            self.model.to(memory_format=torch.channels_last)
        self._weights = named_weights(self.model)
        conditionals = [m for m in model.modules() if isinstance(m, GaussianConditional)]
        scale_tables = [conditional.scale_table for conditional in conditionals]
        with torch.no_grad():
            self._update_tables()
            for conditional, table in zip(conditionals, scale_tables, strict=True):
                if table.numel() and not torch.equal(table, conditional.scale_table):
                    conditional.update_scale_table(table.tolist(), force=True)
        inner = model.latent_codec["hyper"] if context.has_latent_codecs(model) else model
        self.bottleneck: EntropyBottleneck = inner.entropy_bottleneck
        self.has_hyperprior = context.has_child(inner, "h_s")
        self.takes_magnitude = isinstance(model, ScaleHyperprior) and not isinstance(
            model, MeanScaleHyperprior
        )
        model.g_a, model.g_s = CachedTransform(model.g_a), CachedTransform(model.g_s)
        if self.has_hyperprior:
            inner.h_s = CachedTransform(inner.h_s)
            self.h_a, self.h_s = inner.h_a, inner.h_s
            self.gaussian = conditionals[0]

    @contextmanager
    def _inference(self) -> Iterator[None]:
        """Compute without gradients, with the present weights of the caller's model.

        Threads wait for each other, so that no call sees a model that another one replaces.
        """
        with self._lock:
            outermost = not self._in_call  # one call of a method may call others
            if outermost and self._source is not None and not self._is_current(self._source):
                with torch.inference_mode(False), torch.no_grad():
                    self._adapt(self._source)
            self._in_call = True
            try:
                with torch.inference_mode():
                    yield
            finally:
                self._in_call = not outermost

    def _is_current(self, source: CompressionModel) -> bool:
        """Return whether the copy has the structure and the weights of the caller's model."""
        same_structure = repr(source) == self._structure
        return same_structure and same_weights(self._weights, named_weights(source))

    def _update_tables(self) -> None:
        """Compute the tables of the entropy coder."""
        self.model.update(force=True)

    def _entropy_code(self, z: Tensor) -> bytes:
        string: bytes = self.bottleneck.compress(z)[0]
        return string

    def _entropy_decode(self, string: bytes, shape: Sequence[int]) -> Tensor:
        return self.bottleneck.decompress([string], shape)

    def _hyper_likelihoods(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return rounded hyper-latents and their likelihoods."""
        z_hat, likelihoods = self.bottleneck(z)
        return z_hat, likelihoods

    def analyse(self, name: str, image: Image) -> Analysis:
        """Return the latents of an image before quantization, and the prediction of them.

        Mean and scale are those that the entropy coder uses.
        """
        with self._inference():
            x = self._to_tensor(image)
            y = self.model.g_a(x)
            if self.has_hyperprior:
                return self._analyse_hyperprior(name, x, y)
            return self._analyse_factorized(name, y)

    def _analyse_factorized(self, name: str, y: Tensor) -> Analysis:
        _, likelihoods = self.bottleneck(y)
        mean, scale = factorized_moments(self.bottleneck)
        y, mean, scale = torch.broadcast_tensors(y, mean, scale)
        own_bits = -likelihoods[0].log2()
        latents = Latents(name, y[0], mean[0], scale[0], own_bits=own_bits)
        return Analysis(latents, _bits(likelihoods), 0.0)

    def _analyse_hyperprior(self, name: str, x: Tensor, y: Tensor) -> Analysis:
        z_hat, z_likelihoods = self._hyper_likelihoods(self._hyper_latents(y))
        side, y = self.h_s(z_hat), y * self._gain
        mean, scale = self._sequential_prior(side, own_code_step(self, y[0]))
        _, likelihoods = self.gaussian(y, scale, means=mean)
        hyper, forward_bits = self._without_feedback(x, side)
        y, mean, scale = torch.broadcast_tensors(y, mean, scale)
        latents = Latents(name, y[0], mean[0], scale[0], hyper)
        return Analysis(latents, _bits(likelihoods), _bits(z_likelihoods), forward_bits)

    def _without_feedback(self, x: Tensor, side: Tensor) -> tuple[Tensor | None, float | None]:
        """Return the mean without the context model and the bits of ``forward``, if they differ."""
        return None, None

    def _sequential_prior(self, side: Tensor, code: CodeStep) -> tuple[Tensor, Tensor]:
        """Return mean and scale of each latent at its decoding step, in steps."""
        mean, scale = context.sequential_prior(self.model, side, self._in_steps(code), self._shift)
        return mean * self._gain, self._bounded(scale * self._gain)

    def _initial_prior(self, side: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and scale before any latent is decoded, in steps."""
        mean, scale = context.initial_prior(self.model, side, self._shift)
        return mean * self._gain, self._bounded(scale * self._gain)

    def _in_steps(self, code: CodeStep) -> CodeStep:
        """Convert a code in steps to a code in units of the model."""

        def scaled(channels: slice, positions: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
            mean, scale = mean * self._gain, self._bounded(scale * self._gain)
            return code(channels, positions, mean, scale) / self._gain

        return scaled

    def _bounded(self, scale: Tensor) -> Tensor:
        """Return the scale with the lower bound of the entropy coder."""
        bounded: Tensor = self.gaussian.lower_bound_scale(scale)
        return bounded

    def decoder_gain(self, latents: Latents, height: int, width: int) -> Tensor:
        """Return the squared change of the image for a unit change of one latent.

        See :meth:`rdpipe.core.protocols.SupportsGain.decoder_gain`. With white noise n over the
        image and the decoder's Jacobian J, E (J^T n)_i^2 = sum_j J_ji^2, which takes one backward
        pass. The estimate is unbiased; the average over positions reduces its variance.

        References
        ----------
        M. F. Hutchinson, "A Stochastic Estimator of the Trace of the Influence Matrix for Laplacian
        Smoothing Splines", Communications in Statistics 19(2), 1990.
        """
        noise = torch.randn((1, 3, height, width), generator=generator(0, latents.name))
        noise = noise.to(self.device)
        with self._inference(), torch.inference_mode(False), torch.enable_grad():
            y_hat = ((latents.y - latents.mean).round() + latents.mean)[None]
            y_hat = y_hat.to(self.device, torch.float32, copy=True).requires_grad_()
            x_hat = self.model.g_s(y_hat / self._gain)[..., :height, :width]
            (gradient,) = torch.autograd.grad(x_hat, y_hat, noise)
        return gradient.square().mean((0, 2, 3))

    def _hyper_latents(self, y: Tensor) -> Tensor:
        z: Tensor = self.h_a(y.abs() if self.takes_magnitude else y)
        return z

    def side(self, image: Image) -> bytes:
        """Return the bitstream of the hyper-latents; empty if the model has none."""
        if not self.has_hyperprior:
            return b""
        with self._inference():
            y = self.model.g_a(self._to_tensor(image))
            return self._entropy_code(self._hyper_latents(y))

    def predict(self, side: bytes, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Return mean and scale, of shape (channel, row, column), before any latent is decoded."""
        rows, columns = _padded(height) // 16, _padded(width) // 16
        with self._inference():
            if self.has_hyperprior:
                z_hat = self._entropy_decode(side, [rows // 4, columns // 4])
                mean, scale = self._initial_prior(self.h_s(z_hat))
            else:
                mean, scale = (
                    moment.expand(1, -1, rows, columns)
                    for moment in factorized_moments(self.bottleneck)
                )
            return mean[0], scale[0]

    def synthesise(self, y_hat: Tensor, height: int, width: int) -> Image:
        """Return the image of decoded latents of shape (channel, row, column)."""
        with self._inference():
            x_hat = self.model.g_s(y_hat[None].to(self.device, torch.float32) / self._gain)
            return _to_image(x_hat, height, width)

    def compress(self, image: Image) -> bytes:
        """Return the bitstream of CompressAI's coder, with a header."""
        with self._inference():
            output = self.model.compress(self._to_tensor(image), **self._options)
        strings = [string[0] for string in output["strings"]]
        lengths = struct.pack(f">{len(strings) - 1}I", *map(len, strings[:-1]))
        return HEADER.pack(*image.shape[:2], len(strings)) + lengths + b"".join(strings)

    def decompress(self, stream: bytes) -> Image:
        """Return the decoded image."""
        height, width, count = HEADER.unpack_from(stream)
        lengths = struct.unpack_from(f">{count - 1}I", stream, HEADER.size)
        ends = np.cumsum([HEADER.size + 4 * len(lengths), *lengths]).tolist()
        pieces = zip(ends, [*ends[1:], None], strict=True)
        strings = [[stream[start:end]] for start, end in pieces]
        with self._inference():
            shape = self._shape(_padded(height), _padded(width))
            output = self.model.decompress(strings, shape, **self._options)
            return _to_image(output["x_hat"], height, width)

    def _shape(self, height: int, width: int) -> Any:
        """Return the shape of the latents as ``decompress`` of the model expects it."""
        y, z = ((height // stride, width // stride) for stride in (16, 64))
        if not self.has_hyperprior:
            return y
        if not context.has_latent_codecs(self.model):
            return z
        coder = context.latent_codec(self.model)
        if isinstance(coder, ChannelGroupsLatentCodec):
            return {"y": [(channels, *y) for channels in coder.groups], "hyper": z}
        assert coder is not None
        return {"y": (coder.context_prediction.in_channels, *y), "hyper": z}

    def _to_tensor(self, image: Image) -> Tensor:
        """Return the padded image, in [0, 1], of shape (1, 3, height, width)."""
        if image.ndim == 3 and image.shape[2] != 3:
            raise InputError(f"the image has {image.shape[2]} channels; expected 3 (RGB)")
        if image.ndim != 3 or image.dtype != np.uint8:
            raise InputError(
                f"the image has dtype {image.dtype} and shape {tuple(image.shape)}; expected uint8"
                " of shape (height, width, 3)"
            )
        height, width = image.shape[:2]
        x = torch.tensor(image, device=self.device).permute(2, 0, 1)[None].float() / 255
        return F.pad(x, (0, _padded(width) - width, 0, _padded(height) - height), "replicate")


class ContextCodec(CompressAICodec):
    """A codec that wraps a CompressAI model with a context model.

    Mean and scale of its latents are those of the entropy coder: each is predicted from what was
    coded before. Parameters are those of :class:`CompressAICodec`.
    """

    def _without_feedback(self, x: Tensor, side: Tensor) -> tuple[Tensor | None, float | None]:
        hyper = self._initial_prior(side)[0][0]
        likelihoods = self.model(x, **self._options)["likelihoods"]
        return hyper, sum(map(_bits, likelihoods.values()))

    def recode(self, image: Image, code: CodeStep) -> Tensor:
        """Return y_hat of another quantizer, whose output the context model sees.

        See :meth:`rdpipe.core.protocols.SupportsContext.recode`.
        """

        def code_on_cpu(channels: slice, positions: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
            return code(channels, positions.cpu(), mean.cpu(), scale.cpu()).to(self.device)

        with self._inference():
            y = self.model.g_a(self._to_tensor(image))
            z_hat, _ = self._hyper_likelihoods(self._hyper_latents(y))
            side, code_step = self.h_s(z_hat), self._in_steps(code_on_cpu)
            y_hat = context.decode(self.model, side, code_step, self._shift)
            return (y_hat[0] * self._gain).cpu()


def factorized_moments(bottleneck: EntropyBottleneck) -> tuple[Tensor, Tensor]:
    """Return mean and scale of the Gaussian that replaces the learned density of each channel.

    The mean is the median, on which the rounding grid lies. The variance is the second moment of
    the density about the median, summed over a grid of 4096 cells between its outermost quantiles.

    Returns
    -------
    mean, scale : Tensor of shape (1, channel, 1, 1)
    """
    low, median, high = bottleneck.quantiles.detach().unbind(2)  # each (channel, 1)
    grid = low + (high - low) * torch.linspace(0, 1, 4097, device=low.device)
    cumulative = bottleneck._logits_cumulative(grid[:, None], stop_gradient=True).sigmoid()[:, 0]
    mass = cumulative.diff()
    center = (grid[:, 1:] + grid[:, :-1]) / 2 - median
    scale = ((mass * center.square()).sum(1) / mass.sum(1)).sqrt()
    return median[None, :, :, None], scale[None, :, None, None]


def check_model(model: object) -> None:
    """Check that a model is an image codec of CompressAI in float32.

    Raises
    ------
    InputError
        If it is not.
    """
    if not isinstance(model, CompressionModel):
        raise InputError(
            f"{type(model).__name__} is not a CompressAI model; expected a CompressionModel"
        )
    if not (context.has_child(model, "g_a") and context.has_child(model, "g_s")):
        raise InputError(
            f"{type(model).__name__} is not an image codec; expected a CompressionModel with the"
            " transforms g_a and g_s"
        )
    for name, parameter in model.named_parameters():
        if parameter.dtype != torch.float32:
            dtype = str(parameter.dtype).removeprefix("torch.")
            raise InputError(
                f"{type(model).__name__}: {name} has dtype {dtype}; expected float32 (use"
                " model.float())"
            )


def _available_device(name: str) -> torch.device:
    """Return a device by name; ``auto`` is CUDA if there is a device."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InputError(f"{name!r} is not a device; expected one of: auto, cpu, cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device {str(device)!r} is not available; expected one of: auto, cpu")
    return device


def _padded(side: int) -> int:
    """Return the least multiple of 64 that is not smaller."""
    return -(-side // 64) * 64


def _bits(likelihoods: Tensor) -> float:
    """Return the sum of the code lengths, bit."""
    return -likelihoods.double().log2().sum().item()


def _to_image(x_hat: Tensor, height: int, width: int) -> Image:
    """Return the image of an output of the synthesis, uint8 of shape (height, width, 3)."""
    x_hat = x_hat[0, :, :height, :width].clamp(0, 1).mul(255).round().byte()
    return x_hat.permute(1, 2, 0).cpu().numpy()

"""Adapter to CompressAI's image codecs."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rdpipe.codecs.compressai._torchvision import declare_missing_operators
from rdpipe.codecs.compressai.adapter import context
from rdpipe.codecs import weights_of
from rdpipe.codecs.compressai.checkpoint import (
    EMBEDDED,
    architecture_of,
    fetch,
    fold,
    load_model,
    read_state,
)
from rdpipe.codecs.protocol import Analysis, own_code
from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents
from rdpipe.core.rng import generator

declare_missing_operators()

from compressai.entropy_models import GaussianConditional  # noqa: E402
from compressai.models import (  # noqa: E402
    CompressionModel,
    MeanScaleHyperprior,
    ScaleHyperprior,
)

HEADER = struct.Struct(">IIB")
"""Height, width, number of strings; the length of each, 4 bytes, but of the last follows."""


def keeps_last(forward: Callable) -> Callable:
    """A transform that, given the same numbers again, gives what it made of them the last time.

    Analysis, coder and decoder of one image ask for the same: of what the decoder read from the
    bitstream nothing is assumed, it is compared number by number.
    """
    last = None

    def keeping(x: Tensor) -> Tensor:
        nonlocal last
        if not x.requires_grad and last and last[0].shape == x.shape and torch.equal(last[0], x):
            return last[1].clone()
        made = forward(x).contiguous()
        last = x.detach().clone(), made.detach().clone()
        return made

    return keeping


class CompressAI:
    """One of CompressAI's codecs behind :class:`rdpipe.codecs.protocol.Codec`.

    Images are padded at the right and the bottom by repeating the border, to multiples of 64, and
    cut again after synthesis. Latents are in steps of the quantizer. Of a model with a context, mean
    and scale are those that the real coder uses: each predicted from what it has coded before.

    Parameters
    ----------
    model : CompressionModel
        With its weights; the coder's tables are made here.
    device : str
        "cpu", "cuda", or "auto": CUDA where there is one.
    """

    stride = 16

    def __init__(self, model: CompressionModel, device: str = "auto"):
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self.model = model.eval().requires_grad_(False).to(self.device)
        if self.device.type == "cpu":  # where convolutions are faster with channels last
            self.model.to(memory_format=torch.channels_last)
        with torch.no_grad():
            self._make_tables()
        inner = model.latent_codec["hyper"] if hasattr(model, "latent_codec") else model
        self.bottleneck = inner.entropy_bottleneck
        if hasattr(inner, "h_s"):
            self.h_a, self.h_s = inner.h_a, inner.h_s
            self.gaussian = next(m for m in model.modules() if isinstance(m, GaussianConditional))
        self.hyperprior = hasattr(inner, "h_s")
        self.has_context = context.has_context(model)
        self.takes_magnitude = isinstance(model, ScaleHyperprior) and not isinstance(
            model, MeanScaleHyperprior
        )
        for transform in {model.g_a, model.g_s} | ({self.h_s} if self.hyperprior else set()):
            transform.forward = keeps_last(transform.forward)
        if not self.has_context:  # without one, a recoding says nothing new
            self.recode = None

    # what a variable-rate model has of its own (rdpipe.codecs.variable)
    gain: Tensor | float = 1.0
    """Inverse of the quantization step."""
    shift: Tensor | float = 0.0
    """What the gain adds to the context."""
    options: dict = {}
    """Further arguments of ``compress``, ``decompress`` and ``forward``."""

    def _make_tables(self) -> None:
        self.model.update(force=True)

    def _entropy_code(self, z: Tensor) -> bytes:
        return self.bottleneck.compress(z)[0]

    def _entropy_decode(self, string: bytes, shape) -> Tensor:
        return self.bottleneck.decompress([string], shape)

    def _hyper_likelihoods(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.bottleneck(z)

    @torch.inference_mode()
    def analyse(self, name: str, image: np.ndarray) -> Analysis:
        x = self._tensor(image)
        y, hyper, own, forward_bits = self.model.g_a(x), None, None, None
        if self.hyperprior:
            z_hat, z_likelihoods = self._hyper_likelihoods(self._hyper_latents(y))
            side, y = self.h_s(z_hat), y * self.gain
            mean, scale = self._told(side, own_code(self, y[0]))
            _, likelihoods = self.gaussian(y, scale, means=mean)
            side_bits = _bits(z_likelihoods)
            if self.has_context:
                hyper = self._undecoded(side)[0][0]
                found = self.model(x, **self.options)["likelihoods"]
                forward_bits = sum(map(_bits, found.values()))
        else:
            _, likelihoods = self.bottleneck(y)
            (mean, scale), side_bits = factorized_moments(self.bottleneck), 0.0
            own = -likelihoods[0].log2()
        y, mean, scale = torch.broadcast_tensors(y, mean, scale)
        latents = Latents(name, y[0], mean[0], scale[0], hyper, own_bits=own)
        return Analysis(latents, _bits(likelihoods), side_bits, forward_bits)

    def _told(self, side: Tensor, code: context.Code) -> tuple[Tensor, Tensor]:
        """Mean and scale of each latent as the coder uses them, in steps."""
        mean, scale = context.told(self.model, side, self._in_steps(code), self.shift)
        return mean * self.gain, self._bounded(scale * self.gain)

    def _undecoded(self, side: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale without the context model, in steps."""
        mean, scale = context.undecoded(self.model, side, self.shift)
        return mean * self.gain, self._bounded(scale * self.gain)

    def _in_steps(self, code: context.Code) -> context.Code:
        """A code whose means, scales and latents are in steps, for a model that has its own units."""

        def scaled(channels, positions, mean, scale):
            mean, scale = mean * self.gain, self._bounded(scale * self.gain)
            return code(channels, positions, mean, scale) / self.gain

        return scaled

    def _bounded(self, scale: Tensor) -> Tensor:
        return self.gaussian.lower_bound_scale(scale)  # as the coder does

    def decoder_gain(self, latents: Latents, height: int, width: int) -> Tensor:
        """As :meth:`rdpipe.codecs.protocol.Codec.decoder_gain` wants it.

        E (J^T n)_i^2 = sum_j J_ji^2 for white noise n over the image: one backward pass (M. F.
        Hutchinson, 1990), exact in the mean; the average over positions makes it sharp.
        """
        noise = torch.randn((1, 3, height, width), generator=generator(0, latents.name)).to(self.device)
        with torch.inference_mode(False), torch.enable_grad():
            y_hat = ((latents.y - latents.mean).round() + latents.mean)[None]
            y_hat = y_hat.to(self.device, torch.float32, copy=True).requires_grad_()
            x_hat = self.model.g_s(y_hat / self.gain)[..., :height, :width]
            (gradient,) = torch.autograd.grad(x_hat, y_hat, noise)
        return gradient.square().mean((0, 2, 3))

    def _hyper_latents(self, y: Tensor) -> Tensor:
        return self.h_a(y.abs() if self.takes_magnitude else y)

    def reconstruct(self, y_hat: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        return y_hat

    @torch.inference_mode()
    def recode(self, image: np.ndarray, code: context.Code) -> Tensor:
        def on_cpu(channels, *rest):
            return code(channels, *(one.cpu() for one in rest)).to(self.device)

        z_hat, _ = self._hyper_likelihoods(self._hyper_latents(self.model.g_a(self._tensor(image))))
        y_hat = context.decode(self.model, self.h_s(z_hat), self._in_steps(on_cpu), self.shift)
        return (y_hat[0] * self.gain).cpu()

    @torch.inference_mode()
    def side(self, image: np.ndarray) -> bytes:
        if not self.hyperprior:
            return b""
        return self._entropy_code(self._hyper_latents(self.model.g_a(self._tensor(image))))

    @torch.inference_mode()
    def predict(self, side: bytes, height: int, width: int) -> tuple[Tensor, Tensor]:
        rows, columns = _padded(height) // 16, _padded(width) // 16
        if self.hyperprior:
            z_hat = self._entropy_decode(side, [rows // 4, columns // 4])
            mean, scale = self._undecoded(self.h_s(z_hat))
        else:
            mean, scale = (
                one.expand(1, -1, rows, columns) for one in factorized_moments(self.bottleneck)
            )
        return mean[0], scale[0]

    @torch.inference_mode()
    def synthesise(self, y_hat: Tensor, height: int, width: int) -> np.ndarray:
        x_hat = self.model.g_s(y_hat[None].to(self.device, torch.float32) / self.gain)
        return _image(x_hat, height, width)

    @torch.inference_mode()
    def compress(self, image: np.ndarray) -> bytes:
        found = self.model.compress(self._tensor(image), **self.options)
        strings = [string[0] for string in found["strings"]]
        lengths = struct.pack(f">{len(strings) - 1}I", *map(len, strings[:-1]))
        return HEADER.pack(*image.shape[:2], len(strings)) + lengths + b"".join(strings)

    @torch.inference_mode()
    def decompress(self, stream: bytes) -> np.ndarray:
        height, width, count = HEADER.unpack_from(stream)
        lengths = struct.unpack_from(f">{count - 1}I", stream, HEADER.size)
        ends = np.cumsum([HEADER.size + 4 * len(lengths), *lengths])
        strings = [[stream[start:end]] for start, end in zip(ends, [*ends[1:], None])]
        shape = self._shape(_padded(height), _padded(width))
        return _image(self.model.decompress(strings, shape, **self.options)["x_hat"], height, width)

    def _shape(self, height: int, width: int):
        """What ``decompress`` of the model wants to know of the size."""
        y, z = ((height // stride, width // stride) for stride in (16, 64))
        if not self.hyperprior:
            return y
        if not hasattr(self.model, "latent_codec"):
            return z
        coder = context.latent_codec(self.model)
        if groups := getattr(coder, "groups", None):
            return {"y": [(channels, *y) for channels in groups], "hyper": z}
        return {"y": (coder.context_prediction.in_channels, *y), "hyper": z}

    def _tensor(self, image: np.ndarray) -> Tensor:
        if image.shape[2] != 3:
            raise InputError(f"an image of {image.shape[2]} channels; this codec takes RGB")
        height, width = image.shape[:2]
        x = torch.tensor(image, device=self.device).permute(2, 0, 1)[None].float() / 255
        return F.pad(x, (0, _padded(width) - width, 0, _padded(height) - height), "replicate")


def _padded(side: int) -> int:
    return -(-side // 64) * 64


def _bits(likelihoods: Tensor) -> float:
    return -likelihoods.double().log2().sum().item()


def _image(x_hat: Tensor, height: int, width: int) -> np.ndarray:
    x_hat = x_hat[0, :, :height, :width].clamp(0, 1).mul(255).round().byte()
    return x_hat.permute(1, 2, 0).cpu().numpy()


def factorized_moments(bottleneck) -> tuple[Tensor, Tensor]:
    """Mean and scale of the Gaussian that stands for a learned density in each channel.

    The mean is the median, on which the rounding grid lies; the variance is the second moment of
    the learned density about it, by summation over a grid of 4096 cells between its outermost
    quantiles.

    Returns
    -------
    mean, scale : Tensor of shape (1, channel, 1, 1)
    """
    low, median, high = bottleneck.quantiles.detach().unbind(2)  # each (channel, 1)
    grid = low + (high - low) * torch.linspace(0, 1, 4097, device=low.device)
    cumulative = bottleneck._logits_cumulative(grid[:, None], stop_gradient=True).sigmoid()[:, 0]
    mass = cumulative.diff()
    centre = (grid[:, 1:] + grid[:, :-1]) / 2 - median
    scale = ((mass * centre.square()).sum(1) / mass.sum(1)).sqrt()
    return median[None, :, :, None], scale[None, :, None, None]


def from_checkpoint(
    quality: int,
    architecture: str,
    checkpoint: str | None = None,
    device: str = "auto",
    pretrained: bool = False,
    metric: str = "mse",
):
    """A codec of CompressAI from a file of weights, or from its zoo.

    Parameters
    ----------
    quality : int
        The quality this codec stands for; fills ``{quality}`` in ``checkpoint``. Of a variable-rate
        model (``-vbr``) the stage, from 1.
    architecture : str
        One of :data:`rdpipe.codecs.compressai.checkpoint.ARCHITECTURES`.
    checkpoint : str, optional
        ``.pth.tar``, ``.pt`` or ``.safetensors``; a state dict, or a dict that holds one as
        ``state_dict``; the dimensions are read off it. Loaded with ``weights_only``: no code in it is
        executed.
    device : str
        "cpu", "cuda" or "auto".
    pretrained : bool
        Instead: the weights of CompressAI's zoo, downloaded once.
    metric : str
        What pretrained weights were trained for, "mse" or "ms-ssim".
    """
    if pretrained == (checkpoint is not None):
        raise InputError(f"{architecture}: give either a checkpoint or pretrained: true")
    if pretrained:
        file = fetch(architecture, quality, metric)
    else:
        file = Path(weights_of(checkpoint, quality))
    model = load_model(architecture, read_state(file), str(file))
    if architecture.endswith("-vbr"):
        from rdpipe.codecs.compressai.variable_rate import VariableRate

        return VariableRate(model, quality, device)
    return CompressAI(model, device)


def from_gained(quality: int, checkpoint: str, device: str = "auto"):
    """One rate of a variable-rate network that ``train_codec`` wrote; qualities count from 1."""
    checkpoint = weights_of(checkpoint, quality)
    state = read_state(Path(checkpoint))
    if not 1 <= quality <= len(state.get("log_gain", ())):
        raise InputError(
            f"{checkpoint}: no quality {quality}; it has 1 to {len(state.get('log_gain', ()))}"
        )
    model = load_model(architecture_of(state), fold(state, quality - 1), checkpoint)
    return CompressAI(model, device)


def embedded(name: str) -> Callable:
    """The factory of a network whose weights are in the package."""

    def codec(quality: int, device: str = "auto"):
        return from_gained(quality, str(EMBEDDED / f"{name}.safetensors"), device)

    return codec


mini_factorized = embedded("mini-factorized")
mini_scale = embedded("mini-scale")
mini_mean_scale = embedded("mini-mean-scale")
mini_context = embedded("mini-context")
joint_upper = embedded("joint-upper")

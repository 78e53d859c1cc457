"""Adapter to CompressAI's models with a factorized prior, a hyperprior or a checkerboard context."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from rdpipe._torchvision import declare_missing_operators
from rdpipe.codecs.checkerboard import CheckerboardHyperprior, scales_and_means, two_passes
from rdpipe.codecs.protocol import Analysis
from rdpipe.errors import InputError
from rdpipe.latents import Latents
from rdpipe.plugins import nearest
from rdpipe.random import generator

declare_missing_operators()

from compressai.models import CompressionModel  # noqa: E402
from compressai.zoo.image import model_architectures  # noqa: E402
from compressai.zoo.pretrained import load_pretrained  # noqa: E402

ARCHITECTURES = {
    **{
        name: model_architectures[name]
        for name in ("bmshj2018-factorized", "bmshj2018-hyperprior", "mbt2018-mean")
    },
    "mbt2018-checkerboard": CheckerboardHyperprior,
}
WEIGHTS = Path(__file__).parent / "weights"


class CompressAI:
    """One of CompressAI's codecs behind :class:`rdpipe.codecs.protocol.Codec`.

    Images are padded at the right and the bottom by repeating the border, to multiples of 64, and
    cut again after synthesis. The bitstream is height, width and CompressAI's strings, each but the
    last after its length; these numbers take 4 bytes each.

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
        model.update(force=True)
        self.model = model.eval().to(self.device)
        self.hyperprior = hasattr(model, "h_s")
        self.has_mean = isinstance(model, model_architectures["mbt2018-mean"])
        self.has_context = isinstance(model, CheckerboardHyperprior)

    @torch.inference_mode()
    def analyse(self, name: str, image: np.ndarray) -> Analysis:
        y, hyper = self.model.g_a(self._tensor(image)), None
        if self.hyperprior:
            z_hat, z_likelihoods = self.model.entropy_bottleneck(self._hyper_latents(y))
            side = self.model.h_s(z_hat)
            scale, mean = self._parameters(side)
            if self.has_context:
                hyper = mean
                scale, mean = two_passes(
                    self.model, side, lambda _, mean: (y - mean).round() + mean
                )
            _, likelihoods = self.model.gaussian_conditional(y, scale, means=mean)
            scale = self.model.gaussian_conditional.lower_bound_scale(scale)  # as the coder does
            side_bits = _bits(z_likelihoods)
        else:
            _, likelihoods = self.model.entropy_bottleneck(y)
            (mean, scale), side_bits = factorized_moments(self.model.entropy_bottleneck), 0.0
        y, mean, scale = torch.broadcast_tensors(y, mean, scale)
        gain = self._gain(name, y, mean, *image.shape[:2])
        hyper = None if hyper is None else hyper[0]
        latents = Latents(name, y[0], mean[0], scale[0], hyper, gain)
        return Analysis(latents, _bits(likelihoods), side_bits)

    def _gain(self, name: str, y: Tensor, mean: Tensor, height: int, width: int) -> Tensor:
        """Squared change of the image for a unit change of a latent, averaged over each channel.

        E (J^T n)_i^2 = sum_j J_ji^2 for white noise n over the image: one backward pass (M. F.
        Hutchinson, 1990), exact in the mean; the average over positions makes it sharp.
        """
        noise = torch.randn((1, 3, height, width), generator=generator(0, name)).to(self.device)
        with torch.inference_mode(False), torch.enable_grad():
            y_hat = ((y - mean).round() + mean).clone().requires_grad_()
            x_hat = self.model.g_s(y_hat)[..., :height, :width]
            (gradient,) = torch.autograd.grad(x_hat, y_hat, noise)
        return gradient.square().mean((0, 2, 3))

    def _hyper_latents(self, y: Tensor) -> Tensor:
        return self.model.h_a(y if self.has_mean else y.abs())

    def _parameters(self, side: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and mean, from what the hyper-latents say alone."""
        if self.has_context:
            return scales_and_means(self.model, side)
        return side.chunk(2, 1) if self.has_mean else (side, torch.zeros_like(side))

    @torch.inference_mode()
    def side(self, image: np.ndarray) -> bytes:
        if not self.hyperprior:
            return b""
        z = self._hyper_latents(self.model.g_a(self._tensor(image)))
        return self.model.entropy_bottleneck.compress(z)[0]

    @torch.inference_mode()
    def predict(self, side: bytes, height: int, width: int) -> tuple[Tensor, Tensor]:
        if self.hyperprior:
            shape = [_padded(length) // 64 for length in (height, width)]
            z_hat = self.model.entropy_bottleneck.decompress([side], shape)
            scale, mean = self._parameters(self.model.h_s(z_hat))
            scale = self.model.gaussian_conditional.lower_bound_scale(scale)
        else:
            mean, scale = factorized_moments(self.model.entropy_bottleneck)
            shape = mean.shape[1], _padded(height) // 16, _padded(width) // 16
            mean, scale = mean.expand(1, *shape), scale.expand(1, *shape)
        return mean[0], scale[0]

    @torch.inference_mode()
    def synthesise(self, y_hat: Tensor, height: int, width: int) -> np.ndarray:
        x_hat = self.model.g_s(y_hat[None].to(self.device, torch.float32))
        return _image(x_hat, height, width)

    @torch.inference_mode()
    def compress(self, image: np.ndarray) -> bytes:
        strings = [string[0] for string in self.model.compress(self._tensor(image))["strings"]]
        numbers = *image.shape[:2], *map(len, strings[:-1])
        return struct.pack(f">{len(numbers)}I", *numbers) + b"".join(strings)

    @torch.inference_mode()
    def decompress(self, stream: bytes) -> np.ndarray:
        numbers = 2 + self.hyperprior + self.has_context
        height, width, *lengths = struct.unpack_from(f">{numbers}I", stream)
        ends = np.cumsum([4 * numbers, *lengths])
        strings = [[stream[start:end]] for start, end in zip(ends, [*ends[1:], None])]
        stride = 64 if self.hyperprior else 16  # of what `shape` below counts
        shape = torch.Size(_padded(side) // stride for side in (height, width))
        return _image(self.model.decompress(strings, shape)["x_hat"], height, width)

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


def from_checkpoint(quality: int, architecture: str, checkpoint: str, device: str = "auto"):
    """A codec from a file of weights.

    Parameters
    ----------
    quality : int
        The quality this codec stands for; fills ``{quality}`` in ``checkpoint``.
    architecture : str
        One of ``ARCHITECTURES``.
    checkpoint : str
        ``.pth.tar``, ``.pt`` or ``.safetensors``; a state dict, or a dict that holds one as
        ``state_dict``. Loaded with ``weights_only``: no code in it is executed.
    device : str
        "cpu", "cuda" or "auto".
    """
    file = Path(checkpoint.format(quality=quality))
    return CompressAI(load_model(architecture, read_state(file), str(file)), device)


def from_gained(quality: int, checkpoint: str, device: str = "auto"):
    """One rate of a variable-rate network that ``train_codec`` wrote; qualities count from 1."""
    state = read_state(Path(checkpoint))
    if not 1 <= quality <= len(state.get("log_gain", ())):
        raise InputError(
            f"{checkpoint}: no quality {quality}; it has 1 to {len(state.get('log_gain', ()))}"
        )
    model = load_model(architecture_of(state), fold(state, quality - 1), checkpoint)
    return CompressAI(model, device)


def fold(state: dict[str, Tensor], rate: int) -> dict[str, Tensor]:
    """Fold the gains of one rate into the neighbouring convolutions.

    Parameters
    ----------
    state : dict of Tensor
        State dict of a :class:`rdpipe.codecs.trainable.Gained`.
    rate : int
        Which of its rates.

    Returns
    -------
    dict of Tensor
        State dict of an equivalent plain model, in float32.

    Raises
    ------
    IndexError
        If the network has no such rate.
    """
    rates = len(state["log_gain"])
    if not 0 <= rate < rates:
        raise IndexError(f"no rate {rate}: the network has rates 0 to {rates - 1}")
    folded = {name: value.float() for name, value in state.items()}
    gain = folded.pop("log_gain")[rate].exp()
    inverse_gain = folded.pop("log_inverse_gain")[rate].exp()
    folded["g_a.6.weight"] = folded["g_a.6.weight"] * gain[:, None, None, None]
    folded["g_a.6.bias"] = folded["g_a.6.bias"] * gain
    # transposed convolutions keep their input channels first
    folded["g_s.0.weight"] = folded["g_s.0.weight"] * inverse_gain[:, None, None, None]
    return folded


def architecture_of(state: dict[str, Tensor]) -> str:
    """Which of ``ARCHITECTURES`` some weights are of."""
    if "h_s.4.weight" not in state:
        return "bmshj2018-factorized"
    if "context_prediction.weight" in state:
        return "mbt2018-checkerboard"
    predicted = len(state["h_s.4.weight"]) // len(state["g_a.6.weight"])  # for each latent
    return "mbt2018-mean" if predicted == 2 else "bmshj2018-hyperprior"


def embedded(name: str):
    """The factory of a network whose weights are in the package."""

    def codec(quality: int, device: str = "auto"):
        return from_gained(quality, str(WEIGHTS / f"{name}.safetensors"), device)

    return codec


mini_mean_scale = embedded("mini-mean-scale")


def read_state(file: Path) -> dict[str, Tensor]:
    """State dict in a checkpoint, on the CPU.

    Raises
    ------
    InputError
        If the file cannot be read, is no state dict, or holds values that are not finite.
    """
    try:
        if file.suffix == ".safetensors":
            state = safetensors.torch.load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file makes torch raise
        raise InputError(f"{file}: cannot read this checkpoint: {_first_line(error)}") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not (isinstance(state, dict) and state and all(map(torch.is_tensor, state.values()))):
        raise InputError(f"{file}: holds no state dict (names of parameters and their tensors)")
    for name, value in state.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise InputError(f"{file}: {name} holds values that are not finite")
    return state


def load_model(architecture: str, state: dict[str, Tensor], source: str) -> CompressionModel:
    """A model of the size that the weights have.

    Raises
    ------
    InputError
        If the architecture is unknown or the weights do not fit it.
    """
    if architecture not in ARCHITECTURES:
        raise InputError(
            f"unknown architecture {architecture!r}; {nearest(architecture, ARCHITECTURES)}"
        )
    state = load_pretrained(state)
    try:
        N, M = (len(state[f"g_a.{layer}.weight"]) for layer in (0, 6))
        model = ARCHITECTURES[architecture](N, M)
        state, wanted = _renamed(state), dict(model.named_parameters())
        if missing := wanted.keys() - state.keys():
            raise RuntimeError(f"they lack {', '.join(sorted(missing)[:3])}")
        # the coder's tables are made anew; anything else is of another architecture
        if unknown := state.keys() - model.state_dict().keys():
            raise RuntimeError(f"they have {', '.join(sorted(unknown)[:3])} too")
        state = {name: state[name].float() for name in wanted}
        torch.nn.Module.load_state_dict(model, state, strict=False)
    except (KeyError, RuntimeError, IndexError) as error:
        message = f"{source}: these weights do not fit {architecture}: {_first_line(error)}"
        raise InputError(message) from error
    return model


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters of the entropy bottleneck under the names CompressAI has had since 1.2.7."""
    from compressai.models.utils import remap_old_keys

    return remap_old_keys("entropy_bottleneck", state)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] or type(error).__name__

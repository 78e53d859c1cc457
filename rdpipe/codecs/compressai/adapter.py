"""Codecs that wrap CompressAI's models."""

from __future__ import annotations

import copy
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import numpy as np
import torch
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from compressai.latent_codecs import ChannelGroupsLatentCodec
from compressai.models import CompressionModel, MeanScaleHyperprior, ScaleHyperprior
from compressai.models.vbr import ScaleHyperpriorVbr
from torch import Tensor, nn

from rdpipe.codecs.bottleneck import (
    LEAST_LIKELIHOOD,
    bottleneck_moments,
    bottleneck_prior,
)
from rdpipe.codecs.compressai import card_coder, decoding_order
from rdpipe.codecs.compressai.decoding_order import has_child, has_latent_codecs, latent_codec
from rdpipe.codecs.compressai.private_copy import (
    copy_without_hooks,
    named_weights,
    same_weights,
)
from rdpipe.core.device import available_device
from rdpipe.core.errors import InputError
from rdpipe.core.protocols import Image, Region, Send, SendWithContext
from rdpipe.core.running import padded_size, to_image, to_tensor
from rdpipe.entropy.priors import Gaussian, Learned

HEADER = struct.Struct(">IIB")
"""Height, width and number of strings.

The length of each string but the last follows, 4 bytes each.
"""
PARTS = {"g_a": "encoder", "h_a": "encoder", "g_s": "decoder"}
"""What the modules of a model belong to; all others are part of the prior."""
STRIDE = 16
"""Distance of neighboring latents in the image, pixels; of hyper-latents it is four times that."""


class CachedTransform(nn.Module):
    """A transform that keeps the output for its last input.

    Analysis, encoder and decoder of one image predict from the same tensors. Inputs are compared
    number by number: what a decoder reads from a bitstream may differ.
    """

    def __init__(self, transform: nn.Module):
        super().__init__()
        self.transform = transform
        self._last: tuple[Tensor, Tensor] | None = None
        self.train(transform.training)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the transform, in contiguous memory."""
        if x.requires_grad or self.training:
            differentiable: Tensor = self.transform(x)
            return differentiable.contiguous()
        if self._last is not None:
            last_input, last_output = self._last
            if last_input.shape == x.shape and torch.equal(last_input, x):
                return last_output.clone()
        output: Tensor = self.transform(x).contiguous()
        self._last = x.detach().clone(), output.detach().clone()
        return output

    def forget(self) -> None:
        """Drop the output, because weights have changed."""
        self._last = None

    def train(self, mode: bool = True) -> Self:
        """Set the mode; weights change between modes."""
        self.forget()
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_last": None}


class CompressAICodec:
    """A codec that wraps a CompressAI model.

    Latents are in units of the quantization step.

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
    device : torch.device
    multiple : int
        Multiple to which the sides of images are extended, pixels.

    Raises
    ------
    InputError
        If the model is not an image codec of CompressAI, its weights are not float32, another class
        supports it, or the device is not available.
    """

    multiple = 64
    _gain: Tensor | None = None
    """Inverse of the quantization step; None if it is 1."""
    _z_step: Tensor | float = 1.0
    """Quantization step of the hyper-latents."""
    _options: Mapping[str, Any] = {}
    """Further arguments of the model's ``compress``, ``decompress`` and ``forward``."""

    def __init__(self, model: CompressionModel, device: str = "auto", copy: bool = True):
        self.device = available_device(device)
        self._source = model if copy else None
        self._lock = threading.RLock()
        self._in_call = False
        self._adapt(model)

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "_lock"}
        return state | {"_precise": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()

    def _adapt(self, model: CompressionModel) -> None:
        """Use the caller's model, or a copy of it."""
        check_model(model)
        self._precise: tuple[dict[str, Tensor], Self] | None = None
        if isinstance(model, ScaleHyperpriorVbr) and not self._options:
            raise InputError(
                f"{type(model).__name__} has a variable rate, which {type(self).__name__} does not"
                " support; use rdpipe.codecs.compressai.adapt_model"
            )
        if self._source is not None:
            self._structure = repr(model)
            model = copy_without_hooks(model)
        self._use_model(model)

    def _use_model(self, model: CompressionModel) -> None:
        """Prepare a model that belongs to this codec alone."""
        self.model = model.eval().requires_grad_(False).to(self.device)
        self._weights = named_weights(self.model)
        self._compute_tables()
        if self.device.type == "cpu":  # convolutions are faster with channels last
            self.model.to(memory_format=torch.channels_last)
        inner = _inner(model)
        self.has_hyperprior = has_child(inner, "h_s")
        self.takes_magnitude = isinstance(model, ScaleHyperprior) and not isinstance(
            model, MeanScaleHyperprior
        )
        model.g_a = CachedTransform(model.g_a)
        if self.has_hyperprior:
            inner.h_s = CachedTransform(inner.get_submodule("h_s"))
            self._least_scale = _conditionals(model)[0].lower_bound_scale.bound.item()
        self._use_predictors(model)

    def _use_predictors(self, model: CompressionModel) -> None:
        """Use a model for the prediction of means and scales."""
        self._copy_on_host: tuple[dict[str, Tensor], CompressionModel] | None = None
        inner = _inner(model)
        self._density: EntropyBottleneck = inner.entropy_bottleneck
        self._moments = bottleneck_moments(self._density)
        if self.has_hyperprior:
            self._h_s = inner.get_submodule("h_s")
            self._decode_latents = decoding_order.decoder(model)

    def to_float64(self) -> Self:
        """Return a codec of the present model that predicts means and scales in float64.

        It does not follow the caller's model, so that a bitstream has one set of weights.
        """
        with self._current():
            weights = named_weights(self.model)
            if self._precise is None or not same_weights(self._precise[0], weights):
                precise = copy.copy(self)
                precise._lock, precise._source = self._lock, None
                precise._use_predictors(copy.deepcopy(self.model).double())
                self._precise = {name: w.clone() for name, w in weights.items()}, precise
            return self._precise[1]

    @contextmanager
    def _current(self) -> Iterator[None]:
        """Compute with the present weights of the caller's model.

        Threads wait for each other, so that no call sees a model that another one replaces.
        """
        with self._lock:
            outermost = not self._in_call  # one call of a method may call others
            if outermost and self._source is not None and not self._is_current(self._source):
                with torch.inference_mode(False), torch.no_grad():
                    self._adapt(self._source)
            self._in_call = True
            try:
                yield
            finally:
                self._in_call = not outermost

    def _is_current(self, source: CompressionModel) -> bool:
        """Return whether the copy has the structure and the weights of the caller's model."""
        same_structure = repr(source) == self._structure
        return same_structure and same_weights(self._weights, named_weights(source))

    @torch.no_grad()
    def _compute_tables(self) -> None:
        """Compute the tables of the entropy coder, with the scale tables that there are."""
        conditionals = _conditionals(self.model)
        scale_tables = [conditional.scale_table for conditional in conditionals]
        self._update_tables()
        for conditional, table in zip(conditionals, scale_tables, strict=True):
            if table.numel() and not torch.equal(table, conditional.scale_table):
                conditional.update_scale_table(table.tolist(), force=True)
        if self.device.type != "cpu":
            card_coder.keep_tables_on_host(self.model)

    def _update_tables(self) -> None:
        """Compute the tables of the entropy coder, with the model's default scale tables."""
        self.model.update(force=True)

    def code(self, image: Tensor | None, size: tuple[int, int], send: Send) -> Callable[[], Tensor]:
        """Code an image; see :meth:`rdpipe.core.protocols.Codec.code`."""
        with self._current():
            if image is not None and image.shape[1] != 3:
                raise InputError(f"the image has {image.shape[1]} channels; expected 3 (RGB)")
            if self.model.training:  # what it derives from the weights needs gradients
                self._use_predictors(self.model)
            y = None if image is None else self.model.g_a(image)
            if self.has_hyperprior:
                y_hat = self._code_hyperprior(y, size, send)
            else:
                prior = self._learned_prior(size, STRIDE)
                y_hat = send("y", prior, y)
            return lambda: self._synthesize(y_hat)

    def _synthesize(self, y_hat: Tensor) -> Tensor:
        with self._current():
            x_hat: Tensor = self.model.g_s(y_hat.float())
            return x_hat.contiguous()

    def _code_hyperprior(self, y: Tensor | None, size: tuple[int, int], send: Send) -> Tensor:
        h_a = _inner(self.model).get_submodule("h_a")
        z = None if y is None else h_a(y.abs() if self.takes_magnitude else y)
        prior = self._learned_prior(size, 4 * STRIDE)
        z_hat = send("z", prior, z, step=self._z_step, side=True)
        if y is not None and self._gain is not None:
            y = y * self._gain

        def send_latents(mean: Tensor, scale: Tensor, at: Tensor | Region | None = None) -> Tensor:
            prior = self._prior(mean, scale)
            part = y[:, *at] if isinstance(at, tuple) and y is not None else y
            return self._correct(send("y", prior, part, at=at), prior)

        return self._decode_latents(self._h_s(z_hat), send_latents)

    def code_parallel(self, size: tuple[int, int], send: SendWithContext) -> Tensor:
        """Return the decoded image; see :class:`rdpipe.core.protocols.SupportsParallel`.

        Raises
        ------
        InputError
            If the model does not decode in raster scan: its ``code`` is as fast.
        """
        with self._current():
            decode = self._decode_latents
            if not isinstance(decode, decoding_order.RasterScan):
                name = type(self.model).__name__
                raise InputError(f"{name} does not decode in raster scan; use code")
            z_hat = send("z", self._learned_prior(size, 4 * STRIDE), step=self._z_step, side=True)
            side, latest = self._h_s(z_hat), list[Gaussian]()

            def predict(y_hat: Tensor) -> Gaussian:
                in_model = y_hat if self._gain is None else y_hat / self._gain
                latest[:] = [self._prior(*decode.predict(side, in_model))]
                return latest[0]

            y_hat = send.send_with_context("y", predict)
            return self._synthesize(self._correct(y_hat, latest[0]))

    def _prior(self, mean: Tensor, scale: Tensor) -> Gaussian:
        """Return the prior of elements of y, in units of the quantization step."""
        if self._gain is not None:
            mean, scale = mean * self._gain, scale * self._gain
        return Gaussian(mean, scale.clamp(min=self._least_scale), LEAST_LIKELIHOOD)

    def _learned_prior(self, size: tuple[int, int], stride: int) -> Learned:
        """Return the density of the entropy bottleneck for elements at some distance."""
        shape = (1, -1, size[0] // stride, size[1] // stride)
        return bottleneck_prior(self._density, shape, self._moments)

    def _correct(self, y_hat: Tensor, prior: Gaussian) -> Tensor:
        """Return what the model's decoder uses instead of y_hat."""
        return y_hat

    @property
    def network(self) -> nn.Module:
        """The model; see :class:`rdpipe.core.protocols.SupportsTraining`.

        Whoever has it may change it, so the codec does not follow the caller's model any more.
        """
        self._source = None
        return self.model

    def part_of(self, weight: str) -> str | None:
        """Return the part of a parameter; the quantiles of the density are solved for."""
        name = weight.removeprefix("latent_codec.hyper.")
        if name == "entropy_bottleneck.quantiles":
            return None
        return PARTS.get(name.partition(".")[0], "prior")

    @torch.no_grad()
    def checkpoint(self) -> dict[str, Tensor]:
        """Return weights and tables of the coder, as CompressAI's ``from_state_dict`` reads them.

        The quantiles of a density that was trained are solved for.
        """
        if any(weight.requires_grad for weight in self._density.parameters()):
            self._density.update(force=True, update_quantiles=True)
        if self._source is None:  # `network` may have been changed
            self._use_weights()
        state = self.model.state_dict()
        return {name.replace(".transform.", "."): value.clone() for name, value in state.items()}

    @torch.no_grad()
    def load_checkpoint(self, weights: Mapping[str, Tensor]) -> None:
        """Replace the weights; the codec does not follow the caller's model any more.

        Raises
        ------
        InputError
            If a weight is missing, or has another shape.
        """
        for name, weight in self.network.named_parameters():
            short = name.replace(".transform.", ".")
            if short not in weights or weights[short].shape != weight.shape:
                raise InputError(
                    f"{short} of shape {tuple(weight.shape)} is not among the weights; expected a"
                    f" checkpoint of this {type(self.model).__name__}"
                )
            weight.copy_(weights[short])
        self._use_weights()

    def _use_weights(self) -> None:
        """Compute what depends on the weights, which have changed."""
        for module in self.model.modules():
            if isinstance(module, CachedTransform):
                module.forget()
        self._compute_tables()
        self._use_predictors(self.model)

    @contextmanager
    def _coder_model(self) -> Iterator[CompressionModel]:
        """Give the model whose coder and forward pass are CompressAI's."""
        raster_scan = self.has_hyperprior and isinstance(
            self._decode_latents, decoding_order.RasterScan
        )
        with self._current():
            if self.device.type == "cpu":
                yield self.model
            elif raster_scan:
                yield self._on_host()
            else:
                with card_coder.deferred(self.model):
                    yield self.model

    def _on_host(self) -> CompressionModel:
        """Return a copy of the present model on the CPU, with the transforms on the card."""
        weights = named_weights(self.model)
        if self._copy_on_host is None or not same_weights(self._copy_on_host[0], weights):
            copies = {name: weight.clone() for name, weight in weights.items()}
            self._copy_on_host = copies, card_coder.on_host(self.model, self.device)
        return self._copy_on_host[1]

    def forward(self, image: Tensor) -> Tensor:
        """Return the decoded image according to the model's forward pass."""
        with self._coder_model() as model:
            x_hat: Tensor = model(image, **self._options)["x_hat"]
            return x_hat

    def forward_bits(self, image: Tensor) -> float | None:
        """Return the bits of the model's forward pass, if it has a context model."""
        with self._coder_model() as model:
            if not decoding_order.has_context(self.model):
                return None
            with _constant(model.g_s, image):  # the decoded image is not needed
                likelihoods = model(image, **self._options)["likelihoods"]
            bits = torch.stack([-x.double().log2().sum() for x in likelihoods.values()])
            return sum(bits.tolist())

    def compress(self, image: Image) -> bytes:
        """Return the bitstream of CompressAI's coder, with a header."""
        with self._coder_model() as model, torch.inference_mode():
            output = model.compress(to_tensor(self, image), **self._options)
            strings = card_coder.to_bytes([string[0] for string in output["strings"]])
        lengths = struct.pack(f">{len(strings) - 1}I", *map(len, strings[:-1]))
        return HEADER.pack(*image.shape[:2], len(strings)) + lengths + b"".join(strings)

    def compress_latents(self, image: Image, latents: Mapping[str, Tensor]) -> bytes:
        """Return the bitstream for given latents instead of those of the image.

        It is the model's own format, which ``decompress`` reads.

        Parameters
        ----------
        image : array
            Its size is used.
        latents : mapping of str to Tensor of shape (1, channel, row, column)
            The elements that ``code`` sends.
        """
        y = latents["y"].to(self.device)
        with self._current(), ExitStack() as stack:
            y = y if self._gain is None else y / self._gain
            stack.enter_context(_constant(self.model.g_a, y))
            if self.has_hyperprior:
                z = latents["z"].to(self.device)
                stack.enter_context(_constant(_inner(self.model).get_submodule("h_a"), z))
            return self.compress(image)

    def decompress(self, stream: bytes) -> Image:
        """Return the decoded image."""
        height, width, count = HEADER.unpack_from(stream)
        lengths = struct.unpack_from(f">{count - 1}I", stream, HEADER.size)
        ends = np.cumsum([HEADER.size + 4 * len(lengths), *lengths]).tolist()
        pieces = zip(ends, [*ends[1:], None], strict=True)
        strings = [[stream[start:end]] for start, end in pieces]
        with self._coder_model() as model, torch.inference_mode():
            shape = self._shape(*padded_size(self, height, width))
            output = model.decompress(strings, shape, **self._options)
            return to_image(output["x_hat"], height, width)

    def _shape(self, height: int, width: int) -> Any:
        """Return the shape of the latents as ``decompress`` of the model expects it."""
        y, z = ((height // stride, width // stride) for stride in (STRIDE, 4 * STRIDE))
        if not self.has_hyperprior:
            return y
        if not has_latent_codecs(self.model):
            return z
        coder = latent_codec(self.model)
        if isinstance(coder, ChannelGroupsLatentCodec):
            return {"y": [(channels, *y) for channels in coder.groups], "hyper": z}
        assert coder is not None
        return {"y": (coder.context_prediction.in_channels, *y), "hyper": z}


@contextmanager
def _constant(transform: nn.Module, output: Tensor) -> Iterator[None]:
    """Let a transform return a given output in the block."""
    attributes = vars(transform)
    before = {name: attributes[name] for name in {"forward"} & attributes.keys()}
    attributes["forward"] = lambda x: output  # precedes the method of the class
    try:
        yield
    finally:
        del attributes["forward"]
        attributes.update(before)


def _conditionals(model: nn.Module) -> list[GaussianConditional]:
    return [module for module in model.modules() if isinstance(module, GaussianConditional)]


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
    if not (has_child(model, "g_a") and has_child(model, "g_s")):
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


def _inner(model: CompressionModel) -> nn.Module:
    """Return the module that holds the entropy bottleneck and the hyper-synthesis."""
    inner: nn.Module = model.latent_codec["hyper"] if has_latent_codecs(model) else model
    return inner

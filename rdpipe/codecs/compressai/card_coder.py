"""CompressAI's entropy coder for a model on a card, without a wait of the host for each part.

.. code-block:: none

    encoder       symbols of a part --> PendingString --> next part ... --> one copy, bytes
    decoder       bytes, numbers of the tables (a copy to the host for each part) --> symbols
    raster scan   image --> g_a, h_a (card) --> all else on the host --> g_s (card) --> image

CompressAI copies symbols to the host for each part, and decodes what it has just written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import torch
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from compressai.entropy_models.entropy_models import EntropyModel
from compressai.models import CompressionModel
from torch import Tensor, nn

from rdpipe.codecs.compressai.private_copy import TABLES
from rdpipe.core.assembly import to_host
from rdpipe.core.running import copy_to


@dataclass(frozen=True, eq=False)
class PendingString:
    """A string of an encoder before its symbols are copied to the host.

    Parameters
    ----------
    model : EntropyModel
        Has the tables.
    symbols, indexes : Tensor of shape (channel, row, column)
        Symbols, and which table each has.
    """

    model: EntropyModel
    symbols: Tensor
    indexes: Tensor


def to_bytes(strings: Sequence[bytes | PendingString]) -> list[bytes]:
    """Return the strings of an image, with one copy to the host."""
    pending = [string for string in strings if isinstance(string, PendingString)]
    arrays = iter(to_host([*chain(*((string.symbols, string.indexes) for string in pending))]))
    return [
        _encode(string.model, next(arrays), next(arrays))
        if isinstance(string, PendingString)
        else string
        for string in strings
    ]


def keep_tables_on_host(model: nn.Module) -> None:
    """Move the tables of the coder, which CompressAI reads at every call, to the CPU."""
    for module in model.modules():
        for name, table in module.named_buffers(recurse=False):
            if name in TABLES:
                setattr(module, name, table.cpu())


@contextmanager
def deferred(model: CompressionModel) -> Iterator[None]:
    """Replace the methods of the entropy models of a model on a card in the block.

    Their results are those of CompressAI, but strings are deferred until :func:`to_bytes`. Nothing
    is replaced if code that is not CompressAI's or rdpipe's could see them.

    Parameters
    ----------
    model : CompressionModel
        A model that no other thread uses.
    """
    replaced = _replacements(model)
    for module, name, method in replaced:
        setattr(module, name, method)
    try:
        yield
    finally:
        for module, name, _ in replaced:
            delattr(module, name)


def _replacements(model: CompressionModel) -> list[tuple[nn.Module, str, Callable[..., Any]]]:
    """Return the modules whose methods are replaced, with the names and the new methods."""
    coders = {type(module) for module in model.modules() if hasattr(module, "compress")}
    if any(coder.__module__.partition(".")[0] not in KNOWN for coder in coders):
        return []
    return [
        (module, name, partial(method, module))
        for module in model.modules()
        for kind, methods in METHODS.items()
        if all(getattr(type(module), name, None) is getattr(kind, name) for name in methods)
        for name, method in methods.items()
    ]


def on_host(model: CompressionModel, device: torch.device) -> CompressionModel:
    """Return a copy of a model on the CPU, whose transforms of images are those of the model.

    A raster scan needs every decoded position on the host before the next one.

    Parameters
    ----------
    model : CompressionModel
        On a card.
    device : torch.device
        The card.
    """
    memo: dict[int, Any] = {
        id(model.g_a): TransformOnDevice(model.g_a.__call__, device, "cpu"),
        id(model.h_a): TransformOnDevice(model.h_a.__call__, device, "cpu"),
        id(model.g_s): TransformOnDevice(model.g_s.__call__, device, device),
    }
    with torch.inference_mode(False), torch.no_grad():  # gradients of the copy may be needed later
        return deepcopy(model, memo).cpu()


class TransformOnDevice(nn.Module):
    """A transform on another device than the model, which does not have its weights.

    Parameters
    ----------
    transform : callable
        Not a module, whose weights would become those of the model.
    device, result : device
        Where the transform is, and where its output is needed.
    """

    def __init__(
        self,
        transform: Callable[[Tensor], Tensor],
        device: torch.device,
        result: torch.device | str,
    ):
        super().__init__()
        self._transform, self._device, self._result = transform, device, result

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the transform."""
        return self._transform(copy_to(x, self._device)).to(self._result)


def compress(
    model: EntropyModel, inputs: Tensor, indexes: Tensor, means: Tensor | None = None
) -> list[PendingString]:
    """Return what becomes a string of each image; see ``EntropyModel.compress``."""
    symbols = model.quantize(inputs, "symbols", means)
    return [PendingString(model, *pair) for pair in zip(symbols, indexes, strict=True)]


def decompress(
    model: EntropyModel,
    strings: Sequence[bytes | PendingString],
    indexes: Tensor,
    dtype: torch.dtype = torch.float,
    means: Tensor | None = None,
) -> Tensor:
    """Return the elements of some strings; see ``EntropyModel.decompress``."""
    device = (indexes if means is None else means).device
    symbols = [
        string.symbols
        if isinstance(string, PendingString)
        else _decode(model, string, index, device)
        for string, index in zip(strings, indexes, strict=True)
    ]
    elements: Tensor = model.dequantize(torch.stack(symbols), means, dtype)
    return elements


def compress_channels(model: EntropyBottleneck, x: Tensor) -> list[PendingString]:
    """Return what becomes a string of each image; see ``EntropyBottleneck.compress``."""
    return compress(model, x, model._build_indexes(x.shape), _medians(model, x.shape))


def decompress_channels(
    model: EntropyBottleneck, strings: Sequence[bytes | PendingString], size: Sequence[int]
) -> Tensor:
    """Return the elements of some strings; see ``EntropyBottleneck.decompress``."""
    shape = len(strings), model.channels, *size
    return decompress(model, strings, model._build_indexes(shape), means=_medians(model, shape))


def elements_and_likelihoods(
    model: EntropyBottleneck, x: Tensor, training: bool | None = None
) -> tuple[Tensor, ...]:
    """Return what ``EntropyBottleneck.forward`` returns, which permutes dimensions by a tensor."""
    noise = model.training if training is None else training
    by_channel = x.transpose(0, 1).contiguous()
    values = by_channel.reshape(len(by_channel), 1, -1)
    y_hat = model.quantize(values, "noise" if noise else "dequantize", model._get_medians())
    likelihood, _, _ = model._likelihood(y_hat)
    if model.use_likelihood_bound:
        likelihood = model.likelihood_lower_bound(likelihood)
    results = (result.reshape(by_channel.shape) for result in (y_hat, likelihood))
    return tuple(result.transpose(0, 1).contiguous() for result in results)


METHODS: dict[type, dict[str, Any]] = {
    GaussianConditional: {"compress": compress, "decompress": decompress},
    EntropyBottleneck: {
        "compress": compress_channels,
        "decompress": decompress_channels,
        "forward": elements_and_likelihoods,
    },
}
"""Replacements of the methods of CompressAI, by class; classes with other methods keep theirs."""
KNOWN = ("compressai", "rdpipe")
"""Packages whose code takes strings as they are."""


def _medians(model: EntropyBottleneck, shape: Sequence[int]) -> Tensor:
    """Return the median of each channel, of shape (image, channel, 1, 1)."""
    medians: Tensor = model._get_medians().detach().view(1, -1, 1, 1)
    return medians.expand(shape[0], -1, -1, -1)


def _tables(model: EntropyModel) -> list[Any]:
    return [getattr(model, name).tolist() for name in TABLES]


def _encode(model: EntropyModel, symbols: Tensor, indexes: Tensor) -> bytes:
    numbers = (numbers.flatten().tolist() for numbers in (symbols, indexes))
    string: bytes = model.entropy_coder.encode_with_indexes(*numbers, *_tables(model))
    return string


def _decode(model: EntropyModel, string: bytes, indexes: Tensor, device: torch.device) -> Tensor:
    numbers = indexes.flatten().tolist()
    symbols = model.entropy_coder.decode_with_indexes(string, numbers, *_tables(model))
    return copy_to(torch.tensor(symbols, dtype=torch.int32).view(indexes.shape), device)

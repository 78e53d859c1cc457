"""Codecs that consist of two methods: ``analyse`` and ``synthesise``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from rdpipe.core.errors import InputError
from rdpipe.core.protocols import Image, Send
from rdpipe.core.running import to_image
from rdpipe.entropy.priors import Gaussian


class AnalysesAndSynthesises(Protocol):
    """A codec with one latent, whose mean and scale do not depend on decoded elements of it.

    Latents are in units of the quantization step. They are NumPy arrays or tensors; ``y_hat`` is of
    the same type as ``y``.
    """

    def analyse(self, image: Image) -> tuple[Any, Any, Any]:
        """Return the latent, mean and scale of an image, each of shape (channel, row, column)."""

    def synthesise(self, y_hat: Any, height: int, width: int) -> Image:
        """Return the decoded image, uint8 of shape (height, width, 3)."""


class TwoMethods:
    """The codec of an object with the methods ``analyse`` and ``synthesise``.

    It has no bitstream, since a decoder has no mean and no scale.

    Parameters
    ----------
    codec : AnalysesAndSynthesises
    """

    multiple = 1
    can_decode = False

    def __init__(self, codec: AnalysesAndSynthesises):
        self.codec = codec

    def code(self, image: Tensor | None, size: tuple[int, int], send: Send) -> Callable[[], Tensor]:
        """Code an image; see :meth:`rdpipe.core.protocols.Codec.code`."""
        name = type(self.codec).__name__
        if image is None:
            raise InputError(f"{name} got no image; expected one: its analyse predicts from it")
        arrays = self.codec.analyse(to_image(image, *size))
        y, mean, scale = (torch.as_tensor(array)[None] for array in arrays)
        if y.ndim != 4 or not y.shape == mean.shape == scale.shape:
            shapes = ", ".join(str(tuple(x.shape[1:])) for x in (y, mean, scale))
            raise InputError(
                f"analyse of {name} returned a latent, mean and scale of shapes {shapes}; expected"
                " the same shape (channel, row, column)"
            )
        y_hat = send("y", Gaussian(mean, scale), y)[0]
        is_array = isinstance(arrays[0], np.ndarray)

        def decode() -> Tensor:
            decoded = self.codec.synthesise(y_hat.numpy() if is_array else y_hat, *size)
            return torch.as_tensor(decoded).permute(2, 0, 1)[None] / 255

        return decode

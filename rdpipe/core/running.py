"""Running ``code`` of a codec on images: from pixels to its tensors and back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rdpipe.core.errors import InputError
from rdpipe.core.protocols import (
    Codec,
    HasDevice,
    HasLeast,
    HasMultiple,
    Image,
    StatesDecoding,
)
from rdpipe.core.walk import Walk

MULTIPLE = 64
"""Multiple to which the sides of images are extended, pixels, if the codec does not state it."""
IMAGE_TYPES = (("uint8", 3), ("float32", 1))
"""Type and number of colors of images: photographs, and Gaussian fields."""


def visit(
    codec: Codec, send: Any, image: Image | None = None, size: tuple[int, int] | None = None
) -> Tensor | Callable[[], Tensor]:
    """Run ``code`` of a codec, and return what it returns.

    Parameters
    ----------
    codec : Codec
    send : Send
    image : array, optional
        None at a decoder.
    size : tuple of int, optional
        Height and width of the image, pixels, at a decoder.
    """
    size = _size_of(image, size)
    x = None if image is None else to_tensor(codec, image)
    with torch.enable_grad() if _gradients(send) else torch.no_grad():
        return codec.code(x, padded_size(codec, *size), send)


def run(
    codec: Codec, send: Any, image: Image | None = None, size: tuple[int, int] | None = None
) -> Tensor:
    """Run ``code`` of a codec, and return the decoded image before it is cropped.

    Parameters are those of :func:`visit`.

    Returns
    -------
    Tensor of shape (1, color, height, width)

    Raises
    ------
    InputError
        If it returns something else.
    """
    return evaluate_image(codec, visit(codec, send, image, size), _gradients(send))


def evaluate_image(
    codec: Codec, decoded: Tensor | Callable[[], Tensor], gradients: bool = False
) -> Tensor:
    """Return the decoded image that :func:`visit` returned, which may be a function.

    Parameters
    ----------
    codec : Codec
    decoded : Tensor or callable
    gradients : bool
        Whether to compute with gradients.

    Raises
    ------
    InputError
        If it is something else.
    """
    if callable(decoded):
        with torch.enable_grad() if gradients else torch.no_grad():
            decoded = decoded()
    if isinstance(decoded, Tensor) and decoded.ndim == 4:
        return decoded
    tensor = isinstance(decoded, Tensor)
    what = f"a tensor of shape {tuple(decoded.shape)}" if tensor else f"a {type(decoded).__name__}"
    raise InputError(
        f"code of {type(codec).__name__} returned {what}; expected a tensor of shape"
        " (1, 3, height, width), the decoded image"
    )


def _gradients(send: object) -> bool:
    """Return whether a walk needs the gradient of the image."""
    return isinstance(send, Walk) and send.needs_gradients


def decode_image(
    codec: Codec, send: Any, image: Image | None = None, size: tuple[int, int] | None = None
) -> Image:
    """Run ``code`` of a codec, and return the decoded image.

    Parameters are those of :func:`visit`.
    """
    return to_image(run(codec, send, image, size), *_size_of(image, size))


def _size_of(image: Image | None, size: tuple[int, int] | None) -> tuple[int, int]:
    """Return height and width of an image; at a decoder, those that it knows."""
    if image is not None:
        return image.shape[0], image.shape[1]
    if size is None:
        raise InputError("a decoder has no size; expected height and width of the image")
    return size


def padded_size(codec: object, height: int, width: int) -> tuple[int, int]:
    """Return the size to which a codec's images are extended, pixels."""
    multiple, least = multiple_of(codec), least_of(codec)
    rows, columns = (-(-max(side, least) // multiple) * multiple for side in (height, width))
    return rows, columns


def multiple_of(codec: object) -> int:
    """Return the multiple to which the sides of a codec's images are extended, pixels."""
    return codec.multiple if isinstance(codec, HasMultiple) else MULTIPLE


def least_of(codec: object) -> int:
    """Return the least side of a codec's images, pixels."""
    return codec.least if isinstance(codec, HasLeast) else 1


def decodes(codec: object) -> bool:
    """Return whether a codec decodes without the image."""
    return codec.can_decode if isinstance(codec, StatesDecoding) else True


def device_of(codec: object) -> Any:
    """Return where a codec runs."""
    return codec.device if isinstance(codec, HasDevice) else "cpu"


def clock_of(codec: object) -> Callable[[], float]:
    """Return the clock that measures a codec: the time of the processor, on a GPU the wall clock.

    The clock returns seconds.
    """
    return time.process_time if str(device_of(codec)).startswith("cpu") else time.perf_counter


def to_tensor(codec: object, image: Image) -> Tensor:
    """Return an image as ``code`` of a codec expects it.

    Raises
    ------
    InputError
        If it is neither a color image of uint8 nor a field of float32.
    """
    if image.ndim != 3 or (str(image.dtype), image.shape[2]) not in IMAGE_TYPES:
        raise InputError(
            f"the image has dtype {image.dtype} and shape {tuple(image.shape)}; expected uint8 of"
            " shape (height, width, 3)"
        )
    dtype = torch.get_default_dtype()
    x = copy_to(torch.tensor(image), torch.device(device_of(codec))).permute(2, 0, 1)[None]
    x = x.to(dtype)
    if image.dtype == np.uint8:
        x = x / 255
    height, width = image.shape[:2]
    rows, columns = padded_size(codec, height, width)
    if (rows, columns) == (height, width):
        return x.contiguous()
    return torch.nn.functional.pad(x, (0, columns - width, 0, rows - height), "replicate")


def copy_to(x: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device; the host does not wait for a copy to a card."""
    if x.device.type == "cpu" and device.type == "cuda":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def to_image(decoded: Tensor, height: int, width: int) -> Image:
    """Return a decoded image: uint8 of shape (height, width, 3), or float32 for a field."""
    decoded = decoded.detach()[0, :, :height, :width].permute(1, 2, 0)
    if decoded.shape[2] == 1:
        return decoded.float().cpu().contiguous().numpy()
    return decoded.clamp(0, 1).mul(255).round().byte().cpu().contiguous().numpy()

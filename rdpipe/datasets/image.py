"""Read any image file as 8-bit RGB.

======================  ==================================================================
file                    result
======================  ==================================================================
gray, 1-bit             the value in all three channels
palette                 its colors
alpha                   composited over white
16-bit gray             v / 257, rounded
more bits in color      reduced to 8 bits (Pillow reads no more); the manifest says so
CMYK                    RGB by the plain conversion of Pillow
EXIF orientation        applied
several frames, pages   the first
ICC profile             ignored; the manifest says so unless it is sRGB
======================  ==================================================================

Formats are those of :mod:`rdpipe.datasets.formats`; the content of a file decides, not its name.
Refused are floating-point images, 32-bit integers beyond 16 bits, images with more pixels than a
limit against decompression bombs, and all other formats.
"""

from __future__ import annotations

import hashlib
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError

from rdpipe.core.errors import InputError
from rdpipe.datasets import formats, gaussian_field, jpeg_xl
from rdpipe.datasets.pack import read_packed

EXIF_ORIENTATION = 0x0112
"""Tag of the orientation in EXIF; 1 is upright."""
FLOATING_POINT = "floating-point images are not supported; expected 8 or 16 bits"
"""Reason for which an image is refused."""
_PILLOW_LIMIT = threading.Lock()


def load_image(file: str, sha256: str) -> NDArray[Any]:
    """Read an image that a manifest lists, and check that it has not changed.

    Its number of pixels was checked when the manifest was written, so it is not limited here.

    Parameters
    ----------
    file, sha256 : str
        From the manifest.

    Returns
    -------
    array of uint8, of shape (height, width, 3)
        For a Gaussian field, float32 of shape (height, width, 1).

    Raises
    ------
    InputError
        If the file cannot be read, or has changed since the manifest was written.
    """
    if file.startswith(gaussian_field.PREFIX):
        field, digest, _ = read_image(file)
        _check_digest(file, digest, sha256)
        return field
    data = read_file(file)
    _check_digest(file, hashlib.sha256(data).hexdigest(), sha256)
    return _decode_file(file, data, None)[0]


def _check_digest(file: str, digest: str, expected: str) -> None:
    """Refuse a file that has changed since the manifest was written."""
    if digest != expected:
        raise InputError(
            f"{file!r} has changed since the dataset was prepared; prepare it again:"
            " snakemake --forcerun prepare_dataset"
        )


def read_image(
    file: str, max_pixels: int | None = formats.MAX_PIXELS
) -> tuple[NDArray[Any], str, str]:
    """Decode an image file, or draw the Gaussian field that a source describes.

    Parameters
    ----------
    file : str
        Path of the file, or description of the field.
    max_pixels : int or None
        Largest accepted number of pixels; None accepts any.

    Returns
    -------
    pixels : array of uint8, of shape (height, width, 3)
        For a Gaussian field, float32 of shape (height, width, 1).
    sha256 : str
        SHA-256 of the bytes of the file, hexadecimal; of a Gaussian field, of its pixels.
    conversion : str
        How the image was converted to 8-bit RGB, or "none".

    Raises
    ------
    InputError
        If it cannot be read; names the file and the reason.
    """
    if file.startswith(gaussian_field.PREFIX):
        field = gaussian_field.draw(file)
        return field, hashlib.sha256(field.tobytes()).hexdigest(), "none"
    data = read_file(file)
    pixels, conversion = _decode_file(file, data, max_pixels)
    return pixels, hashlib.sha256(data).hexdigest(), conversion


def read_file(file: str) -> bytes:
    """Return the bytes of a file that is not empty, or of a file in a pack."""
    try:
        packed = read_packed(path := Path(file))
        data = path.read_bytes() if packed is None else packed
    except (OSError, ValueError) as error:
        raise InputError(f"{file!r}: {error}") from error
    if not data:
        raise InputError(f"{file!r}: the file is empty")
    return data


def _decode_file(file: str, data: bytes, max_pixels: int | None) -> tuple[NDArray[np.uint8], str]:
    """Return the pixels of a file and their conversion; an error names the file."""
    try:
        return decode_image(data, max_pixels)
    except UnidentifiedImageError as error:
        reason = f"not an image in {formats.NAMES}"
        if formats.is_heif(data):
            reason = "a HEIF image whose codec is not AVIF, which is not read; convert it to PNG"
        raise InputError(f"{file!r}: {reason}") from error
    except (InputError, OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise InputError(f"{file!r}: {error}") from error
    except Exception as error:  # decoders raise many types of errors for damaged files
        raise InputError(f"{file!r}: damaged: {type(error).__name__}: {error}") from error


def decode_image(data: bytes, max_pixels: int | None) -> tuple[NDArray[np.uint8], str]:
    """Decode the content of an image file.

    Parameters
    ----------
    data : bytes
    max_pixels : int or None
        Largest accepted number of pixels, checked before decoding; None accepts any.

    Returns
    -------
    pixels, conversion
        See :func:`to_rgb`.

    Raises
    ------
    InputError
        If the image has too many pixels, or cannot be converted.
    Exception
        Any exception of the decoder, if the content is damaged or not an image.
    """
    if jpeg_xl.is_jpeg_xl(data):
        _check_pixels(jpeg_xl.size(data), max_pixels)
        return to_rgb(*_pillow_image(jpeg_xl.decode(data)))
    with warnings.catch_warnings(), _no_pillow_limit():
        warnings.filterwarnings("ignore", category=UserWarning)
        Image.init()
        known = [name for name in formats.PILLOW_SUFFIXES if name in Image.OPEN]
        image = Image.open(io.BytesIO(data), formats=known)
        _check_pixels(image.size, max_pixels)
        bits = _sample_bits(image, data)
        image.load()
        return to_rgb(image, bits)


@contextmanager
def _no_pillow_limit() -> Iterator[None]:
    """Disable Pillow's limit of the number of pixels, which is one for the whole process."""
    with _PILLOW_LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _check_pixels(size: tuple[int, int], max_pixels: int | None) -> None:
    """Refuse an image with too many pixels."""
    width, height = size
    if max_pixels is not None and width * height > max_pixels:
        raise InputError(
            f"too many pixels: {width} x {height} is {width * height}; expected at most"
            f" {max_pixels}; `max_pixels` in the args of a dataset `folder` raises this limit"
        )


def _sample_bits(image: ImageFile.ImageFile, data: bytes) -> int:
    """Return the bits per sample of an opened file; Pillow reads at most 8 of a color."""
    if image.format == "AVIF":
        return formats.avif_bits(data)
    if image.format == "JPEG2000":
        return formats.jpeg_2000_bits(data)
    modes = [tile.args for tile in image.tile]
    if image.format == "PPM" and modes and isinstance(modes[0], tuple):
        return max(8, int(modes[0][1]).bit_length())
    return 16 if any(";16" in str(mode) for mode in modes) else 8


def _pillow_image(pixels: NDArray[Any]) -> tuple[Image.Image, int]:
    """Return decoded samples as an image of Pillow, and their number of bits."""
    if pixels.dtype.kind == "f":
        raise InputError(FLOATING_POINT)
    if pixels.dtype == np.uint16 and pixels.ndim == 3:
        reduced = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
        return Image.fromarray(reduced), 16
    return Image.fromarray(pixels), 8 * pixels.itemsize


def to_rgb(image: Image.Image, bits: int = 8) -> tuple[NDArray[np.uint8], str]:
    """Convert a decoded image to 8-bit RGB.

    Parameters
    ----------
    image : PIL.Image.Image
    bits : int
        Bits per sample of the file, of which Pillow reads 8 if it is in color.

    Returns
    -------
    pixels : array of uint8, of shape (height, width, 3)
    conversion : str
        What was done, or "none".

    Raises
    ------
    InputError
        If the samples are floating-point numbers, or integers beyond 16 bits.
    """
    steps = []
    if bits > 8 and not image.mode.startswith(("I", "F")):
        steps.append(f"{bits}-bit color reduced to 8 bits")
    if profile_name(image) not in ("", "sRGB"):
        steps.append("ICC profile ignored")
    if image.getexif().get(EXIF_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
        steps.append("EXIF orientation applied")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise InputError(f"values from {values.min()} to {values.max()}; expected 0 to 65535")
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
        steps.append("16-bit gray to 8-bit RGB")
    elif image.mode == "F":
        raise InputError(FLOATING_POINT)
    elif image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        steps.append("alpha over white")
    elif image.mode != "RGB":
        steps.append(f"{image.mode} to RGB")
    return np.asarray(image.convert("RGB")), ", ".join(steps) or "none"


def profile_name(image: Image.Image) -> str:
    """Return the description of the ICC profile of an image; "sRGB" for all that are sRGB.

    Empty without a profile.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return ""
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError, ImportError):  # a damaged profile, or no LittleCMS
        return "unknown"
    return "sRGB" if "sRGB" in name else name.strip() or "unknown"

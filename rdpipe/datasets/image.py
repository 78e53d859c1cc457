"""Read any image file as 8-bit RGB.

======================  ==================================================================
file                    result
======================  ==================================================================
gray, 1-bit             the value in all three channels
palette                 its colors
alpha                   composited over white
16-bit gray             v / 257, rounded
16-bit color            the upper 8 bits (Pillow reads no more); the manifest says so
CMYK                    RGB by the plain conversion of Pillow
EXIF orientation        applied
several frames, pages   the first
ICC profile             ignored
======================  ==================================================================

Refused are floating-point images, 32-bit integers beyond 16 bits, images beyond Pillow's limit
against decompression bombs, and all formats but :data:`FORMATS`, whatever the name of the file:
some formats are programs (Ghostscript executes EPS).
"""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from rdpipe.core.errors import InputError
from rdpipe.datasets import gaussian_field

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF")
"""Accepted formats; the content of a file decides, not its name."""
EXIF_ORIENTATION = 0x0112
"""Tag of the orientation in EXIF; 1 is upright."""


def load_image(file: str, sha256: str) -> NDArray[Any]:
    """Read an image that a manifest lists, and check that it has not changed.

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
    pixels, digest, _ = read_image(file)
    if digest != sha256:
        raise InputError(
            f"{file!r} has changed since the dataset was prepared; prepare it again:"
            " snakemake --forcerun prepare_dataset"
        )
    return pixels


def read_image(file: str) -> tuple[NDArray[Any], str, str]:
    """Decode an image file, or draw the Gaussian field that a source describes.

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
    try:
        data = Path(file).read_bytes()
        if not data:
            raise ValueError("the file is empty")
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", category=UserWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            raw_modes = [str(tile.args) for tile in image.tile]
            image.load()
            reduced = any(";16" in mode for mode in raw_modes)
            pixels, conversion = to_rgb(image, reduced_to_8_bits=reduced)
    except UnidentifiedImageError as error:
        raise InputError(f"{file!r}: not an image in PNG, JPEG, WebP or TIFF") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{file!r}: too many pixels: {error}") from error
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise InputError(f"{file!r}: {error}") from error
    except Exception as error:  # decoders raise many types of errors for damaged files
        raise InputError(f"{file!r}: damaged: {type(error).__name__}: {error}") from error
    return pixels, hashlib.sha256(data).hexdigest(), conversion


def to_rgb(image: Image.Image, reduced_to_8_bits: bool = False) -> tuple[NDArray[np.uint8], str]:
    """Convert a decoded image to 8-bit RGB.

    Parameters
    ----------
    image : PIL.Image.Image
    reduced_to_8_bits : bool
        Whether the samples of the file have 16 bits, of which Pillow reads 8 if it is in color.

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
    if reduced_to_8_bits and not image.mode.startswith("I"):
        steps.append("16-bit color reduced to 8 bits")
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
        raise InputError("floating-point images are not supported; expected 8 or 16 bits")
    elif image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        steps.append("alpha over white")
    elif image.mode != "RGB":
        steps.append(f"{image.mode} to RGB")
    return np.asarray(image.convert("RGB")), ", ".join(steps) or "none"

"""Any image file as 8-bit RGB: the one place that says how.

=====================  ==========================================================================
file                   becomes
=====================  ==========================================================================
grey, 1-bit            the value in all three channels
palette                its colours
alpha                  composited over white
16-bit grey            rounded v / 257
CMYK                   RGB by Pillow's plain conversion
EXIF orientation       applied
several frames, pages  the first
ICC profile            ignored
=====================  ==========================================================================

16-bit colour is cut to its upper 8 bits by Pillow, which the manifest says. Floating-point images, 32-bit
integers beyond 16 bits and images larger than Pillow's limit against decompression bombs are refused, and so are other formats than
``FORMATS`` under whatever name: some are programs (EPS is run by Ghostscript).
"""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from rdpipe.datasets import gaussian_field
from rdpipe.core.errors import InputError


FORMATS = ("PNG", "JPEG", "WEBP", "TIFF")
"""What may be in a file, whatever it is called."""


def load(file: str, sha256: str) -> np.ndarray:
    """An image that a manifest lists, as uint8 array of shape (height, width, 3).

    Raises
    ------
    InputError
        If the file cannot be read, or is not the one that the manifest was made from.
    """
    pixels, digest, _ = read(file)
    if digest != sha256:
        raise InputError(
            f"{file!r} has changed since the data set was prepared; prepare it again:"
            " snakemake --forcerun prepare_dataset"
        )
    return pixels


def read(file: str) -> tuple[np.ndarray, str, str]:
    """Decode an image file, or make the Gaussian field that a source names.

    Returns
    -------
    pixels : array of uint8, of shape (height, width, 3)
        Of a Gaussian field: float32 of shape (height, width, 1).
    sha256 : str
        Of the bytes of the file.
    conversion : str
        What was done to make it 8-bit RGB, in words.

    Raises
    ------
    InputError
        If it cannot be read; names the file and what is wrong.
    """
    if file.startswith(gaussian_field.PREFIX):
        field = gaussian_field.make(file)
        return field, hashlib.sha256(field.tobytes()).hexdigest(), "none"
    try:
        data = Path(file).read_bytes()
        if not data:
            raise ValueError("the file is empty")
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", category=UserWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            raw = [str(tile.args) for tile in image.tile]
            image.load()
            pixels, conversion = rgb(image, cut=any(";16" in mode for mode in raw))
    except UnidentifiedImageError as error:
        raise InputError(f"{file!r}: not an image in PNG, JPEG, WebP or TIFF") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{file!r}: too many pixels: {error}") from error
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise InputError(f"{file!r}: {error}") from error
    except Exception as error:  # decoders of damaged files raise whatever they please
        raise InputError(f"{file!r}: damaged: {type(error).__name__}: {error}") from error
    return pixels, hashlib.sha256(data).hexdigest(), conversion


def rgb(image: Image.Image, cut: bool = False) -> tuple[np.ndarray, str]:
    """A decoded image as 8-bit RGB, and what that took; ``cut`` if its samples had 16 bits."""
    steps = ["16-bit colour cut to 8 bits"] if cut and not image.mode.startswith("I") else []
    if image.getexif().get(0x0112, 1) != 1:
        image = ImageOps.exif_transpose(image)
        steps.append("EXIF orientation applied")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"values {values.min()} to {values.max()}: allowed are 0 to 65535")
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
        steps.append("16-bit grey to 8-bit RGB")
    elif image.mode == "F":
        raise ValueError("floating-point images are not supported; allowed are 8 and 16 bit")
    elif image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        steps.append("alpha over white")
    elif image.mode != "RGB":
        steps.append(f"{image.mode} to RGB")
    return np.asarray(image.convert("RGB")), ", ".join(steps) or "none"

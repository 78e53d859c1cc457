"""Classical codecs as baselines: real bytes, including headers, of 8-bit RGB images.

Each encoder has its own scale of qualities:

=========  ========  ==============================================================================
baseline   quality   meaning
=========  ========  ==============================================================================
jpeg       0 to 100  libjpeg's scale of the quantization tables
jpeg2000   1 to 100  PSNR that OpenJPEG's rate allocation aims at, dB
webp       0 to 100  libwebp's scale; 100 is not lossless
avif       0 to 100  libavif's scale, decreasing in AV1's quantizer index; 100 is the finest one
jpegxl     0 to 100  cjxl's ``-q``: Butteraugli distance 0.1 + 0.09 (100 - q) from 30 on, 0 at 100
=========  ========  ==============================================================================

JPEG 2000 codes every image with the same PSNR, the others do not: consider this when you compare
averages over images. The encoder of JPEG XL does not optimize PSNR, but visual quality.

A gray image is coded as the RGB image that the reader made of it. Encoders use one thread, so that
two runs give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rdpipe.core.errors import InputError

SUBSAMPLINGS = ("4:2:0", "4:2:2", "4:4:4")
"""Subsamplings of chroma."""
Pixels = NDArray[np.uint8]
"""An image of shape (height, width, 3)."""


def decode_with_pillow(stream: bytes) -> Pixels:
    """Decode an image with Pillow."""
    return np.asarray(Image.open(io.BytesIO(stream)).convert("RGB"))


@dataclass(frozen=True)
class Classical:
    """A classical codec.

    Parameters
    ----------
    name : str
        Name of the codec, for error messages.
    lowest, highest : int
        Range of its qualities.
    encode : callable
        ``encode(image, quality)`` returns bytes.
    decode : callable
        ``decode(stream)`` returns an image.
    """

    name: str
    lowest: int
    highest: int
    encode: Callable[[Pixels, int], bytes | bytearray]
    decode: Callable[[bytes], Pixels] = decode_with_pillow

    def __call__(self, image: Pixels, quality: int) -> tuple[bytes, Pixels]:
        """Encode an image and decode it again.

        Parameters
        ----------
        image : array of uint8, of shape (height, width, 3)
        quality : int
            See the table of this module.

        Returns
        -------
        stream : bytes
        decoded : array of uint8, of shape (height, width, 3)

        Raises
        ------
        InputError
            If the quality is out of range, or the image too large for the format.
        """
        if not self.lowest <= quality <= self.highest:
            raise InputError(
                f"{self.name}: {quality} is not a quality; expected {self.lowest} to {self.highest}"
            )
        try:
            stream = bytes(self.encode(image, quality))
            return stream, self.decode(stream)
        except (OSError, ValueError, RuntimeError) as error:
            height, width = image.shape[:2]
            raise InputError(
                f"{self.name} cannot code an image of {width} x {height} pixels: {error}"
            ) from error


def _encode_with_pillow(image: Pixels, quality: int, **options: Any) -> bytes:
    """Encode an image with Pillow."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, quality=quality, **options)
    return buffer.getvalue()


def _check_choice(name: str, value: object, allowed: Sequence[object]) -> None:
    """Check that an argument is one of the allowed values."""
    if value not in allowed:
        listed = ", ".join(map(str, allowed))
        raise InputError(f"{name} is {value!r}; expected one of: {listed}")


def jpeg(subsampling: str = "4:2:0") -> Classical:
    """Return baseline JPEG by libjpeg-turbo, with optimized Huffman tables.

    Parameters
    ----------
    subsampling : {"4:2:0", "4:2:2", "4:4:4"}
        Chroma subsampling.
    """
    _check_choice("jpeg subsampling", subsampling, SUBSAMPLINGS)
    encode = partial(_encode_with_pillow, format="JPEG", optimize=True, subsampling=subsampling)
    return Classical("jpeg", 0, 100, encode)


def webp() -> Classical:
    """Return lossy WebP by libwebp, with its most thorough search and 4:2:0 chroma."""
    return Classical("webp", 0, 100, partial(_encode_with_pillow, format="WEBP", method=6))


def jpeg2000() -> Classical:
    """Return JPEG 2000 by OpenJPEG: 9/7 wavelet, irreversible color transform, no JP2 boxes."""

    def encode(image: Pixels, quality: int) -> bytes:
        return _encode_with_pillow(
            image,
            quality,  # which JPEG 2000 ignores
            format="JPEG2000",
            quality_mode="dB",
            quality_layers=[quality],
            irreversible=True,
            mct=1,
            no_jp2=True,
        )

    return Classical("jpeg2000", 1, 100, encode)


def avif(subsampling: str = "4:2:0", speed: int = 4, tune: str = "psnr") -> Classical:
    """Return AVIF by libavif, with AV1 by libaom.

    Parameters
    ----------
    subsampling : {"4:2:0", "4:2:2", "4:4:4"}
        Chroma subsampling.
    speed : int
        Speed of the encoder, from 0 (thorough) to 10.
    tune : {"psnr", "ssim", "iq"}
        What the encoder optimizes. The default of libavif is ``iq``, which costs PSNR.
    """
    _check_choice("avif subsampling", subsampling, SUBSAMPLINGS)
    _check_choice("avif speed", speed, range(11))
    _check_choice("avif tune", tune, ("psnr", "ssim", "iq"))
    encode = partial(
        _encode_with_pillow,
        format="AVIF",
        speed=speed,
        subsampling=subsampling,
        codec="aom",
        advanced={"tune": tune},
        max_threads=1,
    )
    return Classical("avif", 0, 100, encode)


def jpegxl(effort: int = 7) -> Classical:
    """Return lossy JPEG XL by libjxl, as a bare codestream.

    Parameters
    ----------
    effort : int
        Effort of the encoder, from 1 to 10 (thorough).
    """
    import imagecodecs  # not at the top: the Snakefile imports this module for its signatures

    _check_choice("jpegxl effort", effort, range(1, 11))

    def encode(image: Pixels, quality: int) -> bytes | bytearray:
        return imagecodecs.jpegxl_encode(
            image, level=quality, effort=effort, usecontainer=False, numthreads=1
        )

    decode = partial(imagecodecs.jpegxl_decode, numthreads=1)
    return Classical("jpegxl", 0, 100, encode, decode)

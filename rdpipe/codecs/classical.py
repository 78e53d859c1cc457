"""Classical codecs as anchors: real bytes, headers included, from 8-bit RGB and back to it.

An anchor is made by a factory ``factory(**args)`` and called with an image and a quality. What a
quality means is each encoder's own:

=========  ========  =============================================================================
anchor     quality   meaning
=========  ========  =============================================================================
jpeg       0 to 100  libjpeg's scale of the quantization tables
jpeg2000   1 to 100  PSNR that OpenJPEG's rate allocation aims at, dB
webp       0 to 100  libwebp's scale; 100 is not lossless
avif       0 to 100  libavif's scale, falling over AV1's quantizer index; 100 is the finest quantizer
jpegxl     0 to 100  cjxl's ``-q``: Butteraugli distance 0.1 + 0.09 (100 - q) from 30 on, 0 at 100
=========  ========  =============================================================================

JPEG 2000 brings every image to the same PSNR, the others do not: averages over images compare with that in
mind. JPEG XL's encoder knows no PSNR, and optimises what is seen.

A grey image is coded as the RGB that it became when it was read. One thread, so that two runs give the
same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from rdpipe.core.errors import InputError


def pillow(stream: bytes) -> np.ndarray:
    """The image in a stream, by Pillow's decoders, uint8 of shape (height, width, 3)."""
    return np.asarray(Image.open(io.BytesIO(stream)).convert("RGB"))


@dataclass(frozen=True)
class Classical:
    """A classical codec.

    Parameters
    ----------
    name : str
        For messages.
    lowest, highest : int
        Its range of qualities.
    encode : callable
        From an image and a quality to bytes.
    decode : callable
        From bytes to an image.
    """

    name: str
    lowest: int
    highest: int
    encode: Callable[[np.ndarray, int], bytes]
    decode: Callable[[bytes], np.ndarray] = pillow

    def __call__(self, image: np.ndarray, quality: int) -> tuple[bytes, np.ndarray]:
        """Code an image and decode it again.

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
                f"{self.name} quality {quality}: allowed are {self.lowest} to {self.highest}"
            )
        try:
            stream = bytes(self.encode(image, quality))
            return stream, self.decode(stream)
        except (OSError, ValueError, RuntimeError) as error:
            height, width = image.shape[:2]
            raise InputError(
                f"{self.name} cannot code {width} x {height} pixels: {error}"
            ) from error


def by_pillow(image: np.ndarray, **options) -> bytes:
    """An image as Pillow saves it."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, **options)
    return buffer.getvalue()


def one_of(what: str, value, allowed: tuple):
    """The value, if it is allowed."""
    if value not in allowed:
        raise InputError(f"{what} {value!r}: allowed are {', '.join(map(str, allowed))}")
    return value


def jpeg(subsampling: str = "4:2:0") -> Classical:
    """Baseline JPEG by libjpeg-turbo, with optimised Huffman tables.

    Parameters
    ----------
    subsampling : {"4:2:0", "4:2:2", "4:4:4"}
        Of the chroma.
    """
    one_of("jpeg subsampling", subsampling, ("4:2:0", "4:2:2", "4:4:4"))
    return Classical("jpeg", 0, 100, lambda image, quality: by_pillow(
        image, format="JPEG", quality=quality, optimize=True, subsampling=subsampling))  # fmt: skip


def webp() -> Classical:
    """Lossy WebP by libwebp, its most thorough search; 4:2:0 is the only one it has."""
    return Classical("webp", 0, 100, lambda image, quality: by_pillow(
        image, format="WEBP", quality=quality, method=6))  # fmt: skip


def jpeg2000() -> Classical:
    """JPEG 2000 by OpenJPEG: 9/7 wavelet, irreversible colour transform, a codestream without JP2's boxes."""
    return Classical("jpeg2000", 1, 100, lambda image, quality: by_pillow(
        image, format="JPEG2000", quality_mode="dB", quality_layers=[quality], irreversible=True,
        mct=1, no_jp2=True))  # fmt: skip


def avif(subsampling: str = "4:2:0", speed: int = 4, tune: str = "psnr") -> Classical:
    """AVIF by libavif, AV1 by libaom.

    Parameters
    ----------
    subsampling : {"4:2:0", "4:2:2", "4:4:4"}
        Of the chroma.
    speed : int
        Of the encoder, 0 (thorough) to 10.
    tune : {"psnr", "ssim", "iq"}
        What the encoder optimises; libavif's own choice is ``iq``, at the price of PSNR.
    """
    one_of("avif subsampling", subsampling, ("4:2:0", "4:2:2", "4:4:4"))
    one_of("avif speed", speed, tuple(range(11)))
    one_of("avif tune", tune, ("psnr", "ssim", "iq"))
    return Classical("avif", 0, 100, lambda image, quality: by_pillow(
        image, format="AVIF", quality=quality, speed=speed, subsampling=subsampling,
        codec="aom", advanced={"tune": tune}, max_threads=1))  # fmt: skip


def jpegxl(effort: int = 7) -> Classical:
    """JPEG XL by libjxl: lossy, its bare codestream.

    Parameters
    ----------
    effort : int
        Of the encoder, 1 to 10 (thorough).
    """
    import imagecodecs  # not in the Snakefile, which reads the signatures of this module

    one_of("jpegxl effort", effort, tuple(range(1, 11)))
    return Classical(
        "jpegxl", 0, 100,
        lambda image, quality: imagecodecs.jpegxl_encode(
            image, level=quality, effort=effort, usecontainer=False, numthreads=1),
        lambda stream: imagecodecs.jpegxl_decode(stream, numthreads=1),
    )  # fmt: skip

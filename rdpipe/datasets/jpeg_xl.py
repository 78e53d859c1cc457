"""Read JPEG XL with imagecodecs; Pillow does not read it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdpipe.core.errors import InputError

CODESTREAM = b"\xff\x0a"
"""First bytes of a codestream without a container."""
CONTAINER = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
"""First box of a container."""
RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Ratios of width to height that a header can name instead of a width."""


class Bits:
    """Reader of the bits of a header, the least significant bit of a byte first."""

    def __init__(self, data: bytes):
        self.rest = int.from_bytes(data, "little")

    def read(self, count: int) -> int:
        """Return the next bits as an unsigned number."""
        value = self.rest & ((1 << count) - 1)
        self.rest >>= count
        return value

    def length(self, by_eight: int) -> int:
        """Return a width or height."""
        if by_eight:
            return 8 * (self.read(5) + 1)
        return self.read((9, 13, 18, 30)[self.read(2)]) + 1


def is_jpeg_xl(data: bytes) -> bool:
    """Return whether a file is a JPEG XL image, by its first bytes."""
    return data.startswith((CODESTREAM, CONTAINER))


def size(data: bytes) -> tuple[int, int]:
    """Return the width and height of an image, without decoding it.

    Raises
    ------
    ValueError
        If there is no codestream.

    References
    ----------
    ISO/IEC 18181-1, ``SizeHeader``; ISO/IEC 18181-2, boxes ``jxlc`` and ``jxlp``.
    """
    header = codestream(data)[2:12]
    if len(header) < 10:
        raise ValueError("the file is truncated")
    bits = Bits(header)
    by_eight = bits.read(1)
    height = bits.length(by_eight)
    ratio = bits.read(3)
    if ratio:
        across, down = RATIOS[ratio - 1]
        return height * across // down, height
    return bits.length(by_eight), height


def codestream(data: bytes) -> bytes:
    """Return the beginning of the codestream of a file, with or without a container."""
    if data.startswith(CODESTREAM):
        return data[:16]
    position = 0
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4])
        kind, header = data[position + 4 : position + 8], 8
        if length == 1:  # the length follows, in 8 bytes
            length, header = int.from_bytes(data[position + 8 : position + 16]), 16
        if kind in (b"jxlc", b"jxlp"):
            start = position + header + (4 if kind == b"jxlp" else 0)
            return data[start : start + 16]
        if length < header:  # 0: until the end of the file
            break
        position += length
    raise ValueError("the file has no JPEG XL codestream")


def decode(data: bytes) -> NDArray[Any]:
    """Decode an image; of an animation, the first frame.

    Returns
    -------
    array of uint8, uint16 or float32, of shape (height, width) or (height, width, channel)

    Raises
    ------
    InputError
        If imagecodecs is not installed.
    """
    try:
        import imagecodecs
    except ImportError as error:
        raise InputError("JPEG XL images need imagecodecs; install rdpipe[workflow]") from error
    pixels: NDArray[Any] = imagecodecs.jpegxl_decode(data, index=0, numthreads=1)
    return np.ascontiguousarray(pixels)

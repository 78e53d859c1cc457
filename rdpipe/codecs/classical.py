"""Classical codecs through Pillow, as anchors: real bytes, headers included."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from rdpipe.errors import InputError
from rdpipe.plugins import nearest

ANCHORS = {
    "jpeg": {"format": "JPEG", "optimize": True},  # baseline, 4:2:0, optimised Huffman tables
    "webp": {"format": "WEBP", "method": 6},  # lossy, the encoder's most thorough search
}


def encode_decode(image: np.ndarray, codec: str, quality: int) -> tuple[bytes, np.ndarray]:
    """Code an image and decode it again.

    Parameters
    ----------
    image : array of uint8, of shape (height, width, 3)
    codec : str
        A name of ``ANCHORS``.
    quality : int
        The encoder's own quality, 0 to 100.

    Returns
    -------
    stream : bytes
    decoded : array of uint8, of shape (height, width, 3)

    Raises
    ------
    InputError
        If codec or quality is unknown, or the image too large for the format.
    """
    if codec not in ANCHORS:
        raise InputError(f"unknown anchor {codec!r}; {nearest(codec, ANCHORS)}")
    if not 0 <= quality <= 100:
        raise InputError(f"{codec} quality {quality}: allowed are 0 to 100")
    buffer = io.BytesIO()
    try:
        Image.fromarray(image).save(buffer, quality=quality, **ANCHORS[codec])
    except (OSError, ValueError) as error:
        height, width = image.shape[:2]
        raise InputError(f"{codec} cannot code {width} x {height} pixels: {error}") from error
    stream = buffer.getvalue()
    return stream, np.asarray(Image.open(io.BytesIO(stream)).convert("RGB"))

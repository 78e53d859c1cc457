"""Small pictures for a page."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

LONGEST = 400
"""Longer side, pixels."""
QUALITY = 70
"""Of the WebP encoder."""


def thumbnail(pixels: np.ndarray) -> bytes:
    """A small WebP of an image as data sets give it.

    Parameters
    ----------
    pixels : array of shape (height, width, 3) or (height, width, 1)
        uint8; or float32, a field around zero, which is shown around middle grey.
    """
    if pixels.dtype != np.uint8:
        pixels = np.clip(128 + pixels.round(), 0, 255).astype(np.uint8)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, 2)
    image = Image.fromarray(pixels)
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=4)
    return buffer.getvalue()

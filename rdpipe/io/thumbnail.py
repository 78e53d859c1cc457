"""Small versions of images for the page."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as PillowImage

from rdpipe.core.protocols import Image

LONGEST = 400
"""Length of the longer side, pixels."""
QUALITY = 70
"""Quality of the WebP encoder."""


def thumbnail(pixels: Image) -> bytes:
    """Return a small WebP file of an image.

    Parameters
    ----------
    pixels : array of shape (height, width, 3) or (height, width, 1)
        uint8, or float32 for a field around zero, which is shown around middle gray.
    """
    if pixels.dtype != np.uint8:
        pixels = np.clip(128 + pixels.round(), 0, 255).astype(np.uint8)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, 2)
    image = PillowImage.fromarray(pixels)
    image.thumbnail((LONGEST, LONGEST), PillowImage.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=4)
    return buffer.getvalue()

"""Small versions of images."""

import io

import numpy as np
import pytest
from PIL import Image

from rdpipe.io.thumbnail import LONGEST, thumbnail


@pytest.mark.parametrize("shape", [(300, 900, 3), (50, 40, 3)])
def test_thumbnail_keeps_the_aspect_ratio_and_is_never_larger(shape):
    image = Image.open(io.BytesIO(thumbnail(np.full(shape, 200, np.uint8))))
    factor = min(1, LONGEST / max(shape))
    assert image.size == (round(shape[1] * factor), round(shape[0] * factor))
    assert abs(np.asarray(image).astype(int) - 200).max() <= 3


def test_field_is_shown_around_middle_gray():
    field = np.full((40, 40, 1), -28.0, np.float32)
    pixels = np.asarray(Image.open(io.BytesIO(thumbnail(field))))
    assert pixels.shape == (40, 40, 3) and abs(pixels.astype(int) - 100).max() <= 3

"""Anchors: real streams that any decoder opens."""

import io

import numpy as np
import pytest
from PIL import Image
from skimage import data

from rdpipe.codecs.classical import ANCHORS, encode_decode
from rdpipe.errors import InputError

IMAGE = data.chelsea()


@pytest.mark.parametrize("codec", ANCHORS)
def test_the_stream_is_a_file_of_that_format(codec):
    stream, decoded = encode_decode(IMAGE, codec, 50)
    opened = Image.open(io.BytesIO(stream))
    assert opened.format.lower() == codec
    assert np.array_equal(np.asarray(opened.convert("RGB")), decoded)


@pytest.mark.parametrize("codec", ANCHORS)
def test_quality_buys_fidelity_with_bytes(codec):
    sizes, errors = [], []
    for quality in (5, 50, 95):
        stream, decoded = encode_decode(IMAGE, codec, quality)
        sizes.append(len(stream))
        errors.append(np.square(IMAGE.astype(float) - decoded).mean())
    assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True)


def test_unknown_codecs_and_qualities_are_refused():
    with pytest.raises(InputError, match="unknown anchor 'jpg'; did you mean 'jpeg'"):
        encode_decode(IMAGE, "jpg", 50)
    with pytest.raises(InputError, match="quality 101: allowed are 0 to 100"):
        encode_decode(IMAGE, "jpeg", 101)


def test_an_image_beyond_the_format_is_refused():
    with pytest.raises(InputError, match="webp cannot code 16384 x 1 pixels"):
        encode_decode(np.zeros((1, 16384, 3), np.uint8), "webp", 50)

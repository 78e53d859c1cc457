"""Sizes in the headers of JPEG XL against images of known size."""

import imagecodecs
import numpy as np
import pytest

from rdpipe.datasets import jpeg_xl

SIZES = [(1, 1), (3, 2), (8, 8), (64, 48), (48, 64), (50, 40), (160, 90), (256, 256), (257, 300)]
SIZES += [(1200, 7), (5, 600), (10_000, 1)]


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_size_is_that_of_the_decoded_image(width, height, container):
    pixels = np.zeros((height, width, 3), np.uint8)
    data = imagecodecs.jpegxl_encode(pixels, lossless=True, usecontainer=container)
    assert jpeg_xl.is_jpeg_xl(data) and jpeg_xl.size(data) == (width, height)
    assert np.array_equal(jpeg_xl.decode(data), pixels)


def test_first_frame_of_an_animation_is_decoded():
    frames = np.random.default_rng(0).integers(0, 256, (3, 9, 7, 3), dtype=np.uint8)
    data = imagecodecs.jpegxl_encode(frames, lossless=True, photometric="rgb")
    assert np.array_equal(jpeg_xl.decode(data), frames[0])


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_other_files_are_not_jpeg_xl(data):
    assert not jpeg_xl.is_jpeg_xl(data)


def test_codestream_in_parts_and_in_a_long_box():
    whole = imagecodecs.jpegxl_encode(np.zeros((30, 20, 3), np.uint8), lossless=True)
    part = (12 + len(whole)).to_bytes(4) + b"jxlp" + bytes(4) + whole
    long_box = (1).to_bytes(4) + b"jxlc" + (16 + len(whole)).to_bytes(8) + whole
    for box in (part, long_box):
        assert jpeg_xl.size(jpeg_xl.CONTAINER + box) == (20, 30)


@pytest.mark.parametrize("rest", [b"", bytes(8), b"\0\0\0\x08free", b"\0\0\0\x0bjxlc\xff\x0a\0"])
def test_file_without_a_header_is_refused(rest):
    with pytest.raises(ValueError, match="no JPEG XL codestream|truncated"):
        jpeg_xl.size(jpeg_xl.CONTAINER + rest)

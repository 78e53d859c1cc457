"""Views and files of an image are decomposed like a contiguous array of the same samples."""

import numpy as np
import PIL.Image
import pytest

import rdpipe
from rdpipe.codecs.compressai import mini_mean_scale

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
LIMIT = {"decodable": "codec/channel/rounding"}  # the name of an image seeds no noise
VIEWS = {
    "rows": IMAGE[::-1],
    "columns": IMAGE[:, ::-1],
    "BGR": IMAGE[..., ::-1],
    "rows and columns": IMAGE[::-1, ::-1],
}


@pytest.fixture(scope="module")
def codec():
    return mini_mean_scale(1, "cpu")


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_view_with_negative_strides_equals_its_copy(codec, view):
    assert min(view.strides) < 0
    bits, expected = (
        rdpipe.decompose(codec, {"a": image}, LIMIT)["bits"].values for image in (view, view.copy())
    )
    np.testing.assert_array_equal(bits, expected)


@pytest.mark.parametrize("suffix", [".bmp", ".ppm", ".tif", ".qoi"])
def test_file_of_another_lossless_format_equals_the_array(codec, tmp_path, suffix):
    file = tmp_path / f"a{suffix}"
    PIL.Image.fromarray(IMAGE).save(file)
    bits, expected = (
        rdpipe.decompose(codec, image, LIMIT)["bits"].values for image in (tmp_path, IMAGE)
    )
    np.testing.assert_array_equal(bits, expected)

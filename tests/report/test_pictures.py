"""Maps and images on the page."""

import base64

import numpy as np
import pytest
from small_page import LIMITS, make_maps

from rdpipe.core.errors import InputError
from rdpipe.report import pictures


def test_maps_are_bit_per_pixel_within_the_image():
    root, groups = make_maps(("one", "two"), 1, size=(50, 60))
    maps = pictures.maps_of(root, groups, LIMITS)
    assert maps["names"][:2] == ["bits spent", "quantization gap, to decodable"]
    image = maps["images"][0]
    # 5 columns of 16 pixels reach into the padding
    assert (image["rows"], image["columns"]) == (4, 4)
    assert image["down"] == pytest.approx(64 / 50) and image["across"] == pytest.approx(64 / 60)
    values = np.frombuffer(base64.b64decode(image["values"]), np.uint8)
    values = values.reshape(len(maps["names"]), 4, 4)
    low, high = maps["ends"][0]
    expected = np.minimum(groups[0]["bits"].values[0, :, :4] / 256, high)
    assert low + values[0] / 255 * (high - low) == pytest.approx(expected, abs=high / 400)


def test_error_is_a_root_mean_square_within_the_image():
    root, groups = make_maps(("one", "two"), 1, size=(50, 60))
    maps = pictures.maps_of(root, groups, LIMITS)
    image, (low, high) = maps["images"][0], maps["ends"][-1]
    assert maps["names"][-1] == "error" and low == 0
    values = np.frombuffer(base64.b64decode(image["values"]), np.uint8).reshape(-1, 4, 4)
    expected = np.sqrt(groups[0]["mse"].values)
    assert values[-1] / 255 * high == pytest.approx(np.minimum(expected, high), abs=high / 400)


def test_bits_without_a_place_are_said_beside_the_map():
    """And in the figure, which shows the first image."""
    root, groups = make_maps(("one", "two"), 1)
    bits = root["bits"].sum("channel")
    root = root.assign(unplaced=bits * [0.25, 0.0])
    images = pictures.maps_of(root, groups, LIMITS)["images"]
    assert images[0]["remark"].startswith("25.0 % of the bits belong to latents without a place")
    assert images[1]["remark"] == ""
    assert pictures.map_frame(root, groups[0], LIMITS)["unplaced"].to_numpy() == pytest.approx(0.25)


def test_maps_are_coarser_if_there_are_many():
    root, groups = make_maps(("one",), 1)
    fine, coarse = (pictures.maps_of(root, groups, LIMITS, pool)["images"][0] for pool in (1, 2))
    assert (coarse["rows"], coarse["columns"]) == (2, 3)
    assert coarse["down"] == fine["down"] and coarse["across"] > fine["across"]


def test_images_are_reduced_until_they_fit():
    _, groups = make_maps(("one",), 1, size=(400, 400))
    files = [groups[0]["original"].values.tobytes()] * 3
    size = len(files[0])
    source = pictures.shrink(files, budget=3 * size)
    assert len(source(files[0])) == pytest.approx(size * 4 / 3, abs=40)
    assert 3 * len(pictures.shrink(files, budget=size)(files[0])) * 3 / 4 < 1.01 * size


def test_qualities_with_other_images_are_refused():
    """Originals are shown beside the maps and decoded images of every quality, by position."""
    products = [make_maps(("one", "two"), 1), make_maps(("two", "one"), 2)]
    with pytest.raises(InputError, match="maps of c: image 0 is 'two'; expected 'one'"):
        pictures.collect(products, LIMITS)

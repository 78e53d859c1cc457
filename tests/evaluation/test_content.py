"""Classes of content, on images whose class is known, and what is spent on each."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from rdpipe.evaluation.content import CONTENT, content_classes, content_sums

SIDE = 16
GENERATOR = np.random.default_rng(1)


def image_of(gray):
    return np.repeat(np.clip(gray, 0, 255).round().astype(np.uint8)[..., None], 3, 2)


def grid(size=128):
    return np.mgrid[:size, :size] - size / 2.0


def noise(deviation):
    return 128 + GENERATOR.normal(0, deviation, (128, 128))


def grating(angle, period=8.0):
    rows, columns = grid()
    phase = 2 * np.pi * (columns * np.cos(angle) + rows * np.sin(angle)) / period
    return 40 * np.cos(phase)


@pytest.mark.parametrize(
    "gray, expected",
    [
        (np.full((128, 128), 77.0), "smooth"),
        (noise(2), "smooth"),
        (128 + grid()[1] / 2, "smooth"),  # a slow ramp
        (gaussian_filter(noise(400), 2), "texture"),
        (128 + grating(0.3) + grating(0.3 + np.pi / 2), "texture"),
        (128 + grating(0.3), "edges"),
    ],
)
def test_content_of_uniform_images_is_known(gray, expected):
    shares = np.bincount(content_classes(image_of(gray), SIDE).ravel(), minlength=3) / 64
    assert shares[CONTENT.index(expected)] > 0.95


@pytest.mark.parametrize("angle", np.linspace(0, np.pi, 7))
def test_squares_on_a_step_are_edges(angle):
    """Those that the step crosses, not in a corner; squares that are far away are smooth."""
    rows, columns = grid()
    distance = columns * np.cos(angle) + rows * np.sin(angle) - 3.0
    classes = content_classes(image_of(128 + 60 * np.sign(distance)), SIDE)
    nearest = abs(distance).reshape(8, SIDE, 8, SIDE).min((1, 3))
    crossing = abs(distance).reshape(8, SIDE, 8, SIDE).mean((1, 3)) < SIDE / 2
    assert crossing.sum() >= 6
    assert (classes[crossing] == CONTENT.index("edges")).all()
    assert (classes[nearest > 6] == CONTENT.index("smooth")).all()


def test_sums_are_those_of_the_pixels():
    """Of an image whose size is no multiple of the squares, with bits in the padding."""
    texture = gaussian_filter(noise(400), 2)[:40, :16]
    image = image_of(np.hstack([np.full((40, 48), 99.0), texture, texture[:, :6]]))
    classes = content_classes(image, SIDE)
    of_pixel = classes.repeat(SIDE, 0).repeat(SIDE, 1)[:40, :70]
    assert len(np.unique(classes)) == len(CONTENT)
    bits = GENERATOR.gamma(2.0, 1.0, (2, 4, 8))  # 3 x 5 squares are within
    error = GENERATOR.gamma(2.0, 1.0, (40, 70))
    starts = np.arange(0, 70, SIDE)
    mse = [[error[r:, c:][:SIDE, :SIDE].mean() for c in starts] for r in starts[:3]]
    sums = content_sums(image, bits, np.array(mse), SIDE)
    for i in range(len(CONTENT)):
        assert sums["content_pixels"][i] == np.sum(of_pixel == i)
        assert sums["content_error"][i] == pytest.approx(error[of_pixel == i].sum())
        within = bits[:, :3, :5][:, classes == i].sum(1)
        np.testing.assert_allclose(sums["content_bits"][:, i], within)


def test_image_that_is_no_photograph_has_no_classes():
    field = GENERATOR.normal(size=(32, 32, 1)).astype(np.float32)
    sums = content_sums(field, np.ones((1, 2, 2)), np.ones((2, 2)), SIDE)
    assert not any(values.any() for values in sums.values())

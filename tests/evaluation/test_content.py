"""Classes of content, on images whose class is known, and what is spent on each."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from rdpipe.evaluation.content import CONTENT, SQUARE, content_classes, content_sums


def image_of(gray):
    return np.repeat(np.clip(gray, 0, 255).round().astype(np.uint8)[..., None], 3, 2)


def grid(size=128):
    return np.mgrid[:size, :size] - size / 2.0


def noise(deviation):
    return 128 + np.random.default_rng(1).normal(0, deviation, (128, 128))


def grating(angle, period=8.0):
    rows, columns = grid()
    phase = 2 * np.pi * (columns * np.cos(angle) + rows * np.sin(angle)) / period
    return 40 * np.cos(phase)


TEXTURE = gaussian_filter(noise(400), 2)


@pytest.mark.parametrize(
    "gray, expected",
    [
        (np.full((128, 128), 77.0), "smooth"),
        (noise(2), "smooth"),
        (128 + grid()[1] / 2, "smooth"),  # a slow ramp
        (TEXTURE, "texture"),
        (128 + grating(0.3) + grating(0.3 + np.pi / 2), "texture"),
        (128 + grating(0.3), "edges"),
    ],
)
def test_content_of_uniform_images_is_known(gray, expected):
    shares = np.bincount(content_classes(image_of(gray)).ravel(), minlength=3) / 64
    assert shares[CONTENT.index(expected)] > 0.95


@pytest.mark.parametrize("angle", np.linspace(0, np.pi, 7))
def test_squares_on_a_step_are_edges(angle):
    """Those that the step crosses, not in a corner; squares that are far away are smooth."""
    rows, columns = grid()
    distance = columns * np.cos(angle) + rows * np.sin(angle) - 3.0
    classes = content_classes(image_of(128 + 60 * np.sign(distance)))
    nearest = abs(distance).reshape(8, SQUARE, 8, SQUARE).min((1, 3))
    crossing = abs(distance).reshape(8, SQUARE, 8, SQUARE).mean((1, 3)) < SQUARE / 2
    assert crossing.sum() >= 6
    assert (classes[crossing] == CONTENT.index("edges")).all()
    assert (classes[nearest > 6] == CONTENT.index("smooth")).all()


@pytest.mark.parametrize("side", [4, 8, 12, 16, 64])
def test_sums_are_those_of_the_pixels(side):
    """Of an image whose size is no multiple of the squares, with bits in the padding.

    Everything is the same in each pixel of a square of the map, so the sums over pixels are known.
    """
    chance = np.random.default_rng(2)
    image = image_of(np.hstack([np.full((40, 48), 99.0), TEXTURE[:40, :16], TEXTURE[:40, :6]]))
    of_pixel = content_classes(image).repeat(SQUARE, 0).repeat(SQUARE, 1)[:40, :70]
    assert len(np.unique(of_pixel)) == len(CONTENT)
    rows, columns = (-(-length // side) for length in (40, 70))
    density = chance.gamma(2.0, 1.0, (3, rows, columns))
    whole = density.repeat(side, 1).repeat(side, 2)[:, :40, :70]
    area = np.ones((40, 70))
    counts = np.array(
        [
            [area[r : r + side, c : c + side].sum() for c in range(0, 70, side)]
            for r in range(0, 40, side)
        ]
    )
    maps = np.pad(density[:2] * counts, ((0, 0), (0, 1), (0, 3)), constant_values=1e6)
    sums = content_sums(image, maps, 2 * maps, density[2], side)
    for i in range(len(CONTENT)):
        expected = whole[:, of_pixel == i].sum(1)
        assert sums["content_pixels"][i] == pytest.approx(np.sum(of_pixel == i))
        np.testing.assert_allclose(sums["content_bits"][:, i], expected[:2])
        np.testing.assert_allclose(sums["content_latent_error"][:, i], 2 * expected[:2])
        assert sums["content_error"][i] == pytest.approx(expected[2])


def test_image_without_8_bit_levels_has_no_classes():
    field = np.random.default_rng(1).normal(size=(32, 32, 1)).astype(np.float32)
    ones = np.ones((1, 2, 2))
    sums = content_sums(field, ones, ones, ones[0], 16)
    assert not any(values.any() for values in sums.values())

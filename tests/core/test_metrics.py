"""Distortion of decoded images, against values computed by hand."""

import numpy as np
import pytest

from rdpipe.core.metrics import error_map, mean_squared_error, pooled, psnr


def test_psnr_of_known_errors():
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert mean_squared_error(black, white) == 255**2
    assert psnr(255**2) == 0
    assert psnr(0) == np.inf
    assert psnr([1.0, 65.025]) == pytest.approx([48.1308, 30], abs=1e-4)


def test_squares_at_the_border_are_cut():
    assert pooled(np.arange(6.0).reshape(2, 3), 2).tolist() == [[2.0, 3.5]]


def test_error_map_has_the_error_of_each_square():
    image, decoded = np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)
    image[0, 0] = [250, 3, 0]
    decoded[0, 0] = [253, 0, 0]  # wraps around in 8 bits
    image[1, 2] = [0, 6, 0]
    assert error_map(image, decoded, 2).tolist() == [[1.5, 6.0]]

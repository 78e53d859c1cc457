"""Distortion of decoded images, against values computed by hand."""

import numpy as np
import pytest

from rdpipe.core.metrics import mean_squared_error, psnr


def test_psnr_of_known_errors():
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert mean_squared_error(black, white) == 255**2
    assert psnr(255**2) == 0
    assert psnr(0) == np.inf
    assert psnr([1.0, 65.025]) == pytest.approx([48.1308, 30], abs=1e-4)

"""Curves against closed forms and a hand-made example."""

import math

import numpy as np
import pytest

from rdpipe.analysis.curves import Curve, at_equal_psnr
from rdpipe.analysis.bd_rate import bd_rate
from rdpipe.analysis.bootstrap import interval, resamples
from rdpipe.core.metrics import mean_squared_error, psnr
from rdpipe.core.errors import InputError

PIXELS = np.array([1000.0, 4000.0])
IMAGES = np.array(["a", "b"])


def curve(bpp, mse, name="c"):
    """Two images that agree, at each quality."""
    bits = np.outer(PIXELS, bpp)
    both = np.tile(mse, (2, 1))
    return Curve("d", "c", name, "achieved", list(range(len(bpp))), bits, both, PIXELS, IMAGES)


def gaussian(bpp, factor=1.0):
    """D = 100 * 2^(-2R): a memoryless Gaussian source at ``factor`` times its rate."""
    bpp = np.asarray(bpp)
    return curve(factor * bpp, 100 * 2.0 ** (-2 * bpp))


def test_psnr_of_known_errors():
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert mean_squared_error(black, white) == 255**2
    assert psnr(255**2) == 0
    assert psnr(0) == np.inf
    assert psnr([1.0, 65.025]) == pytest.approx([48.1308, 30], abs=1e-4)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25])
def test_bd_rate_of_a_scaled_rate_is_the_scale(factor):
    rates = np.linspace(0.2, 1.5, 6)
    assert bd_rate(gaussian(rates), gaussian(rates, factor)) == pytest.approx(100 * (factor - 1))


def test_bd_rate_needs_a_common_range():
    low, high = gaussian([0.1, 0.2, 0.3, 0.4]), gaussian([1.1, 1.2, 1.3, 1.4])
    assert math.isnan(bd_rate(low, high))
    assert math.isnan(bd_rate(low, gaussian([0.2])))


def test_equal_psnr_is_found_on_a_gaussian_source():
    """Levels theta of reverse water-filling: rate 1/2 log2(v/theta), error theta."""
    levels, variance = np.geomspace(0.5, 32, 7), np.array([[100.0], [400.0]])
    bits = PIXELS[:, None] * 0.5 * np.log2(variance / levels)
    mse = np.tile(levels, (2, 1))
    got_bits, got_mse = at_equal_psnr(levels[::-1], bits[:, ::-1], mse[:, ::-1], psnr(3.0).item())
    assert got_mse == pytest.approx([3.0, 3.0])
    assert got_bits == pytest.approx(PIXELS * 0.5 * np.log2(variance[:, 0] / 3.0), rel=1e-6)


def test_a_sweep_that_misses_the_target_is_refused():
    levels = np.array([1.0, 2.0, 4.0])
    with pytest.raises(InputError, match="do not reach 50.00 dB; add lower levels"):
        at_equal_psnr(levels, np.ones((1, 3)), levels[None], 50.0)


def test_rates_are_averaged_over_images_not_pixels():
    one = Curve("d", "c", "c", "achieved", [1], np.array([[1000.0], [8000.0]]),
                np.array([[10.0], [1000.0]]), PIXELS, IMAGES)  # fmt: skip
    bpp, quality = one.points()
    assert bpp == pytest.approx([1.5])
    assert quality == pytest.approx([np.mean([psnr(10.0), psnr(1000.0)])])


def test_bootstrap_interval_of_a_mean_is_that_of_the_central_limit():
    values = np.random.default_rng(0).normal(size=400)
    low, high = interval(values[resamples(400, 2000, 1)].mean(1))
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.1 * half
    )


def test_a_rate_below_zero_has_no_bd_rate():
    """What is left of a codec when more is taken off than it has."""
    pixels, mse = np.array([100.0]), np.array([[100.0, 50.0, 20.0]])
    own = Curve("d", "c", "codec", "achieved", [1, 2, 3], np.array([[50.0, 90.0, 150.0]]), mse, pixels, ["a"])
    left = Curve("d", "c", "left", "achieved", [1, 2, 3], np.array([[-5.0, 40.0, 90.0]]), mse, pixels, ["a"])
    assert np.isnan(bd_rate(own, left)) and np.isfinite(bd_rate(own, own))

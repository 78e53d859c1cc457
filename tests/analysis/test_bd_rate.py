"""BD-rates of curves whose rates differ by a known factor."""

import math

import numpy as np
import pytest
from small_curves import gaussian_curve, make_curve

from rdpipe.analysis.bd_rate import bd_rate, common_share, undefined_reason


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25])
def test_bd_rate_of_a_scaled_rate_is_the_scale(factor):
    rates = np.linspace(0.2, 1.5, 6)
    curves = gaussian_curve(rates), gaussian_curve(rates, factor)
    assert bd_rate(*curves) == pytest.approx(100 * (factor - 1))


def test_bd_rate_needs_a_common_range():
    low, high = gaussian_curve([0.1, 0.2, 0.3, 0.4]), gaussian_curve([1.1, 1.2, 1.3, 1.4])
    assert math.isnan(bd_rate(low, high))
    assert math.isnan(bd_rate(low, gaussian_curve([0.2])))


def test_negative_rate_has_no_bd_rate():
    """A rate is negative if more bits are subtracted than the codec has."""
    image = {"pixels": np.array([100.0]), "images": np.array(["a"])}
    mse = np.array([[100.0, 50.0, 20.0]])
    codec_curve = make_curve(np.array([[50.0, 90.0, 150.0]]), mse, **image)
    reduced = make_curve(np.array([[-5.0, 40.0, 90.0]]), mse, **image)
    assert np.isnan(bd_rate(codec_curve, reduced))
    assert np.isfinite(bd_rate(codec_curve, codec_curve))


@pytest.mark.parametrize(
    ("bpp", "quality", "reason"),
    [
        ([1.0], [30.0], "fewer than two points"),
        ([0.0, 1.0], [29.0, 30.0], "a rate is not positive"),
        ([1.0, 2.0], [30.0, 31.0], "no common range of PSNR"),
        ([1.0, 2.0], [29.5, 31.0], ""),
    ],
)
def test_reason_why_a_bd_rate_is_not_defined(bpp, quality, reason):
    anchor = np.array([1.0, 2.0]), np.array([29.0, 30.0])
    assert undefined_reason(*anchor, np.array(bpp), np.array(quality)) == reason


def test_common_share_is_of_the_range_of_the_anchor():
    anchor = np.array([30.0, 28.0])
    assert common_share(anchor, np.array([29.5, 40.0])) == pytest.approx(0.25)
    assert common_share(anchor, np.array([20.0, 40.0])) == 1
    assert common_share(anchor, np.array([31.0, 40.0])) == 0

"""The slope of a codec's curve against closed forms and the lambdas of the embedded codecs."""

import math

import numpy as np
import pytest

from rdpipe.codecs.compressai import mini_mean_scale
from rdpipe.codecs.linear import klt
from rdpipe.core.errors import InputError
from rdpipe.datasets import gaussian_field, sample
from rdpipe.datasets.image import read_image
from rdpipe.refinement.slope import operating_point, slope_of_curve, slope_of_step


@pytest.mark.parametrize("index", [0, 1, 2])
def test_slope_of_a_power_law(index):
    mse = np.array([100.0, 40.0, 10.0])
    slope = slope_of_curve(3 * mse**-0.7, mse, index)
    assert slope == pytest.approx(0.7 * 3 * mse[index] ** -1.7, rel=1e-9)


def test_curve_that_does_not_fall_is_refused():
    with pytest.raises(InputError, match="state `lambdas`"):
        slope_of_curve([1.0, 2.0], [10.0, 20.0], 0)


def test_slope_of_the_step_at_high_rate():
    """Bpp = -log2(step) + c and MSE = step^2 / 12, so the slope is 6 / (step^2 ln 2)."""
    source = {"rho": 0.5, "sigma": 40.0, "size": 128}
    codec = klt(1, steps=[4.0], **source)
    fields = [read_image(item.file)[0] for item in gaussian_field.find(count=2, **source)]
    slope = slope_of_step(codec, fields)
    assert slope == pytest.approx(6 / (4.0**2 * math.log(2)), rel=0.03)


def test_slope_of_the_curve_is_near_the_lambda_of_the_training():
    images = [read_image(item.file)[0][:256, :256] for item in sample.find()[:3]]
    points = [operating_point(mini_mean_scale(quality), images) for quality in (1, 2, 3)]
    bpp, mse = zip(*points, strict=True)
    assert 0.5 < slope_of_curve(bpp, mse, 1) / 0.005 < 2

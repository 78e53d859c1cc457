"""Measures of the quality of curves, against averages by hand."""

import math

import numpy as np
import pytest
from small_curves import make_curve

from rdpipe.analysis.measures import CURVE_MEASURES, IMAGE_MEASURES
from rdpipe.core.kinds import CurveRole
from rdpipe.core.metrics import MEASURES

MSE = np.array([[10.0, 5.0], [1000.0, 20.0]])
SIMILARITY = np.array([[0.99, 0.999], [0.9, 0.99]])
BITS = np.array([[100.0, 200.0], [100.0, 200.0]])


def decibels(ratio: float) -> float:
    return 10 * math.log10(ratio)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("psnr", [decibels(255**2 / math.sqrt(10 * 1000)), decibels(255**2 / math.sqrt(5 * 20))]),
        ("psnr-of-mean-mse", [decibels(255**2 / 505), decibels(255**2 / 12.5)]),
        ("ms-ssim", [15.0, 25.0]),
    ],
)
def test_quality_of_the_mean_over_images(name, expected):
    curve = make_curve(BITS, MSE, ms_ssim=SIMILARITY)
    assert CURVE_MEASURES[name].of_mean(curve) == pytest.approx(expected)


def test_both_averages_of_the_mse_are_the_psnr_of_one_image():
    curve = make_curve(BITS, MSE, ms_ssim=SIMILARITY)
    for measure in CURVE_MEASURES.values():
        of_one_image = MEASURES[measure.of_one_image](MSE, SIMILARITY)
        assert measure.of_images(curve) == pytest.approx(of_one_image)
    assert {measure.name for measure in IMAGE_MEASURES} == set(MEASURES)


def test_similarity_of_some_curves_is_not_known():
    """Gaussian fields have none, and neither have images with a short side."""
    measure = CURVE_MEASURES["ms-ssim"]
    assert np.isnan(measure.of_mean(make_curve(BITS, MSE))).all()
    small = make_curve(BITS, MSE, ms_ssim=SIMILARITY * [[1], [np.nan]])
    assert np.isnan(measure.of_mean(small)).all()
    assert measure.of_images(small)[0] == pytest.approx([20, 30])


def test_only_the_mean_psnr_of_a_published_curve_is_known():
    """Its MSE is that of the mean PSNR, not the mean MSE."""
    curve = make_curve(BITS, MSE[:1].repeat(2, 0), role=CurveRole.PUBLISHED)
    known = {
        name: np.isfinite(measure.of_mean(curve)).all() for name, measure in CURVE_MEASURES.items()
    }
    assert known == {"psnr": True, "psnr-of-mean-mse": False, "ms-ssim": False}

"""Coverage of the 95 % intervals by simulation, and their values by textbook formulas."""

import numpy as np
import pytest
from scipy import stats
from small_curves import make_curve

from rdpipe.analysis.bd_rate import bd_rate_interval
from rdpipe.analysis.intervals import GROUPS, jackknife_interval, left_out_means, mean_interval
from rdpipe.report import trust_text

SIGMA = 0.5
"""Standard deviation of the logarithm of lognormal values."""
COVERAGE = {5: 0.91, 24: 0.93}
"""Share of all samples whose interval must cover the true value, by number of images."""
MEAN = np.exp(SIGMA**2 / 2)
"""Mean of these values."""
BPP, PSNR = np.array([0.2, 0.4, 0.8, 1.2]), np.array([27.0, 30.0, 33.0, 35.0])
"""Points of a typical image."""


def lognormal(images, samples=100_000, seed=0):
    """Return samples of images, of shape (image, sample)."""
    return np.exp(SIGMA * np.random.default_rng(seed).standard_normal((images, samples)))


def coverage(low, high, value) -> float:
    return float(np.mean((low <= value) & (value <= high)))


def test_mean_interval_is_that_of_student():
    values = np.random.default_rng(0).normal(size=(7, 3))
    low, high = stats.t.interval(0.95, 6, values.mean(0), stats.sem(values))
    assert mean_interval(values) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize("images", [2, 24, GROUPS])
def test_jackknife_of_a_mean_is_its_t_interval(images):
    values = lognormal(images, 4)
    ends = jackknife_interval(values.mean(0), left_out_means(values), images)
    assert np.array(ends) == pytest.approx(np.array(mean_interval(values)))


def test_many_images_are_left_out_in_groups():
    """The length of the interval is that of the t interval, up to the noise of 200 groups."""
    images = 2 * GROUPS + 50
    values = lognormal(images, 400)
    without = left_out_means(values)
    assert len(without) == GROUPS
    last = np.arange(images) % GROUPS == GROUPS - 1
    assert without[-1] == pytest.approx(values[~last].mean(0))
    low, high = jackknife_interval(values.mean(0), without, images)
    t_low, t_high = mean_interval(values)
    assert np.mean(high - low) == pytest.approx(np.mean(t_high - t_low), rel=0.01)


def test_one_image_has_no_interval():
    value = np.array([[1.0, 2.0]])
    assert np.isnan(mean_interval(value)).all()
    assert np.isnan(jackknife_interval(value[0], left_out_means(value), 1)).all()


@pytest.mark.parametrize("images", COVERAGE)
def test_coverage_of_a_mean(images):
    """A percentile bootstrap covers 80 % with 5 images and 91 % with 24."""
    assert coverage(*mean_interval(lognormal(images)), MEAN) >= COVERAGE[images]
    assert f"{100 * COVERAGE[images]:.0f} %" in trust_text.COVERAGE


@pytest.mark.parametrize("images", COVERAGE)
def test_coverage_of_a_root_mean_square(images):
    """On the scale of the logarithm, as in the calibration of scales."""
    squares = lognormal(images)
    left_out = np.log(left_out_means(squares)) / 2
    ends = jackknife_interval(np.log(squares.mean(0)) / 2, left_out, images)
    assert coverage(*np.exp(ends), np.sqrt(MEAN)) >= COVERAGE[images]


@pytest.mark.parametrize("images", COVERAGE)
def test_coverage_of_a_difference_of_paired_means(images):
    """As in the bit/pixel that a curve saves."""
    common, unique = lognormal(images), lognormal(images, seed=1)
    difference = common - 0.8 * common**0.8 * unique**0.6
    assert coverage(*mean_interval(difference), 0.2 * MEAN) >= COVERAGE[images]


def rate_curve(bpp, psnr):
    """Return a curve from the values of each image, of shape (image, quality)."""
    images = len(bpp)
    labels = {"pixels": np.full(images, 1.0), "images": np.arange(images).astype(str)}
    return make_curve(bpp, 255**2 / 10 ** (psnr / 10), **labels)


@pytest.mark.parametrize(("images", "samples"), [(5, 1500), (24, 1000)])
def test_coverage_of_a_bd_rate_of_paired_curves(images, samples):
    """The rates of both curves are lognormal; PSNRs differ between images and curves.

    Means of lognormal values keep their ratio, so the true BD-rate is that of the factor 0.8.
    """
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(samples):
        shared, unique, quality, difference = rng.standard_normal((4, images, 1))
        unique = 0.8 * shared + 0.6 * unique
        anchor = rate_curve(BPP * np.exp(SIGMA * shared), PSNR + quality)
        curve = rate_curve(0.8 * BPP * np.exp(SIGMA * unique), PSNR + quality + 0.3 * difference)
        low, high, reason = bd_rate_interval(anchor, curve)
        assert not reason
        covered += low <= -20 <= high
    assert covered / samples >= COVERAGE[images]

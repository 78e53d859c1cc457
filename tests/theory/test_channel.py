import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from rdpipe.theory import channel_distortion, channel_rate, gaussian_rate

CASES = [(4, 1, 0), (4, 1, 2), (4, 1, -7), (1.05, 1, 0.3), (300, 0.1, 5)]
positive = st.floats(1e-3, 1e3)


@pytest.mark.parametrize("variance, theta, r", CASES)
def test_against_integration(variance, theta, r):
    a = 1 - theta / variance
    sent = stats.norm(a * r, math.sqrt(theta * a))
    expected = stats.norm(0, math.sqrt(variance - theta))
    span = sent.mean() - 12 * sent.std(), sent.mean() + 12 * sent.std()

    def divergence(x):
        return sent.pdf(x) * (sent.logpdf(x) - expected.logpdf(x)) / math.log(2)

    def error(x):
        return sent.pdf(x) * (r - x) ** 2

    for integrand, function in ((divergence, channel_rate), (error, channel_distortion)):
        value, _ = integrate.quad(integrand, *span, epsabs=1e-11, limit=200)
        assert function(variance, theta, r) == pytest.approx(value, rel=1e-9, abs=1e-10)


@given(positive, positive)
def test_matched_mean_is_the_familiar_form(variance, theta):
    # both are linear in r^2, so r^2 = v stands for E r^2 = v
    r = math.sqrt(variance)
    rate = channel_rate(variance, theta, r)
    assert rate == pytest.approx(gaussian_rate(variance, theta), rel=1e-9, abs=1e-12)
    assert channel_distortion(variance, theta, r) == pytest.approx(min(variance, theta), rel=1e-9)


@given(positive, positive, positive)
def test_mismatched_rate_bounds_rate_distortion(true, assumed, theta):
    r = math.sqrt(true)
    rate = channel_rate(assumed, theta, r)
    assert rate >= 0
    assert rate >= gaussian_rate(true, channel_distortion(assumed, theta, r)) - 1e-9


@given(positive, positive, positive, st.floats(0, 1e3))
def test_monotone_in_theta(variance, theta, other, r):
    """The rate falls for any r; the distortion rises where r^2 >= v/2, so wherever E r^2 = v."""
    low, high = sorted((theta, other))
    assert channel_rate(variance, low, r) >= channel_rate(variance, high, r) * (1 - 1e-12)
    if r**2 >= variance / 2:
        distortions = channel_distortion(variance, [low, high], r)
        assert distortions[0] <= distortions[1] * (1 + 1e-12)


def test_below_the_level_nothing_is_sent():
    variance, theta = np.array([1.0, 1.0, 0.0, 0.0]), np.array([1.0, math.inf, 2.0, 0.0])
    assert channel_rate(variance, theta, 3.0).tolist() == [0] * 4
    assert channel_distortion(variance, theta, 3.0).tolist() == [9] * 4


def test_level_zero():
    assert channel_rate(1.0, 0.0, 3.0) == math.inf
    assert channel_distortion(1.0, 0.0, 3.0) == 0


def test_broadcasts():
    rate = channel_rate(np.ones((3, 1)), 0.5, np.zeros(4))
    assert rate.shape == (3, 4) and rate.dtype == np.float64
    assert isinstance(channel_distortion(1, 2, 3), float)


def test_errors():
    with pytest.raises(ValueError, match="theta contains -1.0; expected numbers >= 0"):
        channel_rate(1, -1, 0)
    with pytest.raises(ValueError, match="variance contains inf; expected finite numbers >= 0"):
        channel_distortion(math.inf, 1, 0)
    with pytest.raises(ValueError, match="r contains nan; expected real numbers"):
        channel_rate(1, 1, [0, math.nan])

import math

import numpy as np
import pytest
from scipy import integrate, stats

from rdpipe.theory import mean_gain, variance_mismatch


def code_length(true, assumed):
    """E -log2 of N(0, assumed) under N(0, true), by numerical integration."""
    scale = math.sqrt(true)

    def integrand(r):
        log_density = stats.norm.logpdf(r, scale=math.sqrt(assumed))
        return -stats.norm.pdf(r, scale=scale) * log_density / math.log(2)

    return integrate.quad(integrand, -12 * scale, 12 * scale, epsabs=1e-12, limit=200)[0]


@pytest.mark.parametrize("true, assumed", [(1, 1), (1, 4), (4, 1), (0.3, 0.5), (2, 0.02)])
def test_mismatch_is_extra_code_length(true, assumed):
    loss = code_length(true, assumed) - code_length(true, true)
    assert variance_mismatch(true / assumed) == pytest.approx(loss, abs=1e-9)


@pytest.mark.parametrize("c", [0.5, 0.9, 2.0])
def test_scaled_sigma(c):
    # SCIENCE.md, section 6, case 3
    expected = (c**-2 - 1) / (2 * math.log(2)) + math.log2(c)
    assert variance_mismatch(c**-2) == pytest.approx(expected, rel=1e-12)


def test_small_mismatch():
    x = np.array([-1e-3, 1e-4, 1e-5])
    # x^2 / (4 ln 2) (1 - 2 x / 3 ...)
    expected = x**2 / (4 * math.log(2)) * (1 - 2 * x / 3 + x**2 / 2)
    np.testing.assert_allclose(variance_mismatch(1 + x), expected, rtol=1e-9)
    assert variance_mismatch(1) == 0 and variance_mismatch(0) == math.inf
    assert (variance_mismatch(np.linspace(1e-3, 5, 1000)) >= 0).all()


@pytest.mark.parametrize("exponent", [-3, -12, -17, -300])
def test_tiny_ratio(exponent):
    # (x - 1 - ln x) / (2 ln 2)
    expected = (10.0**exponent - 1 - exponent * math.log(10)) / (2 * math.log(2))
    assert variance_mismatch(10.0**exponent) == pytest.approx(expected, rel=1e-14)


def test_mean_gain_is_saved_code_length():
    # a mean of correlation rho with y: E r^2 = (1 - rho^2) E y^2
    saved = code_length(2.0, 2.0) - code_length(2.0 * 0.19, 2.0 * 0.19)
    assert mean_gain(2.0, 2.0 * (1 - 0.9**2)) == pytest.approx(saved, abs=1e-9)
    assert mean_gain([1, 1, 0, 1], [1, 4, 0, 0]).tolist() == [0, -1, 0, math.inf]


def test_errors():
    with pytest.raises(ValueError, match="ratio contains -0.5; expected finite numbers >= 0"):
        variance_mismatch([1, -0.5])
    with pytest.raises(ValueError, match="residual_second_moment contains -1.0"):
        mean_gain(1, -1)

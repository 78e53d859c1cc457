import math

import numpy as np
import pytest

from rdpipe.theory import gaussian_rate, shannon_lower_bound


def entropy(variance):
    return 0.5 * math.log2(2 * math.pi * math.e * variance)


def test_gaussian_rate():
    assert gaussian_rate([1, 4, 0.1, 0.25], 0.25).tolist() == [1, 2, 0, 0]
    assert gaussian_rate([0, 0, 1], [0, 1, 0]).tolist() == [0, 0, math.inf]


def test_gaussian_rate_is_the_least_information_of_a_jointly_gaussian_channel():
    # x_hat = b x + n: I = 1/2 log2(1 + b^2 v / s), D = (1 - b)^2 v + s
    v = 3.0
    b, s = np.meshgrid(np.linspace(0.01, 1, 400), np.linspace(1e-3, 3, 400))
    information = 0.5 * np.log2(1 + b**2 * v / s)
    excess = information - gaussian_rate(v, (1 - b) ** 2 * v + s)
    assert -1e-12 < excess.min() < 1e-4


def test_shannon_lower_bound():
    distortion = np.array([0.01, 0.3, 1, 2])
    # tight for a Gaussian, 0 beyond its variance
    np.testing.assert_allclose(
        shannon_lower_bound(entropy(1.0), distortion), gaussian_rate(1, distortion), atol=1e-15
    )
    # uniform on [0, 1]: h = 0, so R(D) >= -1/2 log2(2 pi e D)
    assert shannon_lower_bound(0, 0.01) == pytest.approx(-entropy(0.01))
    assert shannon_lower_bound(0, 0) == math.inf
    assert shannon_lower_bound(-math.inf, 0.01) == 0
    assert shannon_lower_bound(-math.inf, 0) == 0


def test_errors():
    with pytest.raises(ValueError, match="variance contains -1.0; expected finite numbers >= 0"):
        gaussian_rate(-1, 1)
    with pytest.raises(ValueError, match="distortion contains nan"):
        gaussian_rate(1, math.nan)
    with pytest.raises(ValueError, match="differential_entropy contains nan; expected real"):
        shannon_lower_bound(math.nan, 1)

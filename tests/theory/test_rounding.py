import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from rdpipe.theory import gaussian_rate, rounding_distortion, rounding_rate

# SCIENCE.md, section 2.3: s, H, D, R(D), gap; midpoint reconstruction, unit step
ANCHORS = [
    (0.3, 0.5504, 0.06621, 0.2215, 0.3290),
    (0.5, 1.2412, 0.08260, 0.7988, 0.4424),
    (1, 2.1048, 0.08333, 1.7925, 0.3124),
    (2, 3.0620, 0.08333, 2.7925, 0.2695),
    (4, 4.0508, 0.08333, 3.7925, 0.2584),
]
SPACE_FILLING_LOSS = 0.5 * math.log2(math.pi * math.e / 6)
# both sides of every change of method, and both ends
SIGMAS = [1e-3, 0.02, 0.1, 0.3, 0.499999, 0.5, 0.7, 1, 1.999999, 2, 3, 10, 100, 1e4]


def cells(sigma):
    """Mass, first and second moment about the middle of every cell, by 16-point quadrature.

    Cells are cut into pieces shorter than sigma / 2, and so that none reaches beyond 12 sigma.
    """
    count = math.ceil(12 * sigma + 1)
    pieces = max(1, math.ceil(2 / sigma)) if sigma > 0.02 else 4000
    nodes, weights = np.polynomial.legendre.leggauss(16)
    edges = np.linspace(-0.5, 0.5, pieces + 1)
    u = (edges[:-1, None] + (nodes + 1) / (2 * pieces)).ravel()
    w = np.tile(weights / (2 * pieces), pieces)
    k = np.arange(count + 1)[:, None]
    density = w * stats.norm.pdf(k + u, scale=sigma)
    twice = np.where(k[:, 0] == 0, 1.0, 2.0)
    return twice, density.sum(-1), (density * u).sum(-1), (density * u * u).sum(-1)


@pytest.mark.parametrize("sigma, rate, distortion, bound, gap", ANCHORS)
def test_anchor_table(sigma, rate, distortion, bound, gap):
    limit = gaussian_rate(sigma**2, rounding_distortion(sigma))
    assert rounding_rate(sigma) == pytest.approx(rate, abs=5e-5)
    assert rounding_distortion(sigma) == pytest.approx(distortion, abs=5e-6)
    assert limit == pytest.approx(bound, abs=5e-5)
    assert rounding_rate(sigma) - limit == pytest.approx(gap, abs=5e-5)


def test_anchor_centroid():
    limit = gaussian_rate(0.25, rounding_distortion(0.5, reconstruction="centroid"))
    assert rounding_rate(0.5) - limit == pytest.approx(0.251, abs=5e-4)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_against_quadrature_of_every_cell(sigma):
    twice, mass, first, second = cells(sigma)
    assert math.fsum(twice * mass) == pytest.approx(1, abs=1e-13)
    logs = np.log2(mass, out=np.zeros_like(mass), where=mass > 0)
    rate = -math.fsum(twice * mass * logs)
    midpoint = math.fsum(twice * second)
    shift = np.divide(first**2, mass, out=np.zeros_like(mass), where=mass > 0)
    centroid = midpoint - math.fsum(twice * shift)
    assert rounding_rate(sigma) == pytest.approx(rate, rel=1e-13, abs=1e-13)
    assert rounding_distortion(sigma) == pytest.approx(midpoint, rel=1e-12, abs=1e-14)
    assert rounding_distortion(sigma, reconstruction="centroid") == pytest.approx(
        centroid, rel=1e-12, abs=1e-14
    )


@pytest.mark.parametrize("sigma", [0.03, 0.05, 0.1])
def test_tiny_rates_keep_their_digits(sigma):
    outside = math.erfc(0.5 / sigma / math.sqrt(2))
    side = outside / 2  # all of it in cells +-1, to below 1e-20 of itself
    nats = -math.log1p(-outside) * (1 - outside) - 2 * side * math.log(side)
    assert rounding_rate(sigma) == pytest.approx(nats / math.log(2), rel=1e-12, abs=0)


def test_high_rate():
    sigma = 1e4
    exact = 0.5 * math.log2(2 * math.pi * math.e * sigma**2)
    # h(Gaussian + uniform) - h(Gaussian) = 1 / (24 ln 2 sigma^2) to first order
    assert rounding_rate(sigma) - exact == pytest.approx(1 / (24 * math.log(2) * 1e8), abs=1e-14)
    gap = rounding_rate(sigma) - gaussian_rate(sigma**2, rounding_distortion(sigma))
    assert gap == pytest.approx(SPACE_FILLING_LOSS, abs=1e-9)
    midpoint, centroid = rounding_distortion(sigma), rounding_distortion(sigma, 1, "centroid")
    assert midpoint == 1 / 12
    assert midpoint - centroid == pytest.approx(1 / (144 * sigma**2), rel=1e-5)


def test_distortion_by_adaptive_integration():
    def error(x):
        return (x - round(x)) ** 2 * stats.norm.pdf(x, scale=0.4)

    expected, _ = integrate.quad(error, -5, 5, points=np.arange(-4.5, 5), epsabs=1e-13, limit=200)
    assert rounding_distortion(0.4) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("switch", [0.5, 2.0])
def test_methods_meet(switch):
    below, above = switch * (1 - 1e-15), switch * (1 + 1e-15)
    assert rounding_rate(below) == pytest.approx(rounding_rate(above), abs=4e-15)
    for reconstruction in ("midpoint", "centroid"):
        assert rounding_distortion(below, 1, reconstruction) == pytest.approx(
            rounding_distortion(above, 1, reconstruction), abs=1e-14
        )


@given(st.floats(1e-3, 1e4), st.floats(1e-3, 1e3))
def test_bounds(sigma, step):
    rate = rounding_rate(sigma, step)
    midpoint = rounding_distortion(sigma, step)
    centroid = rounding_distortion(sigma, step, "centroid")
    slack = 1 + 1e-12
    assert centroid <= midpoint * slack and midpoint <= sigma**2 * slack
    assert centroid <= step**2 / 12 * slack
    assert rate >= gaussian_rate(sigma**2, centroid) - 1e-12
    assert rounding_rate(sigma * 1.01, step) >= rate


@given(st.floats(0, 1e4), st.floats(1e-3, 1e3))
def test_only_the_ratio_counts(sigma, step):
    assert rounding_rate(sigma * step, step) == pytest.approx(rounding_rate(sigma), rel=1e-9)
    assert rounding_distortion(sigma * step, step) == pytest.approx(
        rounding_distortion(sigma) * step**2, rel=1e-9
    )


def test_ends_are_defined():
    assert rounding_rate(0) == 0 and rounding_rate(math.inf) == math.inf
    for reconstruction in ("midpoint", "centroid"):
        assert rounding_distortion(0, 2, reconstruction) == 0
        assert rounding_distortion(math.inf, 2, reconstruction) == pytest.approx(4 / 12)


def test_broadcasts():
    sigma, step = np.array([[0.0], [0.4], [3.0]]), np.array([0.5, 1.0])
    rates = rounding_rate(sigma, step)
    assert rates.shape == (3, 2) and rates.dtype == np.float64
    assert rates[1, 0] == rounding_rate(0.4, 0.5)
    distortions = rounding_distortion(sigma, step, "centroid")
    assert distortions[2, 1] == rounding_distortion(3.0, 1.0, "centroid")


def test_errors():
    with pytest.raises(ValueError, match=r"sigma contains -1.0; expected numbers >= 0"):
        rounding_rate([1, -1])
    with pytest.raises(ValueError, match=r"sigma contains nan"):
        rounding_distortion(np.nan)
    with pytest.raises(ValueError, match=r"step contains 0.0; expected finite numbers > 0"):
        rounding_rate(1, 0)
    with pytest.raises(ValueError, match=r"'median'; expected 'midpoint' or 'centroid'"):
        rounding_distortion(1, reconstruction="median")

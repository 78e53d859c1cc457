import math

import numpy as np
import pytest

from rdpipe.theory import blahut_arimoto, gaussian_rate, shannon_lower_bound

SPACING = 0.1
GRID = SPACING * np.arange(-80, 81)
DENSITIES = {
    "gaussian": np.exp(-(GRID**2) / 2),
    "laplacian": np.exp(-math.sqrt(2) * np.abs(GRID)),
    "mixture": np.exp(-2 * (GRID - 1.5) ** 2) + np.exp(-2 * (GRID + 1.5) ** 2),
}


def source(name):
    """Samples of the density on the grid, its variance and its differential entropy."""
    pmf = DENSITIES[name] / DENSITIES[name].sum()
    return pmf, pmf @ GRID**2, -pmf @ np.log2(pmf / SPACING)


def squared_error(slope_distortion):
    return (GRID[:, None] - GRID) ** 2, 1 / (2 * math.log(2) * slope_distortion)


def binary_entropy(p):
    return -p * math.log2(p) - (1 - p) * math.log2(1 - p)


@pytest.mark.parametrize("p", [0.5, 0.2])
@pytest.mark.parametrize("distortion", [0.01, 0.15])
def test_biased_coin(p, distortion):
    slope = math.log2(1 / distortion - 1)
    point = blahut_arimoto([p, 1 - p], [[0, 1], [1, 0]], slope, tolerance=1e-10)
    assert point.gap <= 1e-10
    assert point.distortion == pytest.approx(distortion, abs=1e-7)
    rate = binary_entropy(p) - binary_entropy(point.distortion)
    assert -1e-12 < point.rate - rate <= point.gap + 1e-12


def test_erasures():
    # fair bit, reproduction 0, 1 or "unknown" at distortion 1/2: unknown does not help
    d = np.array([[0, 1, 0.5], [1, 0, 0.5]])
    point = blahut_arimoto([0.5, 0.5], d, 3.0, tolerance=1e-9)
    assert point.rate == pytest.approx(1 - binary_entropy(1 / 9), abs=1e-6)
    assert point.reproduction[2] < 1e-3


def test_rate_is_the_mutual_information_at_the_distortion():
    rng = np.random.default_rng(0)
    p, d = rng.dirichlet(np.ones(6)), rng.random((6, 4)) + 0.2
    point = blahut_arimoto(p, d, slope=5.0, tolerance=1e-12)
    joint = p[:, None] * point.reproduction * np.exp2(-5 * d)
    joint *= (p / joint.sum(1))[:, None]
    marginal = joint.sum(0)
    information = (joint * np.log2(joint / np.outer(p, marginal))).sum()
    assert point.rate == pytest.approx(information, abs=1e-6)
    assert point.distortion == pytest.approx((joint * d).sum(), abs=1e-6)
    # no random channel does better on rate + slope * distortion
    channels = rng.dirichlet(np.ones(4), size=(2000, 6))
    joints = p[:, None] * channels
    outputs = joints.sum(1, keepdims=True)
    information = (joints * np.log2(channels / outputs)).sum((1, 2))
    lagrangian = information + 5 * (joints * d).sum((1, 2))
    assert (lagrangian >= point.rate + 5 * point.distortion - 1e-12).all()


@pytest.mark.parametrize("distortion", [0.05, 0.25, 0.7])
def test_gaussian_is_its_closed_form(distortion):
    # SCIENCE.md, section 6, case 4
    pmf, variance, _ = source("gaussian")
    point = blahut_arimoto(pmf, *squared_error(distortion), tolerance=1e-6)
    assert point.gap <= 1e-6
    assert point.distortion == pytest.approx(distortion, abs=1e-5)
    assert point.rate == pytest.approx(gaussian_rate(variance, point.distortion), abs=1e-6)


@pytest.mark.parametrize("name", ["laplacian", "mixture"])
@pytest.mark.parametrize("distortion", [0.1, 0.5])
def test_between_shannon_and_gaussian_bounds(name, distortion):
    # SCIENCE.md, section 6, case 4
    pmf, variance, entropy = source(name)
    point = blahut_arimoto(pmf, *squared_error(distortion), tolerance=1e-4)
    assert point.gap <= 1e-4
    assert point.rate >= shannon_lower_bound(entropy, point.distortion)
    assert point.rate < gaussian_rate(variance, point.distortion) - 0.05


def test_certificate_holds_when_stopped_early():
    pmf, _, _ = source("laplacian")
    d, slope = squared_error(0.25)
    with pytest.warns(RuntimeWarning, match="after 20 iterations, tolerance 1e-05"):
        early = blahut_arimoto(pmf, d, slope, max_iterations=20)
    late = blahut_arimoto(pmf, d, slope, tolerance=1e-3)
    assert early.iterations == 20 and early.gap > late.gap
    lagrangians = [point.rate + slope * point.distortion for point in (early, late)]
    assert lagrangians[0] - early.gap <= lagrangians[1] <= lagrangians[0]


def test_offset_and_impossible_letters():
    d = np.array([[0.0, 1.0], [1.0, 0.0], [50.0, 50.0]])
    point = blahut_arimoto([0.5, 0.5, 0.0], d, slope=3)
    shifted = blahut_arimoto([0.5, 0.5, 0.0], d + 1000, slope=3)
    assert shifted.rate == pytest.approx(point.rate, abs=1e-9)
    assert shifted.distortion == pytest.approx(point.distortion + 1000, abs=1e-9)


def test_steep_slope_is_lossless():
    point = blahut_arimoto([0.1, 0.2, 0.7], 1 - np.eye(3), slope=1e4)
    assert point.distortion == 0
    assert point.rate == pytest.approx(-np.array([0.1, 0.2, 0.7]) @ np.log2([0.1, 0.2, 0.7]))


def test_errors():
    d = [[0, 1], [1, 0]]
    with pytest.raises(ValueError, match=r"pmf sums to 0.9; expected 1 within 1e-9"):
        blahut_arimoto([0.5, 0.4], d, 1)
    with pytest.raises(ValueError, match="pmf contains -0.5"):
        blahut_arimoto([1.5, -0.5], d, 1)
    with pytest.raises(ValueError, match=r"shape \(3,\) and distortion \(2, 2\)"):
        blahut_arimoto([0.2, 0.3, 0.5], d, 1)
    with pytest.raises(ValueError, match="slope contains 0.0; expected finite numbers > 0"):
        blahut_arimoto([0.5, 0.5], d, 0)

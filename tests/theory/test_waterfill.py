import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq, minimize

from rdpipe.theory import field_rate, gaussian_rate, reverse_waterfill

seeds = st.integers(0, 2**32 - 1)
fractions = st.floats(1e-6, 1 - 1e-6)


def problem(seed, size=None):
    """Variances over several decades, some zero, some equal; weights likewise."""
    rng = np.random.default_rng(seed)
    size = size or rng.integers(1, 60)
    variances = 10 ** rng.uniform(-6, 3, size) * (rng.random(size) > 0.1)
    variances[: size // 3] = variances[0]
    weights = 10 ** rng.uniform(-2, 2, size) * (rng.random(size) > 0.1)
    return variances, weights


def exact_level(u, distortion):
    """The level in rational arithmetic, trying every number of components under water."""
    u, rest = sorted(map(Fraction, u)), Fraction(distortion)
    for under, value in enumerate(u):
        level = rest / (len(u) - under)
        if level <= value:
            return level
        rest -= value
    return u[-1]


@given(seeds, fractions)
def test_level_is_exact(seed, fraction):
    variances, weights = problem(seed)
    u = variances * weights
    distortion = fraction * u.sum()
    theta = reverse_waterfill(variances, distortion, weights).theta
    assert theta == pytest.approx(float(exact_level(u, distortion)), rel=1e-15, abs=0)


@pytest.mark.parametrize("distance", [1e-3, 1e-9, 1e-12])
def test_level_is_exact_where_sums_cancel(distance):
    # one component above water, 99 999 below: theta has 1e5 times the relative error of a sum
    u = np.append(np.random.default_rng(0).random(99_999), 1.0)
    distortion = math.fsum(u) - distance
    theta = reverse_waterfill(u, distortion).theta
    assert theta == pytest.approx(float(exact_level(u, distortion)), rel=1e-15, abs=0)


def test_level_is_exact_in_a_crowd():
    # twenty components so close to the level that the running sum cannot tell them apart
    crowd = 1 + 1e-13 * np.arange(20)
    u = np.append(np.random.default_rng(0).random(99_980), crowd)
    distortion = math.fsum(np.minimum(u, crowd[6]))
    theta = reverse_waterfill(u, distortion).theta
    assert theta == pytest.approx(float(exact_level(u, distortion)), rel=1e-15, abs=0)


@given(seeds, fractions)
def test_distortions_sum_to_the_target(seed, fraction):
    variances, weights = problem(seed)
    distortion = fraction * (variances * weights).sum()
    optimum = reverse_waterfill(variances, distortion, weights)
    assert (weights * optimum.distortions).sum() == pytest.approx(distortion, rel=1e-12, abs=0)
    assert (optimum.distortions <= variances * (1 + 1e-15)).all()
    assert optimum.rate == pytest.approx(optimum.rates.sum(), rel=1e-15)
    np.testing.assert_allclose(
        optimum.rates, gaussian_rate(variances, optimum.distortions), atol=1e-12
    )


@given(seeds, fractions)
def test_agrees_with_root_finding(seed, fraction):
    variances, _ = problem(seed)
    distortion = fraction * variances.sum()
    if distortion == 0:
        return

    def excess(level):
        return np.minimum(variances, level).sum() - distortion

    theta = brentq(excess, 0, variances.max(), xtol=1e-14)
    level = reverse_waterfill(variances, distortion).theta
    assert np.minimum(variances, level).sum() == pytest.approx(distortion, rel=1e-12)
    assert level == pytest.approx(theta, rel=1e-6, abs=1e-13)


@given(seeds, fractions)
def test_no_feasible_perturbation_is_better(seed, fraction):
    variances, weights = problem(seed, size=6)
    optimum = reverse_waterfill(variances, fraction * (variances * weights).sum(), weights)
    coded = (variances * weights) > 0
    v, w, d = variances[coded], weights[coded], optimum.distortions[coded]
    rng = np.random.default_rng(seed)
    for scale in (1e-3, 0.1, 1.0):
        other = np.clip(d * np.exp(scale * rng.normal(size=(200, d.size))), 0, v)
        is_feasible = (w * other).sum(-1) <= (w * d).sum()
        rates = gaussian_rate(v, other[is_feasible]).sum(-1)
        assert (rates >= optimum.rate - 1e-9).all()


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_constrained_optimisation(seed):
    rng = np.random.default_rng(seed)
    v, w = rng.uniform(0.1, 4, 5), rng.uniform(0.2, 3, 5)
    distortion = 0.4 * (v * w).sum()
    solution = minimize(
        lambda d: 0.5 * np.log2(v / d).sum(),
        0.4 * v,
        bounds=[(1e-6, variance) for variance in v],
        constraints={"type": "eq", "fun": lambda d: (w * d).sum() - distortion},
        method="SLSQP",
        options={"ftol": 1e-13, "maxiter": 500},
    )
    optimum = reverse_waterfill(v, distortion, w)
    assert optimum.rate == pytest.approx(solution.fun, abs=1e-7)
    np.testing.assert_allclose(optimum.distortions, solution.x, rtol=1e-3)


@given(seeds, fractions, fractions)
def test_more_distortion_raises_the_level(seed, first, second):
    variances, weights = problem(seed)
    total = (variances * weights).sum()
    low, high = (reverse_waterfill(variances, f * total, weights) for f in sorted((first, second)))
    assert low.theta <= high.theta and low.rate >= high.rate


@given(seeds, fractions)
def test_order_does_not_matter(seed, fraction):
    variances, weights = problem(seed)
    distortion = fraction * (variances * weights).sum()
    order = np.random.default_rng(seed).permutation(variances.size)
    plain = reverse_waterfill(variances, distortion, weights)
    shuffled = reverse_waterfill(variances[order], distortion, weights[order])
    assert shuffled.theta == plain.theta
    np.testing.assert_array_equal(shuffled.rates, plain.rates[order])
    np.testing.assert_array_equal(shuffled.distortions, plain.distortions[order])


@given(seeds, fractions)
def test_weights_scale_the_problem(seed, fraction):
    variances, weights = problem(seed)
    distortion = fraction * (variances * weights).sum()
    weighted = reverse_waterfill(variances, distortion, weights)
    scaled = reverse_waterfill(variances * weights, distortion)
    assert weighted.theta == scaled.theta
    np.testing.assert_array_equal(weighted.rates, scaled.rates)
    np.testing.assert_allclose(weights * weighted.distortions, scaled.distortions, rtol=1e-14)


def test_ends_are_defined():
    nothing = reverse_waterfill([1.0, 4.0, 0.0], 0)
    assert nothing.theta == 0 and nothing.rate == math.inf
    assert nothing.rates.tolist() == [math.inf, math.inf, 0]
    assert nothing.distortions.tolist() == [0, 0, 0]
    for distortion in (5.0, 6.0, math.inf):
        everything = reverse_waterfill([1.0, 4.0, 0.0], distortion)
        assert everything.theta == 4 and everything.rate == 0
        assert everything.distortions.tolist() == [1, 4, 0]


@pytest.mark.parametrize("distortion", [0.0, 1.0])
def test_nothing_to_code(distortion):
    for variances, weights in (([0.0, 0.0], None), ([3.0, 2.0], 0.0)):
        optimum = reverse_waterfill(variances, distortion, weights)
        assert optimum.theta == 0 and optimum.rate == 0
        assert optimum.distortions.tolist() == variances


def test_weight_zero_is_not_coded():
    optimum = reverse_waterfill([4.0, 4.0], 1.0, [0.0, 2.0])
    assert optimum.theta == 1 and optimum.rates.tolist() == [0, 1.5]
    assert optimum.distortions.tolist() == [4, 0.5]


def test_shape_is_kept():
    optimum = reverse_waterfill(np.ones((2, 3, 4)), 12.0, np.array([1.0, 2.0, 3.0])[:, None])
    assert optimum.rates.shape == optimum.distortions.shape == (2, 3, 4)
    np.testing.assert_allclose(optimum.distortions[0, :, 0], 0.5 / np.array([1, 2, 3]))


def test_distortions_of_a_million_components_have_the_given_sum():
    """The time that this takes is a benchmark (``benchmarks/waterfill.py``)."""
    u = np.random.default_rng(0).exponential(size=1_000_000)
    optimum = reverse_waterfill(u, 0.3 * u.sum())
    assert math.fsum(optimum.distortions) == pytest.approx(0.3 * u.sum(), rel=1e-13)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.95])
def test_autoregressive_field(rho):
    # SCIENCE.md, section 6, case 2: below the spectrum's minimum R(D) depends on the innovation
    frequency = 2 * np.pi * np.arange(1024) / 1024
    line = (1 - rho**2) / np.abs(1 - rho * np.exp(-1j * frequency)) ** 2
    assert line.mean() == pytest.approx(1)
    distortion = 0.9 * line.min()
    expected = 0.5 * math.log2((1 - rho**2) / distortion)
    assert field_rate(line, distortion) == pytest.approx(expected, abs=1e-12)
    plane = 3 * np.outer(line, line)
    distortion = 0.9 * plane.min()
    expected = 0.5 * math.log2(3 * (1 - rho**2) ** 2 / distortion)
    assert field_rate(plane, distortion) == pytest.approx(expected, abs=1e-12)


def test_autoregressive_field_at_high_distortion():
    # level 1: the spectrum is above it up to cos(edge) = rho, and its tail has a closed form
    rho = 0.9
    edge = math.acos(rho)
    tail = 1 - 2 / math.pi * math.atan((1 + rho) / (1 - rho) * math.tan(edge / 2))

    def spectrum(frequency):
        return (1 - rho**2) / (1 - 2 * rho * np.cos(frequency) + rho**2)

    rate, _ = quad(lambda w: 0.5 * math.log2(spectrum(w)) / math.pi, 0, edge, epsabs=1e-12)
    sampled = spectrum(2 * np.pi * np.arange(1 << 16) / (1 << 16))
    assert field_rate(sampled, edge / math.pi + tail) == pytest.approx(rate, abs=1e-8)


def test_errors():
    with pytest.raises(ValueError, match="variances contains -1.0; expected finite numbers >= 0"):
        reverse_waterfill([1, -1], 1)
    with pytest.raises(ValueError, match="variances contains nan"):
        reverse_waterfill([1, np.nan], 1)
    with pytest.raises(ValueError, match="distortion contains -2.0; expected numbers >= 0"):
        reverse_waterfill([1, 1], -2)
    with pytest.raises(ValueError, match="weights contains -1.0"):
        reverse_waterfill([1, 1], 1, [1, -1])
    with pytest.raises(ValueError, match=r"shape \(0,\); expected at least one component"):
        reverse_waterfill([], 1)
    with pytest.raises(ValueError, match="spectrum contains -1.0"):
        field_rate([1, -1], 1)
    with pytest.raises(ValueError, match="distortion contains -3.0"):
        field_rate([1, 1], -3)

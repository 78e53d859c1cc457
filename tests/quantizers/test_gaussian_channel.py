"""The test channel against closed forms, theory and numerical integration."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from rdpipe import theory
from rdpipe.quantizers.base import TAIL_BITS
from rdpipe.quantizers.scalar import Rounding
from rdpipe.quantizers.test_channel import TestChannel

ROUNDING, CHANNEL = Rounding(), TestChannel()
ANCHORS = [(0.3, 0.5504, 0.06621, 0.2215), (0.5, 1.2412, 0.08260, 0.7988),
           (1, 2.1048, 0.08333, 1.7925), (2, 3.0620, 0.08333, 2.7925)]  # fmt: skip


def double(value):
    return torch.tensor([value], dtype=torch.float64)


def gaussian(sigma, count=400_000, seed=0):
    """Return residuals at the quantiles of N(0, sigma^2): a sample without sampling noise."""
    return torch.from_numpy(norm.ppf((np.arange(count) + 0.5) / count) * sigma)


@pytest.mark.parametrize("sigma, entropy, distortion, rate", ANCHORS)
def test_rates_and_distortions_of_a_gaussian_match_the_table(sigma, entropy, distortion, rate):
    """The figures are for unit step and midpoint reconstruction (science.md, section 2.3)."""
    r, v = gaussian(sigma), torch.tensor(sigma**2, dtype=torch.float64)
    assert ROUNDING.code(r, v, 1.0).bits.mean() == pytest.approx(entropy, abs=2e-4)
    assert ROUNDING.code(r, v, 1.0).distortion.mean() == pytest.approx(distortion, abs=2e-5)
    # with the true variance, the channel at theta = D has the rate 1/2 log2(v/D) and distortion D
    assert CHANNEL.code(r, v, distortion).bits.mean() == pytest.approx(rate, abs=2e-4)
    assert CHANNEL.code(r, v, distortion).distortion.mean() == pytest.approx(distortion, rel=1e-4)


@given(st.floats(-40, 40), st.floats(0.05, 50), st.floats(0.1, 3))
def test_rounding_rate_matches_the_probability_of_the_cell(r, sigma, step):
    q = step * (double(r) / step).round().item()
    # the nearer tail, so that scipy does not subtract 1 - 1
    a, b = sorted((abs(q) - step / 2, abs(q) + step / 2))
    probability = norm.sf(a / sigma) - norm.sf(b / sigma)
    if probability > 1e-290:
        got = ROUNDING.code(double(r), double(sigma**2), step).bits
        assert got.item() == pytest.approx(-math.log2(probability), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0, 30.0, 1e3, 1e5])
def test_rounding_rate_is_accurate_on_both_sides_of_the_log_domain(sigma):
    """It is compared with 50 digits, from 0 through the switch at TAIL_BITS to 38 sigma."""
    index = np.unique(np.round(np.linspace(0, max(3, 38 * sigma), 60)))
    index = np.concatenate([-index[::-1], index])
    got = ROUNDING.code(torch.from_numpy(index), double(sigma**2), 1.0).bits
    with mpmath.workdps(50):
        s = mpmath.sqrt(mpmath.mpf(double(sigma**2).item()))
        near = [abs(mpmath.mpf(float(k))) for k in index]
        mass = [
            mpmath.erfc((k - 0.5) / s / mpmath.sqrt(2))
            - mpmath.erfc((k + 0.5) / s / mpmath.sqrt(2))
            for k in near
        ]
        exact = [float(1 - mpmath.log(m, 2)) for m in mass]
    # the accuracy of a difference of two numbers of 53 bits, up to 38 and 1/sigma apart
    np.testing.assert_allclose(got, exact, rtol=2e-13, atol=2e-14 * max(1, sigma))
    assert got.min() < TAIL_BITS < got.max() or sigma > 100


def test_rounding_rate_of_nan_is_nan():
    assert ROUNDING.code(double(math.nan), double(1.0), 1.0).bits.isnan().all()


def test_rounding_rate_stays_finite_where_probabilities_underflow():
    rate = ROUNDING.code(double(1000.0), double(0.01), 1.0).bits
    # the tail of a Gaussian: -log2 Q(x) ~ x^2 / (2 ln 2) + log2(x sqrt(2 pi))
    x = 999.5 / 0.1
    tail = x * x / (2 * math.log(2)) + math.log2(x * math.sqrt(2 * math.pi))
    assert rate.item() == pytest.approx(tail, rel=1e-6)


@given(st.floats(-20, 20), st.floats(0.01, 30), st.floats(0.001, 40))
def test_channel_agrees_with_theory(r, v, theta):
    arrays = np.array([v]), theta, np.array([r])
    element = double(r), double(v), theta
    assert CHANNEL.code(*element).bits.item() == pytest.approx(
        theory.channel_rate(*arrays)[0], abs=1e-9
    )
    expected = theory.channel_distortion(*arrays)[0]
    assert CHANNEL.code(*element).distortion.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("r, v, theta", [(0.7, 2.0, 0.5), (-3.0, 1.5, 0.1), (0.0, 1.0, 0.9)])
def test_channel_rate_is_the_divergence_of_output_from_prior(r, v, theta):
    a = 1 - theta / v
    output, prior = norm(a * r, math.sqrt(theta * a)), norm(0, math.sqrt(v - theta))
    divergence = output.expect(lambda x: output.logpdf(x) - prior.logpdf(x)) / math.log(2)
    got = CHANNEL.code(double(r), double(v), theta).bits
    assert got.item() == pytest.approx(divergence, abs=1e-7)


def test_channel_output_has_the_stated_distortion():
    generator = torch.Generator().manual_seed(0)
    r, v = torch.full((200_000,), 1.3).double(), torch.full((200_000,), 0.8).double()
    noise = torch.randn(r.shape, generator=generator, dtype=r.dtype)

    output = CHANNEL.code(r, v, 0.2, noise)
    got = (r - output.residual).square().mean()
    assert got == pytest.approx(output.distortion[0].item(), rel=0.01)


def test_channel_sends_nothing_below_the_water_level():
    r, v = double(5.0), double(0.1)
    output = CHANNEL.code(r, v, 0.2, torch.ones(1).double())
    assert (output.bits, output.distortion, output.residual) == (0, 25, 0)


@given(st.floats(0.2, 5), st.floats(0.02, 20))
def test_scaling_residuals_and_step_together_changes_no_rate(scale, sigma):
    r, v = gaussian(sigma, 1000), torch.full((1000,), sigma**2).double()
    output, scaled = ROUNDING.code(r, v, 1.0), ROUNDING.code(scale * r, scale**2 * v, scale)
    torch.testing.assert_close(scaled.bits, output.bits, atol=1e-6, rtol=1e-6)


@given(st.floats(-20, 20), st.floats(0.01, 30), st.floats(0.001, 40))
def test_expected_distortion_is_that_of_coding(r, v, theta):
    got = CHANNEL.expected_distortion(double(r), double(v), double(theta))
    expected = CHANNEL.code(double(r), double(v), double(theta)).distortion
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)


def test_a_subclass_with_another_code_has_no_closed_form():
    class Doubled(TestChannel):
        def code(self, r, v, level, noise=None):
            return super().code(r, v, 2 * level, noise)

    class Renamed(TestChannel):
        pass

    assert CHANNEL.has_expected_distortion and Renamed().has_expected_distortion
    assert not Doubled().has_expected_distortion

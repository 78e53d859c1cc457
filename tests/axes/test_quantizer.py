"""The quantizers against closed forms, numerical integration and scipy."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from rdpipe import theory
from rdpipe.quantizers import scalar as quantizer

ROUNDING, CHANNEL = quantizer.Rounding(), quantizer.TestChannel()
ANCHORS = [(0.3, 0.5504, 0.06621, 0.2215), (0.5, 1.2412, 0.08260, 0.7988),
           (1, 2.1048, 0.08333, 1.7925), (2, 3.0620, 0.08333, 2.7925)]  # fmt: skip


def double(value):
    return torch.tensor([value], dtype=torch.float64)


def gaussian(sigma, count=400_000, seed=0):
    """Residuals at the quantiles of N(0, sigma^2): a sample without sampling noise."""
    return torch.from_numpy(norm.ppf((np.arange(count) + 0.5) / count) * sigma)


@pytest.mark.parametrize("sigma, entropy, distortion, rate", ANCHORS)
def test_anchor_figures_of_the_gaussian(sigma, entropy, distortion, rate):
    """SCIENCE.md, section 2.3: known figures for unit step, midpoint reconstruction."""
    r, v = gaussian(sigma), torch.tensor(sigma**2, dtype=torch.float64)
    assert ROUNDING.code(r, v, 1.0).bits.mean() == pytest.approx(entropy, abs=2e-4)
    assert ROUNDING.code(r, v, 1.0).distortion.mean() == pytest.approx(distortion, abs=2e-5)
    # matched variance: the channel at theta = D costs 1/2 log2(v/D) and distorts by D
    assert CHANNEL.code(r, v, distortion).bits.mean() == pytest.approx(rate, abs=2e-4)
    assert CHANNEL.code(r, v, distortion).distortion.mean() == pytest.approx(distortion, rel=1e-4)


@given(st.floats(-40, 40), st.floats(0.05, 50), st.floats(0.1, 3))
def test_rounding_rate_is_the_probability_of_the_cell(r, sigma, step):
    q = step * (double(r) / step).round().item()
    # the tail nearer to the cell, so that scipy does not subtract 1 - 1
    a, b = sorted((abs(q) - step / 2, abs(q) + step / 2))
    probability = norm.sf(a / sigma) - norm.sf(b / sigma)
    if probability > 1e-290:
        got = ROUNDING.code(double(r), double(sigma**2), step).bits
        assert got.item() == pytest.approx(-math.log2(probability), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0, 30.0, 1e3, 1e5])
def test_rounding_rate_has_its_digits_on_both_sides_of_the_tail(sigma):
    """Against 50 digits, from the middle through the seam at TAIL bits to 38 sigma, on both sides of 0."""
    index = np.unique(np.round(np.linspace(0, max(3, 38 * sigma), 60)))
    index = np.concatenate([-index[::-1], index])
    got = ROUNDING.code(torch.from_numpy(index), double(sigma**2), 1.0).bits
    with mpmath.workdps(50):
        s = mpmath.sqrt(mpmath.mpf(double(sigma**2).item()))
        near = [abs(mpmath.mpf(float(k))) for k in index]
        mass = [mpmath.erfc((k - 0.5) / s / mpmath.sqrt(2)) - mpmath.erfc((k + 0.5) / s / mpmath.sqrt(2)) for k in near]
        exact = [float(1 - mpmath.log(m, 2)) for m in mass]
    # what is left of a difference of two numbers of 53 bits, up to 38 and 1/sigma apart
    np.testing.assert_allclose(got, exact, rtol=2e-13, atol=2e-14 * max(1, sigma))
    assert got.min() < quantizer.TAIL < got.max() or sigma > 100


def test_rounding_rate_of_what_is_no_number_is_none():
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
    one = double(r), double(v), theta
    assert CHANNEL.code(*one).bits.item() == pytest.approx(
        theory.channel_rate(*arrays)[0], abs=1e-9
    )
    expected = theory.channel_distortion(*arrays)[0]
    assert CHANNEL.code(*one).distortion.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("r, v, theta", [(0.7, 2.0, 0.5), (-3.0, 1.5, 0.1), (0.0, 1.0, 0.9)])
def test_channel_rate_is_the_divergence_of_what_is_sent_from_what_is_expected(r, v, theta):
    a = 1 - theta / v
    sent, expected = norm(a * r, math.sqrt(theta * a)), norm(0, math.sqrt(v - theta))
    divergence = sent.expect(lambda x: sent.logpdf(x) - expected.logpdf(x)) / math.log(2)
    got = CHANNEL.code(double(r), double(v), theta).bits
    assert got.item() == pytest.approx(divergence, abs=1e-7)


def test_channel_output_has_the_distortion_it_claims():
    generator = torch.Generator().manual_seed(0)
    r, v = torch.full((200_000,), 1.3).double(), torch.full((200_000,), 0.8).double()
    noise = torch.randn(r.shape, generator=generator, dtype=r.dtype)

    coded = CHANNEL.code(r, v, 0.2, noise)
    got = (r - coded.residual).square().mean()
    assert got == pytest.approx(coded.distortion[0].item(), rel=0.01)


def test_channel_sends_nothing_below_the_water_level():
    r, v = double(5.0), double(0.1)
    coded = CHANNEL.code(r, v, 0.2, torch.ones(1).double())
    assert (coded.bits, coded.distortion, coded.residual) == (0, 25, 0)


@given(st.floats(0.2, 5), st.floats(0.02, 20))
def test_scaling_residuals_and_step_together_changes_no_rate(scale, sigma):
    r, v = gaussian(sigma, 1000), torch.full((1000,), sigma**2).double()
    one, other = ROUNDING.code(r, v, 1.0), ROUNDING.code(scale * r, scale**2 * v, scale)
    torch.testing.assert_close(other.bits, one.bits, atol=1e-6, rtol=1e-6)

"""Scalar quantizers against numerical integration."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from scipy.stats import norm

from rdpipe import theory
from rdpipe.core.errors import InputError
from rdpipe.entropy.coder import Decoder, Encoder
from rdpipe.quantizers.scalar import (
    DeadZone,
    Dithered,
    DitheredWiener,
    Rounding,
    centroid,
    dead_zones,
)

SCALAR = [Rounding, Dithered, DitheredWiener, DeadZone]


def normal(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mean_rate_and_distortion(quantizer, sigma, count=400_000, step=1.0):
    r = sigma * normal((count,), 1)
    output = quantizer.code(r, torch.full_like(r, sigma**2), step, normal((count,), 2))
    return output.bits.mean().item(), output.distortion.mean().item()


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 3.0])
def test_rate_of_dithered_rounding_matches_numerical_integration(sigma):
    """E rate = h(r + u) - h(u), and the error is u for any r (Zamir and Feder)."""
    rate, distortion = mean_rate_and_distortion(Dithered(), sigma)
    density = lambda x: norm.cdf((x + 0.5) / sigma) - norm.cdf((x - 0.5) / sigma)
    entropy = lambda x: -density(x) * math.log2(density(x)) if density(x) > 0 else 0.0
    end = 0.5 + 9 * sigma
    expected = integrate.quad(entropy, -end, end, points=[-0.5, 0.5], limit=400)[0]
    assert rate == pytest.approx(expected, abs=0.01)
    assert distortion == pytest.approx(1 / 12, rel=0.01)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 3.0])
def test_distortion_of_wiener_scaling_is_that_of_the_best_linear_estimate(sigma):
    rate, distortion = mean_rate_and_distortion(DitheredWiener(), sigma)
    assert distortion == pytest.approx(sigma**2 / 12 / (sigma**2 + 1 / 12), rel=0.01)
    assert rate == mean_rate_and_distortion(Dithered(), sigma)[0]


@given(st.floats(0, 60), st.floats(0.01, 5), st.floats(1e-3, 1e3))
def test_centroid_matches_numerical_integration(low, width, sigma):
    got = centroid(*(torch.tensor(x, dtype=torch.float64) for x in (low, width, sigma**2)))
    # integrated relative to the density at `low`, so that nothing underflows
    weight = lambda x: math.exp(-((x - low) * (x + low)) / (2 * sigma**2))
    end = min(low + width, low + 50 * sigma**2 / max(low, sigma))
    mass = integrate.quad(weight, low, end)[0]
    expected = integrate.quad(lambda x: x * weight(x), low, end)[0] / mass
    assert got.item() == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("sigma", [0.4, 0.5, 0.7, 1.0, 2.0])
def test_dead_zone_costs_less_than_rounding_and_more_than_the_limit(sigma):
    """At its slope, D + lambda R is below that of rounding with centroids."""
    slope = 2 * math.log(2) / 12
    rate, distortion = mean_rate_and_distortion(DeadZone(), sigma)
    assert rate > theory.gaussian_rate(sigma**2, min(distortion, sigma**2))
    rounding = theory.rounding_distortion(
        sigma, reconstruction="centroid"
    ) + slope * theory.rounding_rate(sigma)
    assert distortion + slope * rate < rounding + 5e-4  # sampling


@pytest.mark.parametrize("sigma", [0.3, 0.8, 2.0, 30.0])
def test_probabilities_of_dead_zone_cells_sum_to_one(sigma):
    k = torch.arange(-400, 401).double()
    v = torch.full_like(k, sigma**2)
    total = torch.exp2(-DeadZone().rate(k, v, 1.0, None)).sum()
    assert total.item() == pytest.approx(1, abs=1e-12)


def truncated_moment(power, sigma, ends):
    """Return the integral of x^power exp(-x^2 / 2 sigma^2) between two ends."""

    def integrand(x):
        return x**power * math.exp(-((x / sigma) ** 2) / 2)

    return integrate.quad(integrand, *ends, epsabs=0)[0]


def test_dead_zone_reconstructs_at_the_means_of_its_cells():
    k = torch.arange(-3.0, 4.0, dtype=torch.float64).expand(3, 7)
    sigmas = torch.tensor([[0.4], [1.0], [60.0]], dtype=torch.float64)  # one per row
    points = DeadZone().point(k, sigmas.square(), 1.0, None)
    assert (points[:, 3] == 0).all() and torch.equal(points, -points.flip(1))
    for row, (sigma,) in zip(points, sigmas.tolist(), strict=True):
        delta = np.interp(math.log2(sigma), *dead_zones())
        for index in (1, 2, 3):
            ends = index - 0.5 + delta, index + 0.5 + delta
            moment, mass = (truncated_moment(power, sigma, ends) for power in (1, 0))
            assert row[3 + index].item() == pytest.approx(moment / mass, rel=1e-9)


def test_dead_zone_width_matches_a_search_over_integrals():
    sigma = 0.7
    delta = np.interp(math.log2(sigma), *dead_zones())

    def cost(delta):
        edges = [0.0] + [k + 0.5 + delta for k in range(12)] + [np.inf]
        total = 0.0
        for k, (a, b) in enumerate(itertools.pairwise(edges)):
            mass = norm.cdf(b / sigma) - norm.cdf(a / sigma)
            moment = integrate.quad(lambda x: x * norm.pdf(x, scale=sigma), a, min(b, 12))[0]
            second = integrate.quad(lambda x: x * x * norm.pdf(x, scale=sigma), a, min(b, 12))[0]
            if mass > 1e-12:
                spent = -math.log2(2 * mass) if k == 0 else -math.log2(mass)
                total += (
                    2 * (second - (moment**2 / mass if k else 0))
                    + math.log(2) / 6 * 2 * mass * spent
                )
        return total

    best = min(np.linspace(0, 0.4, 41), key=cost)
    assert delta == pytest.approx(best, abs=0.02)


@pytest.mark.parametrize("quantizer", SCALAR)
@pytest.mark.parametrize("sigma", [0.01, 0.3, 1.0, 5.0, 200.0])
def test_streams_decode_exactly_and_have_the_stated_length(quantizer, sigma):
    quantizer, shape = quantizer(), (8, 500)
    scale = sigma * torch.exp(0.5 * normal(shape, 3))
    r, v, noise = scale * normal(shape, 4), scale.square(), normal(shape, 5)
    encoder = Encoder()
    written = quantizer.write(encoder, r, v, 1.0, noise)
    words = encoder.to_bytes()
    output = quantizer.code(r, v, 1.0, noise)
    decoder = Decoder(words)
    assert torch.equal(written, output.residual)
    assert torch.equal(quantizer.read(decoder, v, 1.0, noise), written)
    assert 8 * len(words) == pytest.approx(output.bits.sum().item(), rel=0.002, abs=100)


@pytest.mark.parametrize("quantizer", SCALAR)
def test_streams_code_outliers(quantizer):
    r = torch.tensor([[0.0, 1e5, -7e4, 600.0, -511.0, 52.0, 0.3]]).double()
    v, noise = torch.full_like(r, 0.02), torch.zeros_like(r)
    encoder, quantizer = Encoder(), quantizer()
    written = quantizer.write(encoder, r, v, 1.0, noise)
    decoder = Decoder(encoder.to_bytes())
    assert torch.equal(quantizer.read(decoder, v, 1.0, noise), written)
    if not isinstance(quantizer, DitheredWiener):  # which shrinks towards the model
        assert (written - r).abs().max() <= 1.6


def test_one_coder_codes_several_waves():
    quantizer, encoder = DeadZone(), Encoder()
    waves = [(3 * normal((4, n), n), torch.full((4, n), 9.0).double()) for n in (1, 5, 2, 0, 7)]
    written = [quantizer.write(encoder, r, v, 1.0, None) for r, v in waves]
    decoder = Decoder(encoder.to_bytes())
    assert all(
        torch.equal(quantizer.read(decoder, v, 1.0, None), w)
        for (_, v), w in zip(waves, written, strict=True)
    )


@pytest.mark.parametrize("quantizer", SCALAR)
def test_a_step_must_be_positive(quantizer):
    with pytest.raises(InputError, match="step is 0; expected a positive number"):
        quantizer(step=0)

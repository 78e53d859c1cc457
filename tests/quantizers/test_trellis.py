"""Trellis-coded quantization against brute force, closed forms and the literature."""

import itertools
import math

import numpy as np
import pytest
import torch
from gaussian_gap import LEAST_GAP, measure, normal
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm

from rdpipe import theory
from rdpipe.core.errors import InputError
from rdpipe.quantizers.trellis import Trellis, index_bits


def test_extreme_values_give_finite_results():
    exponent = torch.linspace(-9, 9, 19, dtype=torch.float64)
    v = (10**exponent).repeat(16, 1)
    for size in (0.0, 1e-9, 1.0, 1e9):
        output = Trellis().code(size * normal(v.shape), v, 1.0)
        for part in (output.bits, output.distortion, output.residual):
            assert part.isfinite().all()
        assert output.bits.sum() > 0


@pytest.mark.parametrize("states", [4, 8])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.0])
def test_viterbi_finds_the_best_of_all_paths(states, sigma):
    """The reference is a loop over all paths of four indices, with scipy's normal distribution."""
    trellis, channels, slope = Trellis(states=states), 4, 2 * math.log(2) / 12
    next_state, delta = trellis.next_state.tolist(), trellis.delta
    prior = norm(scale=math.sqrt(max(sigma**2 - 1 / 12, sigma**2 / 4)))
    points = np.arange(-9, 10)
    sets = [2 * points, 2 * points - np.sign(points)]
    edges = [(s[1:] + s[:-1]) / 2 * delta for s in sets]
    with np.errstate(divide="ignore"):
        bits = [-np.log2(np.diff(prior.cdf(e))) for e in edges]  # of indices -8 to 8
    for position in range(3):
        r = sigma * normal((channels, 1), position)
        best = math.inf
        for path in itertools.product(range(-6, 7), repeat=channels):
            state = cost = 0
            for x, k in zip(r[:, 0].tolist(), path, strict=True):
                q = int(trellis.uses_second[state])
                cost += (x - sets[q][k + 9] * delta) ** 2 + slope * bits[q][k + 8]
                state = next_state[state][k % 2]
            best = min(best, cost)
        output = trellis.code(r, torch.full_like(r, sigma**2), 1.0)
        cost = (output.distortion + slope * output.bits).sum().item()
        assert cost == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("sigma", [0.1, 1.0, 30.0])
def test_probabilities_of_indices_sum_to_one(second, sigma):
    k = torch.arange(-400, 401).double()
    bits = index_bits(k, torch.tensor(second), torch.full_like(k, sigma**2), 0.57)
    assert torch.exp2(-bits).sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("states, gain", [(4, 0.99), (8, 1.10)])
def test_granular_gain_matches_the_literature(states, gain):
    """At high rate D = step^2/12, and the gain over rounding with its step is known (dB)."""
    trellis, r = Trellis(states=states), 300 * normal((1500, 200))
    output = trellis.code(r, torch.full_like(r, 300.0**2), 1.0)
    distortion = output.distortion[20:-20].mean().item()
    assert distortion == pytest.approx(1 / 12, rel=0.01)
    measured = 10 * math.log10((2 * trellis.delta) ** 2 / 12 / distortion)
    assert measured == pytest.approx(gain, abs=0.04)


@pytest.mark.parametrize("sigma", [0.5, 0.7, 1.0, 2.0, 8.0])
def test_the_trellis_lies_between_the_limit_and_rounding(sigma):
    rate, distortion, gap = measure(Trellis(), sigma)

    def excess(step):
        return theory.rounding_distortion(sigma, step, "centroid") - distortion

    rounding = theory.rounding_rate(sigma, brentq(excess, 0.1, 4 * sigma))
    assert gap > LEAST_GAP / 2 and rate < rounding - 0.03
    assert rate < measure(Trellis(states=4), sigma)[0] or sigma < 0.7


@settings(max_examples=20)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 3))
def test_the_shape_of_positions_does_not_matter(channels, rows, columns):
    r = normal((channels, rows, columns))
    output = Trellis().code(r, torch.ones_like(r), 1.0)
    flat = Trellis().code(r.flatten(1), torch.ones_like(r).flatten(1), 1.0)
    assert torch.equal(output.residual.flatten(1), flat.residual)
    assert torch.equal(output.bits.flatten(1), flat.bits)


def test_invalid_arguments_are_refused():
    with pytest.raises(InputError, match="states is 16; expected one of 4, 8"):
        Trellis(states=16)
    with pytest.raises(InputError, match=r"step is -1\.0; expected a positive number"):
        Trellis(step=-1.0)

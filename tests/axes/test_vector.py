"""E8 and trellis-coded quantization against brute force, closed forms and the literature."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm

from rdpipe import theory
from rdpipe.quantizers.lattice import (
    SECOND_MOMENT,
    LatticeE8,
    coset_weights,
    every_other,
    nearest_e8,
    theta,
)
from rdpipe.quantizers.trellis import Trellis, index_bits
from rdpipe.core.errors import InputError

LEAST_GAP = 0.5 * math.log2(2 * math.pi * math.e * SECOND_MOMENT)


def normal(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def measure(quantizer, sigma, shape=(192, 2000)):
    """Rate, distortion and gap to R(D) on Gaussians of known variance."""
    r = sigma * normal(shape, 1)
    r *= sigma / r.square().mean().sqrt()
    coded = quantizer.code(r, torch.full_like(r, sigma**2), 1.0)
    rate, distortion = coded.bits.mean().item(), coded.distortion.mean().item()
    return rate, distortion, rate - theory.gaussian_rate(sigma**2, min(distortion, sigma**2))


@given(st.lists(st.floats(-30, 30), min_size=8, max_size=8))
def test_nearest_point_is_that_of_a_search(x):
    x = np.array(x)
    near = np.array(list(itertools.product((0, 1), repeat=8)))
    points = np.concatenate([np.floor(x) + near, np.floor(x - 0.5) + near + 0.5])
    points = points[points.sum(1) % 2 == 0]
    got = nearest_e8(torch.from_numpy(x)[None])[0].numpy()
    assert got.sum() % 2 == 0 and len(set(got % 1)) == 1
    assert ((x - got) ** 2).sum() == pytest.approx(((x - points) ** 2).sum(1).min(), abs=1e-9)


def test_second_moment_of_the_cell():
    x = 100 * torch.rand((200_000, 8), generator=torch.Generator().manual_seed(0)).double()
    assert (x - nearest_e8(x)).square().mean().item() == pytest.approx(929 / 12960, rel=1e-3)


@pytest.mark.parametrize("spread", [0.07, 0.3, 0.99, 1.01, 4.0, 50.0])
def test_the_normalisation_is_the_theta_series_of_e8(spread):
    """1 + 240 sum_n sigma_3(n) q^n, the Eisenstein series of weight 4: the points of norm 2n."""
    n = np.arange(1, 3001)
    cubes = np.zeros(3000)
    for d in n:
        cubes[d - 1 :: d] += float(d) ** 3
    expected = 1 + 240 * (cubes * np.exp(-n / spread)).sum()
    s = torch.full((1, 8), spread, dtype=torch.float64)
    got = theta(s)[0].prod() * sum(coset_weights(s)) / 2
    assert got.item() == pytest.approx(expected, rel=1e-11)


def test_probabilities_of_lattice_points_of_unequal_variance_sum_to_one():
    whole = itertools.product((-1.0, 0.0, 1.0), repeat=8)
    half = itertools.product((-1.5, -0.5, 0.5, 1.5), repeat=8)
    points = torch.tensor([t for t in (*whole, *half) if sum(t) % 2 == 0], dtype=torch.float64)
    v = torch.linspace(0, 0.03, 8, dtype=torch.float64)[:, None].expand(8, len(points))
    bits = LatticeE8(order="channel").rate(points, v.contiguous(), 1.0, None).sum(0)
    assert torch.exp2(-bits).sum().item() == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize("sigma", [0.4, 0.7, 2.0, 300.0])
def test_e8_has_the_gap_of_its_second_moment_at_any_rate(sigma):
    rate, distortion, gap = measure(LatticeE8(), sigma)
    assert gap == pytest.approx(LEAST_GAP, abs=0.003)
    rounding = theory.rounding_rate(sigma)
    if sigma > 10:  # at equal distortion
        gain = rounding - rate + 0.5 * math.log2(1 / 12 / distortion)
        assert gain == pytest.approx(0.1086, abs=0.003)
        assert distortion == pytest.approx(1 / 12, rel=5e-3)


@pytest.mark.parametrize("offset", [0.0, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("spread, loss", [(0.08, 1e-9), (3.9, 1e-9), (4.0, 3e-6), (90.0, 3e-6)])
def test_code_of_every_other_number_is_a_discrete_gaussian(spread, loss, offset):
    m = torch.arange(-60, 61, dtype=torch.float64)
    weight = torch.exp(-((2 * m + offset) ** 2) / (2 * spread))
    true = weight / weight.sum()
    tail = every_other(torch.full_like(m, offset), torch.full_like(m, spread))
    up, down = (tail(m.abs().clamp(min=1), torch.full_like(m, flag) == 1).exp() for flag in (1, 0))
    up = torch.cat([up[m > 0], torch.zeros(1)])
    down = torch.cat([torch.zeros(1), down[m < 0]])
    zero = 1 - up[0] - down[-1]
    sent = torch.cat([down[1:] - down[:-1], zero[None], up[:-1] - up[1:]])
    likely = true > 1e-12
    divergence = (true * (true / sent).log2())[likely].sum().item()
    assert abs(divergence) < loss


def test_bits_of_what_fills_up_a_block_count():
    r, v = normal((5, 1)), torch.full((5, 1), 0.4).double()
    filled = torch.cat([torch.zeros(3, 1).double(), r]), torch.cat([torch.zeros(3, 1).double(), v])
    e8 = LatticeE8(order="channel")
    assert e8.code(r, v, 1.0).bits.sum() == pytest.approx(e8.code(*filled, 1.0).bits.sum().item())


@pytest.mark.parametrize("quantizer", [LatticeE8(), LatticeE8(order="channel"), Trellis()])
def test_nothing_is_lost_in_extremes(quantizer):
    exponent = torch.linspace(-9, 9, 19, dtype=torch.float64)
    v = (10**exponent).repeat(16, 1)
    for size in (0.0, 1e-9, 1.0, 1e9):
        coded = quantizer.code(size * normal(v.shape), v, 1.0)
        for part in (coded.bits, coded.distortion, coded.residual):
            assert part.isfinite().all()
        assert coded.bits.sum() > 0


@pytest.mark.parametrize("states", [4, 8])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.0])
def test_viterbi_finds_the_best_of_all_paths(states, sigma):
    """Against a plain loop over all paths of four indices, with scipy's normal distribution."""
    trellis, channels, slope = Trellis(states=states), 4, 2 * math.log(2) / 12
    after, delta = trellis.after.tolist(), trellis.delta
    spread = norm(scale=math.sqrt(max(sigma**2 - 1 / 12, sigma**2 / 4)))
    points = np.arange(-9, 10)
    sets = [2 * points, 2 * points - np.sign(points)]
    edges = [(s[1:] + s[:-1]) / 2 * delta for s in sets]
    with np.errstate(divide="ignore"):
        bits = [-np.log2(np.diff(spread.cdf(e))) for e in edges]  # of indices -8 to 8
    for position in range(3):
        r = sigma * normal((channels, 1), position)
        best = math.inf
        for path in itertools.product(range(-6, 7), repeat=channels):
            state = cost = 0
            for x, k in zip(r[:, 0].tolist(), path):
                q = int(trellis.uses_second[state])
                cost += (x - sets[q][k + 9] * delta) ** 2 + slope * bits[q][k + 8]
                state = after[state][k % 2]
            best = min(best, cost)
        coded = trellis.code(r, torch.full_like(r, sigma**2), 1.0)
        assert (coded.distortion + slope * coded.bits).sum().item() == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("sigma", [0.1, 1.0, 30.0])
def test_probabilities_of_indices_sum_to_one(second, sigma):
    k = torch.arange(-400, 401).double()
    bits = index_bits(k, torch.tensor(second), torch.full_like(k, sigma**2), 0.57)
    assert torch.exp2(-bits).sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("states, gain", [(4, 0.99), (8, 1.10)])
def test_granular_gain_of_the_trellis(states, gain):
    """At high rate D = step^2/12; the gain over rounding with its step is known (dB)."""
    trellis, r = Trellis(states=states), 300 * normal((1500, 200))
    coded = trellis.code(r, torch.full_like(r, 300.0**2), 1.0)
    distortion = coded.distortion[20:-20].mean().item()
    assert distortion == pytest.approx(1 / 12, rel=0.01)
    measured = 10 * math.log10((2 * trellis.delta) ** 2 / 12 / distortion)
    assert measured == pytest.approx(gain, abs=0.04)


@pytest.mark.parametrize("sigma", [0.5, 0.7, 1.0, 2.0, 8.0])
def test_the_trellis_lies_between_the_limit_and_rounding(sigma):
    rate, distortion, gap = measure(Trellis(), sigma)
    equal = lambda step: theory.rounding_distortion(sigma, step, "centroid") - distortion
    rounding = theory.rounding_rate(sigma, brentq(equal, 0.1, 4 * sigma))
    assert LEAST_GAP / 2 < gap and rate < rounding - 0.03
    assert rate < measure(Trellis(states=4), sigma)[0] or sigma < 0.7


@settings(max_examples=20)
@given(
    st.integers(1, 12), st.integers(1, 4), st.integers(1, 3), st.sampled_from([LatticeE8, Trellis])
)
def test_positions_have_any_shape(channels, rows, columns, quantizer):
    r = normal((channels, rows, columns))
    coded = quantizer().code(r, torch.ones_like(r), 1.0)
    flat = quantizer().code(r.flatten(1), torch.ones_like(r).flatten(1), 1.0)
    assert torch.equal(coded.residual.flatten(1), flat.residual)
    assert torch.equal(coded.bits.flatten(1), flat.bits)


def test_unknown_arguments_are_refused():
    with pytest.raises(InputError, match="states 16: allowed are 4, 8"):
        Trellis(states=16)
    with pytest.raises(InputError, match="order 'row': allowed are variance, channel"):
        LatticeE8(order="row")
    for quantizer in (LatticeE8, Trellis):
        with pytest.raises(InputError, match="step -1.0: allowed are positive numbers"):
            quantizer(step=-1.0)

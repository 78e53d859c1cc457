"""The lattice and the trellis against brute force, sums over points, and figures of the literature."""

import itertools
import math

import constriction
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from rdpipe import theory
from rdpipe.axes.vector import (
    E8_SECOND_MOMENT,
    TRELLIS,
    LatticeE8,
    Trellis,
    coset_weights,
    nearest_e8,
    trellis_bits,
    trellis_point,
    whole_mass,
)
from rdpipe.errors import InputError


def normal(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def operational(quantizer, sigma, shape=(400, 1500)):
    r = sigma * normal(shape, 1)
    coded = quantizer.code(r, torch.full_like(r, sigma**2), 1.0)
    return coded.bits.mean().item(), coded.distortion.mean().item()


def test_the_nearest_point_is_that_of_brute_force():
    x = 1.5 * normal((1, 8, 40), 2)
    corners = [
        x.floor() + torch.tensor(c).view(1, 8, 1) for c in itertools.product((0, 1), repeat=8)
    ]
    corners += [(x - 0.5).floor() + 0.5 + torch.tensor(c).view(1, 8, 1)
                for c in itertools.product((0, 1), repeat=8)]  # fmt: skip
    points = torch.cat(corners)
    inside = (points - 0.5 * (points[:, :1] % 1 != 0)).sum(1) % 2 == 0
    distance = (points - x).square().sum(1)
    best = torch.where(inside, distance, torch.inf).amin(0)
    torch.testing.assert_close((nearest_e8(x) - x).square().sum(1)[0], best)


def test_the_cell_of_e8_has_its_known_second_moment():
    x = 30 * normal((20_000, 8, 1), 3)
    assert (nearest_e8(x) - x).square().mean().item() == pytest.approx(E8_SECOND_MOMENT, rel=5e-3)


@given(st.floats(1e-12, 1e4))
def test_masses_of_whole_numbers_are_their_sums(u):
    whole, signed = whole_mass(torch.tensor([u], dtype=torch.float64))
    n = np.arange(-1200, 1201)
    mass = norm.cdf((n + 0.25) / math.sqrt(u)) - norm.cdf((n - 0.25) / math.sqrt(u))
    assert whole.item() == pytest.approx(mass.sum(), abs=1e-12)
    assert signed.item() == pytest.approx(((-1.0) ** abs(n) * mass).sum(), abs=1e-12)


def test_the_probabilities_of_e8_sum_to_one():
    u = torch.tensor([0.02, 0.02, 0.05, 0.03, 0.2, 0.01, 0.1, 0.04]).double().view(1, 8, 1)
    even, half = coset_weights(u)
    log_z = (even + half).log2().item()
    total = 0.0
    for shift in (0.0, 0.5):
        grid = np.array(list(itertools.product((-2, -1, 0, 1, 2), repeat=8)))
        grid = grid[grid.sum(1) % 2 == 0] + shift
        sigma = u.sqrt().numpy().ravel()
        tail = (
            lambda t: norm.logcdf(-(np.abs(t) - 0.25) / sigma),
            lambda t: norm.logcdf(-(np.abs(t) + 0.25) / sigma),
        )
        near, far = (f(grid) for f in tail)
        total += np.exp((near + np.log1p(-np.exp(far - near))).sum(1)).sum()
    assert total / 2**log_z == pytest.approx(1, abs=1e-6)


def test_e8_gains_what_its_cell_promises():
    """At high rate 1/2 log2((1/12) / (929/12960)) = 0.1086 bit over rounding, at its distortion."""
    rate, distortion = operational(LatticeE8(), 30.0)
    assert distortion == pytest.approx(1 / 12, rel=5e-3)
    gap = rate - theory.gaussian_rate(30.0**2, distortion)
    assert gap == pytest.approx(0.5 * math.log2(2 * math.pi * math.e * E8_SECOND_MOMENT), abs=4e-3)


@pytest.mark.parametrize("states, decibel", [(4, 0.99), (8, 1.09)])
def test_the_trellis_gains_what_the_literature_says(states, decibel):
    """Marcellin and Fischer's granular gain of TCQ, of 1.53 dB at most."""
    quantizer = Trellis(states=states)
    rate, distortion = operational(quantizer, 100.0)
    assert distortion == pytest.approx(1 / 12, rel=0.01)
    gain = 0.5 * math.log2(math.pi * math.e / 6) - (
        rate - theory.gaussian_rate(100.0**2, distortion)
    )
    assert gain * 20 * math.log10(2) == pytest.approx(decibel, abs=0.06)


@pytest.mark.parametrize("quantizer", [LatticeE8(), Trellis(), Trellis(states=4)])
@pytest.mark.parametrize("sigma", [0.7, 1.0, 2.0, 5.0])
def test_they_lie_between_the_limit_and_rounding(quantizer, sigma):
    rate, distortion = operational(quantizer, sigma)
    gap = rate - theory.gaussian_rate(sigma**2, distortion)
    rounding = theory.rounding_rate(sigma) - theory.gaussian_rate(
        sigma**2, theory.rounding_distortion(sigma)
    )
    assert 0 < gap < rounding


@pytest.mark.parametrize("sigma", [0.05, 0.4, 3.0])
@pytest.mark.parametrize("second", [False, True])
def test_the_cells_of_the_trellis_have_total_probability_one(sigma, second):
    m = torch.arange(0, 400).double()
    which, v = torch.full_like(m, second, dtype=torch.bool), torch.full_like(m, sigma**2)
    mass = torch.exp2(-trellis_bits(m, which, v, 0.55))
    assert (mass[0] + 2 * mass[1:].sum()).item() == pytest.approx(1, abs=1e-12)


def test_the_path_through_the_trellis_is_the_cheapest():
    quantizer = Trellis(states=4)
    r, v = 1.3 * normal((4, 3), 6), torch.full((4, 3), 1.7).double()
    coded = quantizer.code(r, v, 1.0)
    slope = 2 * math.log(2) / 12
    after, seconds, _ = TRELLIS[4]
    delta = quantizer.delta
    for p in range(3):
        best = math.inf
        for path in itertools.product(range(-3, 4), repeat=4):
            state, cost = 0, 0.0
            for c, k in enumerate(path):
                size, second = torch.tensor(abs(k)).double(), torch.tensor(seconds[state])
                point = math.copysign(trellis_point(size, second, delta).item(), k)
                bits = trellis_bits(size[None], second[None], v[c, p][None], delta).item()
                cost += (r[c, p].item() - point) ** 2 + slope * bits
                state = after[state][abs(k) % 2]
            best = min(best, cost)
        found = (coded.distortion + slope * coded.bits)[:, p].sum().item()
        assert found == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("quantizer", [LatticeE8(), Trellis(), Trellis(states=4)])
@pytest.mark.parametrize("shape", [(96, 60), (13, 30), (8, 1)])
@pytest.mark.parametrize("sigma", [0.01, 0.3, 1.0, 9.0, 60.0])
def test_streams_decode_exactly_and_are_as_long_as_stated(quantizer, shape, sigma):
    spread = sigma * torch.exp(0.5 * normal(shape, 3))
    r, v = spread * normal(shape, 4), spread.square()
    encoder = constriction.stream.queue.RangeEncoder()
    sent = quantizer.write(encoder, r, v, 1.0, None)
    words = encoder.get_compressed()
    coded = quantizer.code(r, v, 1.0)
    decoder = constriction.stream.queue.RangeDecoder(words)
    assert torch.equal(sent, coded.residual)
    assert torch.equal(quantizer.read(decoder, v, 1.0, None), sent)
    assert 32 * len(words) == pytest.approx(coded.bits.sum().item(), rel=0.002, abs=100)


@pytest.mark.parametrize("quantizer", [LatticeE8(), Trellis()])
def test_streams_hold_what_no_model_expects(quantizer):
    r, v = torch.zeros((8, 1)).double(), torch.full((8, 1), 0.05).double()
    r[2], r[5] = 1e4, -300.0
    encoder = constriction.stream.queue.RangeEncoder()
    sent = quantizer.write(encoder, r, v, 1.0, None)
    decoder = constriction.stream.queue.RangeDecoder(encoder.get_compressed())
    assert torch.equal(quantizer.read(decoder, v, 1.0, None), sent)
    assert coded_bits_are_finite(quantizer, r, v)


def coded_bits_are_finite(quantizer, r, v):
    return quantizer.code(r, v, 1.0).bits.isfinite().all()


@settings(max_examples=20)
@given(st.floats(0.1, 10))
def test_scaling_residuals_and_step_together_changes_no_rate(scale):
    r, v = 2 * normal((16, 50), 7), torch.full((16, 50), 4.0).double()
    for quantizer in (LatticeE8(), Trellis()):
        one, other = quantizer.code(r, v, 1.0), quantizer.code(scale * r, scale**2 * v, scale)
        torch.testing.assert_close(other.bits, one.bits, atol=1e-6, rtol=1e-6)


def test_bad_settings_are_named():
    with pytest.raises(InputError, match="trellis states 16: allowed are 4, 8"):
        Trellis(states=16)
    for quantizer in (Trellis, LatticeE8):
        with pytest.raises(InputError, match="step -1: allowed are positive"):
            quantizer(step=-1)

"""The lattice E8 against brute force and closed forms."""

import itertools
import math

import numpy as np
import pytest
import torch
from gaussian_gap import LEAST_GAP, measure, normal
from hypothesis import given, settings
from hypothesis import strategies as st

from rdpipe import theory
from rdpipe.core.errors import InputError
from rdpipe.quantizers.lattice import (
    LatticeE8,
    coset_weights,
    every_other_log_tail,
    near_e8,
    nearest_e8,
    theta_functions,
)


@given(st.lists(st.floats(-30, 30), min_size=8, max_size=8))
def test_nearest_point_matches_a_search(x):
    x = np.array(x)
    near = np.array(list(itertools.product((0, 1), repeat=8)))
    points = np.concatenate([np.floor(x) + near, np.floor(x - 0.5) + near + 0.5])
    points = points[points.sum(1) % 2 == 0]
    got = nearest_e8(torch.from_numpy(x)[None])[0].numpy()
    assert got.sum() % 2 == 0 and len(set(got % 1)) == 1
    assert ((x - got) ** 2).sum() == pytest.approx(((x - points) ** 2).sum(1).min(), abs=1e-9)


def test_near_points_are_points_of_the_lattice_among_them_the_nearest():
    x = 6 * torch.randn((500, 8), generator=torch.Generator().manual_seed(0)).double()
    points = near_e8(x)
    assert points.shape == (8, 500, 8)
    assert (points.sum(-1) % 2 == 0).all()
    assert (points[:4] % 1 == 0).all() and (points[4:] % 1 == 0.5).all()
    distances = (x - points).square().sum(-1)
    to_nearest = (x - nearest_e8(x)).square().sum(-1)
    torch.testing.assert_close(distances.min(0).values, to_nearest, rtol=0, atol=1e-12)
    assert all(len({tuple(p) for p in points[:, i].tolist()}) == 8 for i in range(500))


def test_second_moment_of_the_voronoi_cell():
    x = 100 * torch.rand((200_000, 8), generator=torch.Generator().manual_seed(0)).double()
    assert (x - nearest_e8(x)).square().mean().item() == pytest.approx(929 / 12960, rel=1e-3)


@pytest.mark.parametrize("variance", [0.07, 0.3, 0.99, 1.01, 4.0, 50.0])
def test_normalization_is_the_theta_series_of_e8(variance):
    """The series is 1 + 240 sum_n sigma_3(n) q^n, over the points of norm 2n."""
    n = np.arange(1, 3001)
    cubes = np.zeros(3000)
    for d in n:
        cubes[d - 1 :: d] += float(d) ** 3
    expected = 1 + 240 * (cubes * np.exp(-n / variance)).sum()
    s = torch.full((1, 8), variance, dtype=torch.float64)
    total, *others = theta_functions(s)
    got = total.prod() * sum(coset_weights(*others)) / 2
    assert got.item() == pytest.approx(expected, rel=1e-11)


def test_probabilities_of_lattice_points_of_unequal_variance_sum_to_one():
    integers = itertools.product((-1.0, 0.0, 1.0), repeat=8)
    halves = itertools.product((-1.5, -0.5, 0.5, 1.5), repeat=8)
    points = torch.tensor([t for t in (*integers, *halves) if sum(t) % 2 == 0], dtype=torch.float64)
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
@pytest.mark.parametrize("variance, loss", [(0.08, 1e-9), (3.9, 1e-9), (4.0, 3e-6), (90.0, 3e-6)])
def test_code_of_every_other_number_is_a_discrete_gaussian(variance, loss, offset):
    m = torch.arange(-60, 61, dtype=torch.float64)
    weight = torch.exp(-((2 * m + offset) ** 2) / (2 * variance))
    true = weight / weight.sum()
    log_tail = every_other_log_tail(torch.full_like(m, offset), torch.full_like(m, variance))
    up, down = (
        log_tail(m.abs().clamp(min=1), torch.full_like(m, flag) == 1).exp() for flag in (1, 0)
    )
    up = torch.cat([up[m > 0], torch.zeros(1)])
    down = torch.cat([torch.zeros(1), down[m < 0]])
    zero = 1 - up[0] - down[-1]
    coded = torch.cat([down[1:] - down[:-1], zero[None], up[:-1] - up[1:]])
    likely = true > 1e-12
    divergence = (true * (true / coded).log2())[likely].sum().item()
    assert abs(divergence) < loss


def test_bits_of_padding_count():
    r, v = normal((5, 1)), torch.full((5, 1), 0.4).double()
    padding = torch.zeros(3, 1).double()
    padded = torch.cat([padding, r]), torch.cat([padding, v])
    e8 = LatticeE8(order="channel")
    assert e8.code(r, v, 1.0).bits.sum() == pytest.approx(e8.code(*padded, 1.0).bits.sum().item())


@pytest.mark.parametrize("quantizer", [LatticeE8(), LatticeE8(order="channel")])
def test_extreme_values_give_finite_results(quantizer):
    exponent = torch.linspace(-9, 9, 19, dtype=torch.float64)
    v = (10**exponent).repeat(16, 1)
    for size in (0.0, 1e-9, 1.0, 1e9):
        output = quantizer.code(size * normal(v.shape), v, 1.0)
        for part in (output.bits, output.distortion, output.residual):
            assert part.isfinite().all()
        assert output.bits.sum() > 0


@settings(max_examples=20)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 3))
def test_the_shape_of_positions_does_not_matter(channels, rows, columns):
    r = normal((channels, rows, columns))
    output = LatticeE8().code(r, torch.ones_like(r), 1.0)
    flat = LatticeE8().code(r.flatten(1), torch.ones_like(r).flatten(1), 1.0)
    assert torch.equal(output.residual.flatten(1), flat.residual)
    assert torch.equal(output.bits.flatten(1), flat.bits)


def test_invalid_arguments_are_refused():
    with pytest.raises(InputError, match="order is 'row'; expected one of variance, channel"):
        LatticeE8(order="row")
    with pytest.raises(InputError, match=r"step is -1\.0; expected a positive number"):
        LatticeE8(step=-1.0)

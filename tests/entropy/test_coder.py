"""A stream is read back on a machine with slightly other numbers, and never to other symbols."""

import math

import numpy as np
import pytest
import torch

from rdpipe.codecs.bitstream import decoding
from rdpipe.entropy.coder import (
    GRID,
    MARGIN,
    RATIO_GRID,
    SHIFT,
    Decoder,
    DecodingError,
    Encoder,
    round_ratio,
)
from rdpipe.entropy.coding_walk import CodingWalk, tails_of
from rdpipe.entropy.priors import Gaussian, Laplace, Logistic, Mixture
from rdpipe.entropy.range_coding import code_indices


class OtherMachine(Decoder):
    """A decoder to which all numbers arrive with a relative error."""

    def __init__(self, stream, error, seed=0):
        super().__init__(stream)
        self.error, self.generator = error, torch.Generator().manual_seed(seed)

    def disturb(self, x):
        noise = 2 * torch.rand(x.shape, generator=self.generator, dtype=torch.float64) - 1
        return x * (1 + self.error * noise)

    def agree(self, x):
        return super().agree(self.disturb(x))

    def agree_ratio(self, x):
        return super().agree_ratio(self.disturb(x))


class RecordingEncoder(Encoder):
    """An encoder that remembers the ratios before they are rounded."""

    def __init__(self):
        super().__init__()
        self.ratios = []

    def agree_ratio(self, x):
        self.ratios.append(x)
        return super().agree_ratio(x)


class Inexact(Gaussian):
    """A prior whose logarithms have a relative error of one unit in the last place."""

    def index_log_tail(self, offset, step):
        log_tail = super().index_log_tail(offset, step)
        noise = lambda x: 1 + 2.0**-52 * torch.randint(-1, 2, x.shape, dtype=x.dtype)
        return lambda m, positive: log_tail(m, positive) * noise(m)


class CountingEncoder(Encoder):
    """An encoder that adds up the code length of its decisions, bit."""

    bits = 0.0

    def encode(self, symbols, *model):
        super().encode(symbols, *model)
        self.bits -= np.log2(np.where(symbols, model[1], 1 - model[1])).sum()


def gaussian(mean, scale):
    return Gaussian(mean, scale)


def laplace(mean, scale):
    return Laplace(mean, scale)


def mixture(mean, scale):
    weights = torch.tensor([0.7, 0.3], dtype=torch.float64)[:, None].expand(2, len(mean))
    return Mixture(weights, [Logistic(mean, scale), Laplace(mean + 2, 3 * scale)])


def source(make, count, seed=0, center=0.0):
    """Return parameters of a prior, and indices that it expects."""
    rng = np.random.default_rng(seed)
    mean = torch.from_numpy(center + rng.normal(0, 5, count))
    scale = torch.from_numpy(np.exp(rng.uniform(-3, 5, count)))
    x = mean + scale * torch.from_numpy(rng.laplace(0, 0.8, count))
    return (mean, scale), x


def code(coder, prior, offset, indices):
    """Write or read indices of the grid of step 1 through an offset."""
    index = code_indices(coder, indices, tails_of(prior, offset, 1.0))
    y_hat = coder.agree(offset + index)
    # what is decoded enters the next prior
    context = Gaussian(0.9 * y_hat, torch.ones_like(y_hat))
    return index, code_indices(coder, indices, tails_of(context, y_hat, 1.0))


def write(make, parameters, x, on_integers):
    prior = make(*parameters)
    offset = torch.zeros_like(x) if on_integers else prior.mean
    coder, indices = Encoder(), (x - offset).round()
    code(coder, prior, offset, indices)
    return coder.to_bytes(), indices


def read(coder, make, parameters, on_integers):
    prior = make(*parameters)
    offset = torch.zeros_like(prior.mean) if on_integers else prior.mean
    unknown = torch.full_like(prior.mean, torch.nan)
    with decoding(coder):
        return code(coder, prior, offset, unknown)


@pytest.mark.parametrize("on_integers", [False, True])
@pytest.mark.parametrize("make", [gaussian, laplace, mixture])
def test_indices_are_read_back(make, on_integers):
    parameters, x = source(make, 500)
    stream, indices = write(make, parameters, x, on_integers)
    for read_back in read(Decoder(stream), make, parameters, on_integers):
        assert torch.equal(read_back, indices)


@pytest.mark.parametrize("center", [0, 300])
@pytest.mark.parametrize("on_integers", [False, True])
@pytest.mark.parametrize("make", [gaussian, laplace, mixture])
def test_other_last_digits_decode_to_the_same(make, on_integers, center):
    """The parameters, and all numbers that are agreed on, differ by a relative 1e-13."""
    parameters, x = source(make, 500, center=center)
    stream, indices = write(make, parameters, x, on_integers)
    for seed in range(5):
        coder = OtherMachine(stream, 1e-13, seed)
        disturbed = [coder.disturb(parameter) for parameter in parameters]
        for read_back in read(coder, make, disturbed, on_integers):
            assert torch.equal(read_back, indices)


def numbers_near_edges(rng, count=400):
    """Return numbers at both sides of edges, so close that the error reaches beyond them."""
    grid = rng.integers(2 * GRID, 8 * GRID, count) - SHIFT + rng.uniform(-1, 1, count) * 1e-7
    return torch.from_numpy(grid / GRID)


def ratios_near_edges(rng, count=400):
    grid = rng.integers(RATIO_GRID + 1, 2 * RATIO_GRID, count) - SHIFT
    grid = grid + rng.uniform(-1, 1, count) * 2e-10
    return torch.from_numpy(grid / RATIO_GRID * 2.0 ** -rng.integers(1, 99, count))


@pytest.mark.parametrize(
    "method, numbers", [("agree", numbers_near_edges), ("agree_ratio", ratios_near_edges)]
)
def test_numbers_near_an_edge_are_rounded_as_by_the_encoder(method, numbers):
    differences, directions = 0, set()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        pieces = [numbers(rng), torch.from_numpy(rng.uniform(0, 9, 50)), numbers(rng)]
        coder = Encoder()
        rounded = [getattr(coder, method)(x) for x in pieces]
        directions |= {edge % 2 for edge in coder._edges}
        assert len(coder._edges) >= 800  # several in one stream, in several calls
        other = OtherMachine(coder.to_bytes(), 1e-13, seed)
        for x, expected in zip(pieces, rounded, strict=True):
            assert torch.equal(getattr(other, method)(x), expected)
        alone = OtherMachine(Encoder().to_bytes(), 1e-13, seed)  # without the directions
        differences += sum(
            (getattr(alone, method)(x) != expected).sum().item()
            for x, expected in zip(pieces, rounded, strict=True)
        )
    assert directions == {0, 1}
    assert differences > 1000  # so they were needed


@pytest.mark.parametrize("method", ["agree", "agree_ratio"])
def test_rounding_changes_little_and_keeps_exact_numbers(method):
    x = torch.from_numpy(np.random.default_rng(0).uniform(0, 40, 10000))
    rounded = getattr(Encoder(), method)(x)
    if method == "agree":
        assert (rounded - x).abs().max() <= 1 / GRID
    else:
        assert (rounded / x - 1).abs().max() <= 1 / RATIO_GRID
    exact = torch.arange(1.0, 99) / 4
    coder = Encoder()
    assert torch.equal(coder.agree(exact), exact.double()) and not coder._edges
    powers = 2.0 ** -torch.arange(1.0, 60)
    assert torch.equal(coder.agree_ratio(powers), powers.double()) and not coder._edges


def test_ratios_on_both_sides_of_a_power_of_two_agree():
    """Mantissa and exponent both change there."""
    power = torch.tensor([0.5, 0.25, 2.0**-70], dtype=torch.float64)
    below, above = power * (1 - 1e-13), power * (1 + 1e-13)
    rounded = [Encoder().agree_ratio(x) for x in (below, power, above)]
    assert torch.equal(rounded[0], rounded[1]) and torch.equal(rounded[2], rounded[1])


def test_an_ordinary_stream_has_few_directions():
    """A number is near an edge with probability 2 * MARGIN, and more for large ones."""
    parameters, x = source(gaussian, 10_000)
    coder, prior = Encoder(), Gaussian(*parameters)
    code(coder, prior, prior.mean, (x - prior.mean).round())
    assert len(coder._edges) < 10 + 4 * coder._count * MARGIN * (1 + x.abs().mean().item())


@pytest.mark.parametrize("mean, scale", [(0, 1), (7.2, 0.15), (30, 4), (-300, 20)])
def test_errors_of_logarithms_do_not_grow(mean, scale):
    """On a grid through 0, far from the mean, all probabilities are close to 0 or 1.

    The digits of 1 - p would be lost.
    """
    torch.manual_seed(0)
    x = mean + scale * torch.randn(5000, dtype=torch.float64)
    coders = []
    for make in (Gaussian, Inexact):
        prior = make(torch.full_like(x, mean)[None], torch.full_like(x, scale)[None])
        coders.append(RecordingEncoder())
        CodingWalk(coders[-1])("y", prior, x[None], offset=0.0)
    for first, second in zip(*(coder.ratios for coder in coders), strict=True):
        assert ((second - first).abs() <= 1e-11 * first).all()  # the margin is 1e-10


@pytest.mark.parametrize("make", [gaussian, mixture])
def test_other_probabilities_are_an_error(make):
    parameters, x = source(make, 200)
    stream, _ = write(make, parameters, x, False)
    for seed in range(6):
        coder = OtherMachine(stream, 1e-3, seed)
        disturbed = [coder.disturb(parameter) for parameter in parameters]
        with pytest.raises(DecodingError, match="the codec predicts other probabilities here"):
            read(coder, make, disturbed, False)


def test_damaged_bytes_are_an_error_or_change_nothing():
    """The last bits of a range coder's last word may be unused."""
    parameters, x = source(gaussian, 25)
    near = numbers_near_edges(np.random.default_rng(0), 5)
    coder, prior = Encoder(), Gaussian(*parameters)
    indices = (x - prior.mean).round()
    expected = coder.agree(near)
    code(coder, prior, prior.mean, indices)
    stream, failures = coder.to_bytes(), 0
    damaged = [stream[:length] for length in range(len(stream))]
    for bit in range(8 * len(stream)):
        flipped = bytearray(stream)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    for content in damaged:
        try:
            other = Decoder(content)
            with decoding(other):
                agreed = other.agree(near)
                read_back = code(other, prior, prior.mean, torch.full_like(x, torch.nan))
        except DecodingError:
            failures += 1
        else:
            assert torch.equal(read_back[0], indices) and torch.equal(agreed, expected)
    assert failures > len(damaged) - 80


def test_rounding_probabilities_costs_nothing():
    """The code length of 10^5 Gaussian indices, and what they cost in real bytes."""
    rng = np.random.default_rng(0)
    scale = torch.from_numpy(np.exp(rng.uniform(-2, 4, 100_000)))
    prior = Gaussian(torch.from_numpy(rng.normal(0, 3, 100_000)), scale)
    indices = (scale * torch.from_numpy(rng.normal(0, 1, 100_000))).round()
    ideal = prior.bits(prior.mean + indices).sum().item()
    coder = CountingEncoder()
    code_indices(coder, indices, tails_of(prior, prior.mean, 1.0))
    assert abs(coder.bits - ideal) < 1e-4 * ideal
    overhead = 8 * len(coder.to_bytes()) - coder.bits
    assert 0 < overhead < 8 * (5 + 3 * len(coder._edges)) + 128 + 1e-5 * ideal


def test_an_outlier_costs_a_known_number_of_bits():
    """About 20 bits and twice the logarithm of the index, whatever the prior."""
    for index in (50.0, 1e4, 1e9):
        indices, prior = torch.tensor([index]).double(), Gaussian(torch.zeros(1), torch.ones(1) / 9)
        coder = CountingEncoder()
        code_indices(coder, indices, tails_of(prior, prior.mean.double(), 1.0))
        assert coder.bits == pytest.approx(21 + 2 * math.log2(index), abs=2)


def test_ratios_are_rounded_outside_of_a_coder_as_an_encoder_rounds_them():
    x = torch.logspace(-9, 6, 3001, dtype=torch.float64)
    rounded = Encoder(b"").agree_ratio(x)
    assert torch.equal(round_ratio(x), rounded)
    assert torch.equal(round_ratio(rounded), rounded)

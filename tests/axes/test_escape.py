"""Escapes: a prefix code for j, silence where a Gaussian fits, few bits where it does not."""

import math

import constriction
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rdpipe.entropy import escape
from rdpipe.evaluation import evaluate
from rdpipe.estimators import means as mean, variances as variance
from rdpipe.evaluation.cell import Cell
from rdpipe.quantizers.scalar import Rounding
from rdpipe.quantizers.test_channel import TestChannel as Channel
from rdpipe.core.latents import Latents


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def cell_bits(r, sigma, quantizer, level):
    """Bits of one element of a cell, by the cell itself."""
    y = double(r)[:, None, None]
    one = Latents("a", y, 0 * y, double(sigma)[:, None, None])
    cell = Cell(mean.Codec(), variance.Codec(), quantizer)
    return cell.send(cell.prepare(one), level).bits


def test_lengths_are_those_of_a_complete_code():
    """Kraft's sum is 1."""
    lengths = escape.bits(torch.arange(0, 60, dtype=torch.float64))
    assert (2**-lengths).sum().item() == pytest.approx(1, abs=1e-15)


def test_the_code_is_as_long_as_stated_and_decodes():
    j = torch.zeros(200_000, dtype=torch.float64)
    j[::1000] = torch.arange(200) % 7
    coder = constriction.stream.queue.RangeEncoder()
    escape.transfer(coder, j)
    assert coder.num_bits() == pytest.approx(escape.bits(j).sum().item(), rel=1e-3, abs=64)
    decoder = constriction.stream.queue.RangeDecoder(coder.get_compressed())
    assert torch.equal(escape.transfer(decoder, torch.full_like(j, torch.nan)), j)


@given(st.floats(-9, 9), st.floats(1e-3, 1e3), st.floats(1e-2, 1e2))
def test_nothing_escapes_that_a_gaussian_allows(sigmas, sigma, step):
    """A million Gaussian numbers do not reach 6 sigma; rounding to zero is never an escape."""
    r, v = double(sigmas * sigma), double(sigma**2)
    assert escape.order(r, v, step).item() == 0 or abs(sigmas) * sigma > step / 2 + 9 * sigma
    assert escape.order(double(0.49 * step), double(1e-12), step).item() == 0


@given(st.floats(1, 40), st.floats(1e-2, 1e2), st.booleans())
def test_an_outlier_costs_the_logarithm_of_its_distance(octaves, sigma, channel):
    """Far out, 20 bits of escape, an order of log16, and the index itself: not the square."""
    quantizer, level = (Channel(), 1 / 12) if channel else (Rounding(), 1.0)
    sigmas = 2**octaves
    bits = cell_bits(sigmas * sigma, sigma, quantizer, level)
    unescaped = quantizer.code(double(sigmas * sigma), double(sigma**2), level).bits.item()
    index = max(0, math.log2(sigmas * sigma))
    assert bits <= min(unescaped + 1e-5, 110) or bits <= 20 + 0.6 * octaves + index + 9


def test_corrected_variances_are_near_the_best():
    """v = r^2 is best; a factor of 4 to either side of it costs 1.2 bits, with j itself."""
    r = double(*(2.0 ** torch.linspace(4, 40, 500)).tolist())
    ratio = escape.corrected(double(1.0), escape.order(r, double(1.0), 1e-3)) / r.square()
    assert 1 / 16.2 < ratio.min() and ratio.max() < 16.2


@pytest.mark.parametrize("furthest", [3.0, 9.05, 9.5, 300.0])
def test_what_a_cell_asks_of_escapes_is_all_of_it(furthest):
    """Whether none comes near, all that do round back, or some escape."""
    r, v = double(-1.0, 0.2, 0.0, furthest), double(1.0)
    variance, bits = escape.escaped(r, v, 1.0)
    j = escape.order(r, v, 1.0)
    assert j.any() == (furthest > 20)
    assert torch.equal(variance.expand(4), (v * 16**j).expand(4))
    assert torch.equal(torch.as_tensor(bits, dtype=r.dtype).expand(4), escape.bits(j))


def test_the_array_counts_escapes():
    y = torch.zeros((1, 10, 10)).double()
    y[0, 5, 5] = 1000.0
    one = Latents("a", y, 0 * y, torch.full_like(y, 0.5))
    bits = evaluate(one, ["codec"], ["codec"], ["rounding"])["bits"].item()
    order = round(math.log2(999.5 / 0.5) / 2)
    rest = Rounding().code(y.flatten(), double(*[0.25] * 100), 1.0).bits
    far = Rounding().code(double(1000.0), double(0.25 * 16**order), 1.0).bits.item()
    expected = rest[0].item() * 99 - 99 * math.log2(1 - 2**-20) + 20 + order + far
    assert bits == pytest.approx(expected, rel=1e-12)

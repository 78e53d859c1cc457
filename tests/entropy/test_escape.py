"""Escapes: a prefix code for j that costs little unless an element lies far out."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rdpipe.core.axes import BASELINE_CELL
from rdpipe.core.latents import Latents
from rdpipe.entropy import escape
from rdpipe.entropy.coder import Decoder, Encoder
from rdpipe.estimators.means import CodecMean
from rdpipe.estimators.variances import CodecVariance
from rdpipe.evaluation import evaluate
from rdpipe.evaluation.cell import Cell
from rdpipe.quantizers.scalar import Rounding
from rdpipe.quantizers.test_channel import TestChannel


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def cell_bits(r, sigma, quantizer, level):
    """Return the bits of one element in a cell."""
    y = double(r)[:, None, None]
    latents = Latents("a", y, 0 * y, double(sigma)[:, None, None])
    cell = Cell(BASELINE_CELL, CodecMean(), CodecVariance(), quantizer)
    return cell.code(cell.prepare(latents), level).bits


def test_code_lengths_satisfy_krafts_equality():
    """The sum of 2^-length over all j is 1."""
    lengths = escape.escape_bits(torch.arange(0, 60, dtype=torch.float64))
    assert (2**-lengths).sum().item() == pytest.approx(1, abs=1e-15)


def test_the_code_has_the_stated_length_and_decodes():
    j = torch.zeros(200_000, dtype=torch.float64)
    j[::1000] = torch.arange(200) % 7
    coder = Encoder()
    escape.code_escapes(coder, j)
    assert 8 * len(coder.to_bytes()) == pytest.approx(
        escape.escape_bits(j).sum().item(), rel=1e-3, abs=64
    )
    decoder = Decoder(coder.to_bytes())
    assert torch.equal(escape.code_escapes(decoder, torch.full_like(j, torch.nan)), j)


@given(st.floats(-9, 9), st.floats(1e-3, 1e3), st.floats(1e-2, 1e2))
def test_nothing_escapes_within_the_reach_of_a_gaussian(sigmas, sigma, step):
    """A million Gaussian numbers stay within 6 sigma; an index of zero never escapes."""
    r, v = double(sigmas * sigma), double(sigma**2)
    assert escape.escape_order(r, v, step).item() == 0 or abs(sigmas) * sigma > step / 2 + 9 * sigma
    assert escape.escape_order(double(0.49 * step), double(1e-12), step).item() == 0


@given(st.floats(1, 40), st.floats(1e-2, 1e2), st.booleans())
def test_the_cost_of_an_outlier_grows_with_the_logarithm_of_its_distance(octaves, sigma, channel):
    """It is 20 bits for the escape, the order, and the index, instead of the squared distance."""
    quantizer, level = (TestChannel(), 1 / 12) if channel else (Rounding(), 1.0)
    sigmas = 2**octaves
    bits = cell_bits(sigmas * sigma, sigma, quantizer, level)
    unescaped = quantizer.code(double(sigmas * sigma), double(sigma**2), level).bits.item()
    index = max(0, math.log2(sigmas * sigma))
    assert bits <= min(unescaped + 1e-5, 110) or bits <= 20 + 0.6 * octaves + index + 9


def test_enlarged_variances_are_near_the_best():
    """The best is v = r^2; a factor of 4 to either side costs 1.2 bits, j included."""
    r = double(*(2.0 ** torch.linspace(4, 40, 500)).tolist())
    ratio = escape.enlarge(double(1.0), escape.escape_order(r, double(1.0), 1e-3)) / r.square()
    assert 1 / 16.2 < ratio.min() and ratio.max() < 16.2


@pytest.mark.parametrize("furthest", [3.0, 9.05, 9.5, 300.0])
def test_the_shortcut_without_escapes_gives_the_same_result(furthest):
    """No element comes near, all near ones round back, or some escape."""
    r, v = double(-1.0, 0.2, 0.0, furthest), double(1.0)
    variance, bits = escape.escaped_variance(r, v, 1.0)
    j = escape.escape_order(r, v, 1.0)
    assert j.any() == (furthest > 20)
    assert torch.equal(variance.expand(4), (v * 16**j).expand(4))
    assert torch.equal(torch.as_tensor(bits, dtype=r.dtype).expand(4), escape.escape_bits(j))


def test_the_array_counts_escapes():
    y = torch.zeros((1, 10, 10)).double()
    y[0, 5, 5] = 1000.0
    latents = Latents("a", y, 0 * y, torch.full_like(y, 0.5))
    bits = evaluate(latents, ["codec"], ["codec"], ["rounding"])["bits"].item()
    order = round(math.log2(999.5 / 0.5) / 2)
    rest = Rounding().code(y.flatten(), double(*[0.25] * 100), 1.0).bits
    far = Rounding().code(double(1000.0), double(0.25 * 16**order), 1.0).bits.item()
    expected = rest[0].item() * 99 - 99 * math.log2(1 - 2**-20) + 20 + order + far
    assert bits == pytest.approx(expected, rel=1e-12)

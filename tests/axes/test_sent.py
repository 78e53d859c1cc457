"""Variances that are sent: their code exists, and is as long as they say."""

import constriction
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rdpipe.entropy.adaptive import adaptive_bits, read_adaptive, write_adaptive
from rdpipe.entropy.range_coding import interval_bits
from rdpipe.estimators.variances import Block, CausalWindow, Channel, Codec, SearchedChannel
from rdpipe.core.latents import Latents


def residuals(shape=(12, 13, 18), seed=0):
    generator = torch.Generator().manual_seed(seed)
    strength = torch.exp2(6 * torch.rand((shape[0], 1, 1), generator=generator) - 2)
    return (torch.randn(shape, generator=generator) * strength).double()


@pytest.mark.parametrize(
    "estimator", [Channel(), SearchedChannel(), Block(4), Block(8), CausalWindow().sender]
)
def test_what_is_sent_is_read_back_and_as_long_as_stated(estimator):
    r = residuals((96, 32, 48))
    index = estimator.index(r)
    coder = constriction.stream.queue.RangeEncoder()
    estimator.write(coder, index)
    words = coder.get_compressed()
    back = estimator.read(constriction.stream.queue.RangeDecoder(words), r.shape)
    assert torch.equal(back, index)
    assert 32 * len(words) == pytest.approx(estimator.index_bits(index), rel=0.002, abs=64)
    v, bits = estimator(None, r)
    assert bits == estimator.index_bits(index) and torch.equal(
        v, estimator.from_index(back, r.shape)
    )


def test_a_block_has_its_second_moment_to_half_an_octave():
    r = residuals()
    v, _ = Block(5)(None, r)
    for c, i, j in ((0, 0, 0), (3, 10, 15), (11, 5, 10)):  # whole, and cut at both borders
        block = (slice(c, c + 1), slice(i, i + 5), slice(j, j + 5))
        moment = r[block].square().mean().clamp(2**-8, 2**24)
        assert (v[block] == v[c, i, j]).all()
        assert abs((v[c, i, j] / moment).log2()) <= 0.5


@given(st.lists(st.integers(0, 4), max_size=40))
def test_adaptive_bits_are_those_of_the_sequential_estimate(letters):
    counts, bits = np.full(5, 0.5), 0.0
    for letter in letters:
        bits -= np.log2(counts[letter] / counts.sum())
        counts[letter] += 1
    assert adaptive_bits(np.array(letters, dtype=np.int64), 5) == pytest.approx(bits, abs=1e-9)


def test_adaptive_letters_are_read_back():
    letters = np.random.default_rng(0).geometric(0.4, 3000).clip(max=65) - 1
    coder = constriction.stream.queue.RangeEncoder()
    write_adaptive(coder, letters, 65)
    words = coder.get_compressed()
    decoder = constriction.stream.queue.RangeDecoder(words)
    assert np.array_equal(read_adaptive(decoder, 3000, 65), letters)
    assert 32 * len(words) == pytest.approx(adaptive_bits(letters, 65), abs=64)


SHAPES = {
    "Gaussian": lambda g: g,
    "Laplacian": lambda g: g.sign() * torch.special.ndtr(-g.abs()).mul(2).log().abs() / 2**0.5,
    "mixture": lambda g: g * torch.where(torch.arange(g.numel()).view_as(g) % 10 == 0, 3.0, 0.33),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sigma, tolerance", [(16.0, 1e-3), (4.0, 1e-2)])
def test_no_variance_beats_the_second_moment(shape, sigma, tolerance):
    """The density's optimum, whatever the distribution; rounding leaves at most the tolerance."""
    g = torch.randn((1, 400, 400), generator=torch.Generator().manual_seed(2)).double()
    r = SHAPES[shape](g) * sigma
    v = r.square().mean()
    bits = lambda variance: interval_bits(r.round(), variance.expand_as(r), 1.0).mean().item()
    best = min(bits(v * 2 ** (k / 16)) for k in range(-32, 33))
    assert bits(v) - best < tolerance
    sent = Channel().from_index(SearchedChannel().index(r), r.shape)[0, 0, 0]
    assert bits(sent) <= bits(Channel().from_index(Channel().index(r), r.shape)[0, 0, 0])
    assert bits(sent) - best < 0.003  # 1/8 octave


def test_only_senders_send():
    one = Latents("a", residuals(), None, torch.ones(12, 13, 18))
    assert Codec().sender is None and Codec()(one, None)[1] == 0
    assert CausalWindow(towards="codec").sender is None

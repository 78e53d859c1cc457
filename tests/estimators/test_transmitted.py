"""Transmitted variances: their code is read back and has the stated length."""

import numpy as np
import pytest
import torch

from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents
from rdpipe.entropy.coder import Decoder, Encoder
from rdpipe.entropy.range_coding import interval_bits
from rdpipe.estimators.base import Transmitter
from rdpipe.estimators.transmitted import (
    BlockVariance,
    ChannelVariance,
    SearchedChannelVariance,
)
from rdpipe.estimators.variances import CausalWindowVariance, CodecVariance

R = torch.randn((3, 17, 13), generator=torch.Generator().manual_seed(0)).double()


def residuals(shape=(12, 13, 18), seed=0):
    generator = torch.Generator().manual_seed(seed)
    strength = torch.exp2(6 * torch.rand((shape[0], 1, 1), generator=generator) - 2)
    return (torch.randn(shape, generator=generator) * strength).double()


@pytest.mark.parametrize(
    "estimator",
    [
        ChannelVariance(),
        SearchedChannelVariance(),
        BlockVariance(4),
        BlockVariance(8),
        CausalWindowVariance().transmitter,
    ],
)
def test_index_is_read_back_and_its_code_has_the_stated_length(estimator):
    r = residuals((96, 32, 48))
    index = estimator.index(r)
    encoder = Encoder()
    estimator.write(encoder, index)
    words = encoder.to_bytes()
    decoded = estimator.read(Decoder(words), r.shape)
    assert torch.equal(decoded, index)
    assert 8 * len(words) == pytest.approx(estimator.index_bits(index), rel=0.002, abs=100)
    v, bits = estimator(None, r)
    assert bits == estimator.index_bits(index)
    assert torch.equal(v, estimator.from_index(decoded, r.shape))


def test_channel_is_the_second_moment_within_an_eighth_of_an_octave():
    r = R * torch.tensor([0.01, 1, 300]).view(3, 1, 1)
    variance, bits = ChannelVariance()(None, r)
    octaves = np.log2(variance[:, 0, 0].numpy() / (r.numpy() ** 2).mean((1, 2)))
    assert (np.abs(octaves) <= 0.125 + 1e-9).all()
    assert bits == 3 * 8
    # 8 bits suffice: the logarithm is one of 256 multiples of a quarter
    index = 4 * np.log2(variance[:, 0, 0].numpy())
    np.testing.assert_allclose(index, index.round(), atol=1e-9)
    assert ((index >= -64) & (index <= 191)).all()


def test_block_is_the_second_moment_within_half_an_octave():
    r = residuals()
    v, _ = BlockVariance(5)(None, r)
    for c, i, j in ((0, 0, 0), (3, 10, 15), (11, 5, 10)):  # complete, and cut at both borders
        block = (slice(c, c + 1), slice(i, i + 5), slice(j, j + 5))
        moment = r[block].square().mean().clamp(2**-8, 2**24)
        assert (v[block] == v[c, i, j]).all()
        assert abs((v[c, i, j] / moment).log2()) <= 0.5


SHAPES = {
    "Gaussian": lambda g: g,
    "Laplacian": lambda g: g.sign() * torch.special.ndtr(-g.abs()).mul(2).log().abs() / 2**0.5,
    "mixture": lambda g: g * torch.where(torch.arange(g.numel()).view_as(g) % 10 == 0, 3.0, 0.33),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sigma, tolerance", [(16.0, 1e-3), (4.0, 1e-2)])
def test_no_variance_has_fewer_bits_than_the_second_moment(shape, sigma, tolerance):
    """It is optimal for any distribution; the discreteness of rounding leaves the tolerance."""
    g = torch.randn((1, 400, 400), generator=torch.Generator().manual_seed(2)).double()
    r = SHAPES[shape](g) * sigma
    v = r.square().mean()
    bits = lambda variance: interval_bits(r.round(), variance.expand_as(r), 1.0).mean().item()
    best = min(bits(v * 2 ** (k / 16)) for k in range(-32, 33))
    assert bits(v) - best < tolerance
    channel, searched = ChannelVariance(), SearchedChannelVariance()
    transmitted = channel.from_index(searched.index(r), r.shape)[0, 0, 0]
    assert bits(transmitted) <= bits(channel.from_index(channel.index(r), r.shape)[0, 0, 0])
    assert bits(transmitted) - best < 0.003  # 1/8 octave


def test_only_transmitted_variances_have_a_transmitter():
    image = Latents("a", residuals(), None, torch.ones(12, 13, 18))
    assert CodecVariance().transmitter is None and CodecVariance()(image, None)[1] == 0
    assert CausalWindowVariance(towards="codec").transmitter is None
    assert isinstance(BlockVariance(4).transmitter, Transmitter)


def test_size_of_a_block_must_be_a_positive_integer():
    with pytest.raises(InputError, match="block: size is 0; expected 1, 2, 3, ..."):
        BlockVariance(0)

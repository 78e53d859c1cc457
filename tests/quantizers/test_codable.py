"""The bitstreams of all codable quantizers: they decode exactly and have the stated length."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rdpipe.core.axes import axis_named
from rdpipe.core.plugins import load_attribute
from rdpipe.entropy.coder import Decoder, Encoder
from rdpipe.quantizers.base import CodableQuantizer

CLASSES = {
    name: load_attribute(target) for name, target in axis_named("quantizer").registry.items()
}
CODABLE = [
    name
    for name, quantizer in CLASSES.items()
    if issubclass(quantizer, CodableQuantizer) and not quantizer.uses_own_prior
]


def normal(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def encoder():
    return Encoder()


def decoder(coder):
    return Decoder(coder.to_bytes())


def test_every_realizable_quantizer_is_codable():
    assert set(CODABLE) == {
        "rounding", "dithered", "dithered-wiener", "deadzone", "lattice-e8", "trellis",
    }  # fmt: skip


@pytest.mark.parametrize("name", CODABLE)
@pytest.mark.parametrize("sigma", [0.01, 0.3, 1.0, 6.0, 3e4])
def test_streams_decode_exactly_and_have_the_stated_length(name, sigma):
    quantizer, shape = CLASSES[name](step=0.8), (24, 40, 30)
    scale = 0.8 * sigma * torch.exp(0.5 * normal(shape, 3))
    r, v, noise = scale * normal(shape, 4), scale.square(), normal(shape, 5)
    coder = encoder()
    written = quantizer.write(coder, r, v, 0.8, noise)
    output = quantizer.code(r, v, 0.8, noise)
    assert torch.equal(written, output.residual)
    assert torch.equal(quantizer.read(decoder(coder), v, 0.8, noise), written)
    assert 8 * len(coder.to_bytes()) == pytest.approx(output.bits.sum().item(), rel=5e-4, abs=100)


@pytest.mark.parametrize("name", CODABLE)
def test_many_small_pieces_cost_no_more_than_one(name):
    quantizer, coder = CLASSES[name](), encoder()
    pieces = [(c, n) for c in (1, 8, 11) for n in (0, 1, 2, 5)] * 20
    inputs = []
    for seed, shape in enumerate(pieces):
        v = torch.exp(normal(shape, seed + 1000))
        inputs.append((v.sqrt() * normal(shape, seed), v, normal(shape, seed + 2000)))
    written = [quantizer.write(coder, r, v, 1.0, noise) for r, v, noise in inputs]
    bits = sum(quantizer.code(r, v, 1.0, noise).bits.sum().item() for r, v, noise in inputs)
    reader = decoder(coder)
    for (_, v, noise), expected in zip(inputs, written, strict=True):
        assert torch.equal(quantizer.read(reader, v, 1.0, noise), expected)
    assert 8 * len(coder.to_bytes()) == pytest.approx(bits, rel=5e-4, abs=100)


@settings(max_examples=25, deadline=None)
@given(
    arrays(float, (9, 2), elements=st.floats(-1e12, 1e12)),
    arrays(float, (9, 2), elements=st.floats(-9, 9)),
    st.sampled_from(CODABLE),
)
def test_streams_code_any_residual_under_any_variance(r, exponent, name):
    r, v, quantizer = torch.from_numpy(r), torch.from_numpy(10**exponent), CLASSES[name]()
    coder, noise = encoder(), normal(r.shape)
    written = quantizer.write(coder, r, v, 1.0, noise)
    assert torch.equal(written, quantizer.code(r, v, 1.0, noise).residual)
    assert torch.equal(quantizer.read(decoder(coder), v, 1.0, noise), written)

"""Real bits of every realisable quantizer: they decode exactly and are as long as stated."""

import subprocess
import sys

import constriction
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rdpipe.core.axes import QUANTIZERS
from rdpipe.entropy import range_coding as stream
from rdpipe.core.plugins import load_attribute

EXISTING = [n for n, q in QUANTIZERS.items() if load(q).realisable and not load(q).own_prior]


def normal(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def encoder():
    return constriction.stream.queue.RangeEncoder()


def decoder(coder):
    return constriction.stream.queue.RangeDecoder(coder.get_compressed())


def test_every_quantizer_that_exists_has_a_stream():
    assert set(EXISTING) == {
        "rounding", "dithered", "dithered-wiener", "deadzone", "lattice-e8", "trellis",
    }  # fmt: skip


@pytest.mark.parametrize("name", EXISTING)
@pytest.mark.parametrize("sigma", [0.01, 0.3, 1.0, 6.0, 3e4])
def test_streams_decode_exactly_and_are_as_long_as_stated(name, sigma):
    quantizer, shape = load(QUANTIZERS[name])(step=0.8), (24, 40, 30)
    spread = 0.8 * sigma * torch.exp(0.5 * normal(shape, 3))
    r, v, noise = spread * normal(shape, 4), spread.square(), normal(shape, 5)
    coder = encoder()
    sent = quantizer.write(coder, r, v, 0.8, noise)
    coded = quantizer.code(r, v, 0.8, noise)
    assert torch.equal(sent, coded.residual)
    assert torch.equal(quantizer.read(decoder(coder), v, 0.8, noise), sent)
    assert coder.num_bits() == pytest.approx(coded.bits.sum().item(), rel=5e-4, abs=100)


@pytest.mark.parametrize("name", EXISTING)
def test_many_small_pieces_cost_no_more_than_one(name):
    quantizer, coder = load(QUANTIZERS[name])(), encoder()
    pieces = [(c, n) for c in (1, 8, 11) for n in (0, 1, 2, 5)] * 20
    inputs = []
    for seed, shape in enumerate(pieces):
        v = torch.exp(normal(shape, seed + 1000))
        inputs.append((v.sqrt() * normal(shape, seed), v, normal(shape, seed + 2000)))
    sent = [quantizer.write(coder, r, v, 1.0, noise) for r, v, noise in inputs]
    bits = sum(quantizer.code(r, v, 1.0, noise).bits.sum().item() for r, v, noise in inputs)
    back = decoder(coder)
    for (_, v, noise), one in zip(inputs, sent):
        assert torch.equal(quantizer.read(back, v, 1.0, noise), one)
    assert coder.num_bits() == pytest.approx(bits, rel=5e-4, abs=100)


@settings(max_examples=25, deadline=None)
@given(
    arrays(float, (9, 2), elements=st.floats(-1e12, 1e12)),
    arrays(float, (9, 2), elements=st.floats(-9, 9)),
    st.sampled_from(EXISTING),
)
def test_streams_hold_what_no_model_expects(r, exponent, name):
    r, v, quantizer = torch.from_numpy(r), torch.from_numpy(10**exponent), load(QUANTIZERS[name])()
    coder, noise = encoder(), normal(r.shape)
    sent = quantizer.write(coder, r, v, 1.0, noise)
    assert torch.equal(sent, quantizer.code(r, v, 1.0, noise).residual)
    assert torch.equal(quantizer.read(decoder(coder), v, 1.0, noise), sent)


@given(st.lists(st.integers(-(2**53), 2**53), min_size=1, max_size=20), st.floats(1e-3, 1e6))
def test_indices_have_no_limits(values, sigma):
    k = torch.tensor(values, dtype=torch.float64)
    tail = stream.gaussian_tail(lambda m: m - 0.5, torch.full_like(k, sigma**2))
    coder = encoder()
    stream.index(coder, k, tail)
    assert torch.equal(stream.index(decoder(coder), torch.full_like(k, torch.nan), tail), k)


def test_a_decoder_answers_for_itself():
    probability = torch.tensor([0.5, 0.9, 0.1, torch.nan])
    truth, coder = torch.tensor([True, False, True, False]), encoder()
    chosen = torch.tensor([True, True, True, False])
    stream.flag(coder, probability, truth, chosen)
    assert stream.flag(decoder(coder), probability, ~truth, chosen).tolist() == [
        True,
        False,
        True,
        False,
    ]


def test_importing_quantizers_imports_nothing_heavy():
    code = "import sys, rdpipe.axes.quantizer, rdpipe.axes.lattice, rdpipe.axes.trellis; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split() if "." in name}
    assert not loaded & {"torch", "scipy", "constriction"}

"""Random numbers that depend on their key alone."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from rdpipe.core.rng import generator, noise_key, standard_normal


@given(st.integers(), st.text())
def test_key_is_an_integer_of_64_bits(seed, name):
    assert 0 <= noise_key(seed, name) < 2**64
    assert noise_key(seed, name) == noise_key(seed, name) != noise_key(seed + 1, name)


def test_key_is_the_same_in_every_process():
    """Streams carry the key, and a decoder on another machine draws the noise again."""
    assert noise_key(0, "a") == 450643532380275732


def test_noise_depends_on_the_key_only():
    noise = standard_normal(5, (2, 3))
    torch.rand(7)
    assert torch.equal(standard_normal(5, (2, 3)), noise)
    assert noise.dtype == torch.float64 and noise.shape == (2, 3)
    assert not torch.equal(standard_normal(6, (2, 3)), noise)


def test_generator_is_seeded_by_the_key():
    draws = [torch.rand(3, generator=generator("a", 1)) for _ in range(2)]
    assert torch.equal(*draws)


def test_noise_is_standard_normal():
    noise = standard_normal(noise_key("moments"), (400_000,))
    assert abs(noise.mean()) < 0.01 and abs(noise.var() - 1) < 0.01

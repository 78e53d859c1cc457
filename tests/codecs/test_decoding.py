"""Decoding of latents by codecs with and without optional capabilities."""

import pytest
import torch

from rdpipe.codecs.decoding import decoded_latents, latent_stride, measured_gain, own_code_step
from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents


class PlainCodec:
    """A codec without optional capabilities."""

    def analyse(self, name, image): ...

    def synthesise(self, y_hat, height, width): ...


class ShrinkingCodec(PlainCodec):
    """A codec whose decoder moves latents towards their means."""

    stride = 8

    def reconstruct(self, y_hat, mean, scale):
        return mean + 0.9 * (y_hat - mean)


@pytest.fixture
def latents():
    """Random latents of shape (3, 4, 5)."""
    generator = torch.Generator().manual_seed(0)
    y, mean = (4 * torch.randn(3, 4, 5, generator=generator) for _ in range(2))
    return Latents("a", y, mean, torch.ones(3, 4, 5))


def test_latents_are_rounded_on_the_grid_of_their_mean(latents):
    y_hat = decoded_latents(PlainCodec(), latents)
    assert ((y_hat - latents.y).abs() <= 0.5 + 1e-6).all()
    torch.testing.assert_close((y_hat - latents.mean).round(), y_hat - latents.mean)


def test_own_reconstruction_of_the_codec_is_used(latents):
    rounded = decoded_latents(PlainCodec(), latents)
    expected = latents.mean + 0.9 * (rounded - latents.mean)
    assert torch.equal(decoded_latents(ShrinkingCodec(), latents), expected)


@pytest.mark.parametrize("codec", [PlainCodec(), ShrinkingCodec()])
def test_steps_of_the_own_code_give_the_same_latents(codec, latents):
    code = own_code_step(codec, latents.y)
    positions = torch.tensor([3, 7, 19])
    mean, scale = (t[1:].flatten(1)[:, positions] for t in (latents.mean, latents.scale))
    y_hat = code(slice(1, 3), positions, mean, scale)
    expected = decoded_latents(codec, latents)[1:].flatten(1)[:, positions]
    assert torch.equal(y_hat, expected)


def test_stride_is_that_of_the_codec_or_derived_from_the_image(latents):
    assert latent_stride(ShrinkingCodec(), latents, 64) == 8
    assert latent_stride(PlainCodec(), latents, 64) == 16
    assert latent_stride(PlainCodec(), latents, 61) == 16


@pytest.mark.parametrize(
    "gain, message",
    [
        (torch.ones(1, 3), r"decoder_gain returned shape \(1, 3\); expected \(3,\)"),
        (torch.tensor([1.0, torch.nan, 2.0]), "decoder_gain returned values that are not finite"),
    ],
)
def test_unusable_gain_is_refused(gain, message, latents):
    class CodecWithGain(PlainCodec):
        def decoder_gain(self, latents, height, width):
            return gain

    with pytest.raises(InputError, match=message):
        measured_gain(CodecWithGain(), latents, 64, 80)


def test_usable_gain_is_returned_as_a_tensor(latents):
    class CodecWithGain(PlainCodec):
        def decoder_gain(self, latents, height, width):
            return [1.0, 2.0, 3.0]

    gain = measured_gain(CodecWithGain(), latents, 64, 80)
    assert torch.equal(gain, torch.tensor([1.0, 2.0, 3.0]))

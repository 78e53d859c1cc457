"""The gain of a decoder against its Jacobian; test_small_codecs.py has all kinds of parts."""

import math

import numpy as np
import pytest
import torch

from rdpipe.codecs.gain import NotDifferentiableError, decoder_gain
from rdpipe.codecs.linear import BlockTransform
from rdpipe.core.errors import InputError
from rdpipe.entropy.priors import Gaussian

FIELD = np.random.default_rng(0).normal(0, 40, (128, 128, 1)).astype(np.float32)


def test_gain_of_an_orthonormal_transform_is_its_squared_step():
    codec = BlockTransform(np.eye(16), np.ones(16), np.ones(4), 3.0)
    (gain,) = decoder_gain(codec, "a", FIELD).values()
    # the noise is orthonormal: each channel has 1024 independent samples of chi^2
    assert gain.shape == (16,)
    assert ((gain - 9).abs() < 4 * 9 * math.sqrt(2 / 1024)).all()


class Scaled:
    """Two latents of pixels, which the decoder scales; a third one is not used."""

    multiple = 8

    def __init__(self, step=1.0, skip=None, weight=2.0):
        self.step, self.skip, self.weight = step, skip, weight

    def code(self, image, size, send):
        zeros = torch.zeros(1, 1, *size)
        prior = Gaussian(zeros, zeros + 1)
        y = send("y", prior, image, step=self.step, skip=self.skip)
        z = send("z", prior, image, side=True)
        send("unused", prior, image)
        return self.weight * y + 5 * send("w", prior, image) + z


def test_gain_is_that_of_a_step():
    gains = decoder_gain(Scaled(step=torch.tensor(0.5)), "a", FIELD)
    deviation = math.sqrt(2 / FIELD.size)
    assert list(gains) == ["y", "unused", "w"]  # side information has none
    assert gains["y"].item() == pytest.approx(1, rel=4 * deviation)
    assert gains["w"].item() == pytest.approx(25, rel=4 * deviation)
    assert gains["unused"].item() == 0


def test_gain_is_averaged_over_coded_elements():
    skip = torch.zeros(1, 1, 128, 128, dtype=torch.bool)
    skip[..., :96] = True
    gain = decoder_gain(Scaled(skip=skip), "a", FIELD)["y"].item()
    assert gain == pytest.approx(4, rel=4 * math.sqrt(2 / 4096))


def test_channel_that_is_never_coded_has_no_gain():
    skip = torch.ones(1, 1, 128, 128, dtype=torch.bool)
    assert decoder_gain(Scaled(skip=skip), "a", FIELD)["y"].item() == 0


def test_noise_depends_on_the_name_of_the_image_alone():
    codec = Scaled()
    first, again, other = (decoder_gain(codec, name, FIELD)["y"] for name in ("a", "a", "b"))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_gain_that_is_not_finite_is_refused():
    with pytest.raises(InputError, match="gain of the decoder for latent 'y' is not finite"):
        decoder_gain(Scaled(weight=torch.nan), "a", FIELD)


class NotDifferentiable(Scaled):
    def code(self, image, size, send):
        return super().code(image, size, send).detach()


class NoDerivative(Scaled):
    def code(self, image, size, send):
        root = super().code(image, size, send)
        decoded = root.square()
        root.zero_()  # the derivative needs it
        return decoded


@pytest.mark.parametrize("codec", [NotDifferentiable, NoDerivative])
def test_decoder_without_a_gradient_is_refused(codec):
    message = f"{codec.__name__} has no gradient of the image with respect to its latents; expected"
    with pytest.raises(NotDifferentiableError, match=message):
        decoder_gain(codec(), "a", FIELD)


def test_reason_of_a_missing_gradient_is_said():
    with pytest.raises(NotDifferentiableError, match="RuntimeError: one of the variables needed"):
        decoder_gain(NoDerivative(), "a", FIELD)

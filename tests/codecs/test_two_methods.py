"""Codecs of two methods: a decimation with a gradient as the mean."""

import numpy as np
import pytest
import torch
from extracting import extract
from scipy import stats

from rdpipe.codecs.two_methods import TwoMethods
from rdpipe.core.errors import InputError
from rdpipe.core.protocols import Codec
from rdpipe.core.running import decode_image, decodes
from rdpipe.core.walk import Walk

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 33, 3), dtype=np.uint8)
STEP = 10.0


class Gray:
    """Codes the mean of the colors of each pixel."""

    def analyse(self, image):
        y = image.mean(2)[None] / STEP
        mean = np.full_like(y, 12.0) + np.linspace(0, 1, y.shape[2])
        return y, mean, np.full_like(y, 4.0)

    def synthesise(self, y_hat, height, width):
        assert isinstance(y_hat, np.ndarray)
        assert y_hat.shape == (1, height, width)
        return np.repeat((STEP * y_hat[0, :, :, None]).round().clip(0, 255), 3, 2).astype(np.uint8)


class GrayTensors(Gray):
    def analyse(self, image):
        return tuple(torch.from_numpy(x) for x in super().analyse(image))

    def synthesise(self, y_hat, height, width):
        assert isinstance(y_hat, torch.Tensor)
        return torch.from_numpy(super().synthesise(y_hat.numpy(), height, width))


def direct():
    """Return the code length in bit and the decoded image."""
    y, mean, scale = Gray().analyse(IMAGE)
    index = np.rint(y - mean)
    upper, lower = (stats.norm.cdf((index + edge) / scale) for edge in (0.5, -0.5))
    return -np.log2(upper - lower).sum(), Gray().synthesise(index + mean, *IMAGE.shape[:2])


@pytest.mark.parametrize("codec", [Gray(), GrayTensors()])
def test_extraction_gives_the_direct_numbers(codec):
    row, arrays = extract(TwoMethods(codec), "a", IMAGE)
    bits, decoded = direct()
    assert row["latent_bits"] == pytest.approx(bits, rel=1e-9)
    assert row["side_bits"] == 0
    assert row["bytes"] == np.ceil(bits / 8)
    assert not row["real"]
    assert row["mse"] == pytest.approx(np.square(decoded - IMAGE.astype(float)).mean())
    for field, value in zip(("y", "mean", "scale"), Gray().analyse(IMAGE), strict=True):
        np.testing.assert_array_equal(arrays["y"][field], value)


def test_the_image_is_that_of_synthesise():
    np.testing.assert_array_equal(decode_image(TwoMethods(Gray()), Walk(), IMAGE), direct()[1])


def test_it_is_a_codec_that_does_not_decode():
    codec = TwoMethods(Gray())
    assert isinstance(codec, Codec)
    assert not decodes(codec)
    with pytest.raises(InputError, match="Gray got no image; expected one"):
        codec.code(None, (20, 33), Walk())


def test_shapes_that_do_not_fit_are_an_error():
    class Wrong(Gray):
        def analyse(self, image):
            y, mean, scale = super().analyse(image)
            return y, mean, scale[0]

    message = r"analyse of Wrong returned .* of shapes \(1, 20, 33\), \(1, 20, 33\), \(20, 33\)"
    with pytest.raises(InputError, match=message):
        extract(TwoMethods(Wrong()), "a", IMAGE)

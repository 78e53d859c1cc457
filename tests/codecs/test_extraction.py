"""Extraction of latents: what it measures, and what it refuses."""

import math

import numpy as np
import pytest
import torch
from extracting import extract

from rdpipe.codecs import bitstream
from rdpipe.codecs.compressai import mini_context, mini_mean_scale
from rdpipe.codecs.extraction import UNITS, Extractor
from rdpipe.core.errors import InputError
from rdpipe.core.latent_arrays import as_latents
from rdpipe.core.metrics import mean_squared_error
from rdpipe.core.running import decode_image
from rdpipe.core.walk import Walk
from rdpipe.entropy.priors import Gaussian, Laplace
from rdpipe.quantizers.test_channel import WeightedTestChannel

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)


class Pixels:
    """Blocks of 2 x 2 pixels and side information; what a test changes are attributes."""

    multiple = 16
    density = Gaussian
    names = ("y",)
    scale = 30.0
    offset = None
    side_only = False

    def code(self, image, size, send):
        side = torch.zeros(1, 3, size[0] // 16, size[1] // 16)
        y = None if image is None else torch.nn.functional.avg_pool2d(255 * image, 2)
        z = None if y is None else torch.nn.functional.avg_pool2d(y, 8) / 8
        z_hat = send("z", Gaussian(side + 16, side + 4), z, side=True)
        mean = 8 * torch.nn.functional.interpolate(z_hat, scale_factor=8)
        y_hat = 0
        for name in () if self.side_only else self.names:
            prior = self.density(mean, self.scale + torch.zeros_like(mean))
            part = None if y is None else y / len(self.names)
            y_hat = y_hat + send(name, prior, part, offset=self.offset, step=4.0)
        return torch.nn.functional.interpolate(y_hat / 255 + 0 * mean, scale_factor=2)


def changed(**attributes):
    """Return a codec with other attributes."""
    codec = Pixels()
    vars(codec).update(attributes)
    return codec


def test_row_has_what_the_walk_and_the_bytes_have():
    codec = Pixels()
    row, _ = extract(codec, "a", PIXELS)
    stream, decoded = bitstream.encode(codec, PIXELS), decode_image(codec, Walk(), PIXELS)
    assert row.keys() == UNITS.keys()
    assert row["bytes"] == len(stream) and row["real"] is True
    assert row["latent_bits"] + row["side_bits"] == pytest.approx(8 * len(stream), rel=0.01)
    assert row["mse"] == pytest.approx(mean_squared_error(PIXELS, decoded), rel=1e-4)
    assert row["psnr"] == pytest.approx(10 * math.log10(255**2 / row["mse"]))
    assert (row["pixels"], row["height"], row["width"]) == (64 * 96, 64, 96)
    assert math.isnan(row["forward_bits"])


def test_bytes_of_a_coder_of_its_own_are_counted():
    codec = mini_context(2, "cpu")
    row, _ = extract(codec, "a", PIXELS)
    stream = codec.compress(PIXELS)
    assert row["bytes"] == len(stream) and row["real"]
    assert row["mse"] == mean_squared_error(PIXELS, codec.decompress(stream))
    assert math.isfinite(row["forward_bits"])


def test_codec_that_does_not_decode_has_the_bytes_of_its_likelihood():
    row, _ = extract(changed(can_decode=False), "a", PIXELS)
    assert row["real"] is False
    assert row["bytes"] == math.ceil((row["latent_bits"] + row["side_bits"]) / 8)
    assert row["mse"] == extract(Pixels(), "a", PIXELS)[0]["mse"]


def test_latents_are_in_units_of_the_step():
    _, arrays = extract(Pixels(), "a", PIXELS)
    (latents,) = (as_latents("a", array) for array in arrays.values())
    blocks = PIXELS.reshape(32, 2, 48, 2, 3).mean((1, 3)).transpose(2, 0, 1)
    np.testing.assert_allclose(latents.y, blocks / 4, rtol=1e-6)
    assert (latents.scale == 30 / 4).all() and (latents.step == 4).all()
    assert latents.stride == 2 and latents.latent == "y"
    assert latents.offset is None and latents.own_bits is None and latents.coded is None
    assert latents.hyper is None and latents.gain is None


def test_own_bits_and_offset_are_present_where_they_differ():
    _, arrays = extract(changed(density=Laplace, offset=0.5), "a", PIXELS)
    latents = as_latents("a", arrays["y"])
    row, _ = extract(changed(density=Laplace, offset=0.5), "a", PIXELS)
    assert latents.own_bits.double().sum().item() == pytest.approx(row["latent_bits"], rel=1e-6)
    assert (latents.offset == 0.5 / 4).all()


def test_gain_is_measured_only_on_request():
    codec = mini_mean_scale(1, "cpu")
    without, arrays = (extract(codec, "a", PIXELS, gain=gain)[1]["y"] for gain in (False, True))
    assert set(arrays) - set(without) == {"gain"}
    assert arrays["gain"].shape == arrays["y"].shape[:1] and (arrays["gain"] > 0).all()
    weights = WeightedTestChannel().fit([as_latents("a", arrays)]).state()["weights"]
    np.testing.assert_allclose(weights, arrays["gain"] / arrays["gain"].mean(), rtol=1e-6)
    with pytest.raises(InputError, match="latents without the decoder's gain"):
        WeightedTestChannel().fit([as_latents("a", without)])


def test_several_latents_have_weights_and_distinct_names():
    _, arrays = extract(changed(names=("a", "b")), "image", PIXELS)
    assert list(arrays) == ["a", "b"]
    assert max(array.attrs["weight"] for array in arrays.values()) == 1
    assert [as_latents("image", array).latent for array in arrays.values()] == ["a", "b"]


def test_weights_of_latents_do_not_depend_on_the_image():
    """A decoder must know them, and they are not transmitted."""
    codec = changed(names=("a", "b"))
    weights = [
        [array.attrs["weight"] for array in extract(codec, name, pixels)[1].values()]
        for name, pixels in (("image", PIXELS), ("other", 255 - PIXELS[:32, :48]))
    ]
    assert weights[0] == weights[1]


def test_lack_of_memory_is_not_taken_for_lack_of_a_gradient(monkeypatch):
    def fail(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("rdpipe.codecs.extraction.latents_with_change", fail)
    with pytest.raises(torch.OutOfMemoryError):
        extract(Pixels(), "a", PIXELS, gain=True)


def test_structure_is_found_once_for_each_number_of_colors(monkeypatch):
    calls = []
    extractor = Extractor(Pixels())
    monkeypatch.setattr(
        "rdpipe.codecs.extraction.find_structure", lambda codec, colors: calls.append(colors)
    )
    for colors in (3, 3, 1, 3):
        extractor.structure(colors)
    assert calls == [3, 3, 1, 3] or calls[:1] == [3]  # None is not remembered as a result
    assert set(calls) == {1, 3}


def test_context_model_leaves_its_initial_mean_and_scale():
    _, arrays = extract(mini_context(2, "cpu"), "a", PIXELS)
    latents = as_latents("a", arrays["y"])
    assert latents.with_context and not torch.equal(latents.hyper, latents.mean)
    assert not torch.equal(latents.hyper_scale, latents.scale)
    rows, columns = np.indices(latents.y.shape[1:])
    first = torch.from_numpy((rows + columns) % 2 == 0)  # decoded without context
    assert torch.equal(latents.hyper_scale[:, first], latents.scale[:, first])
    assert not latents.latents_follow_past and not latents.grid_follows_past


@pytest.mark.parametrize(
    "attributes, message",
    [
        ({"side_only": True}, "the codec sends nothing but side information; expected a latent"),
        ({"scale": 0.0}, r"send\('y'\) got a scale of 0; expected positive numbers"),
        ({"scale": math.nan}, r"send\('y'\) got a scale of nan; expected positive numbers"),
        ({"scale": math.inf}, "latent 'y' of image 'a': scale has values that are not finite"),
        ({"offset": math.nan}, "latent 'y' of image 'a': offset has values that are not finite"),
    ],
)
def test_unusable_latents_are_refused(attributes, message):
    with pytest.raises(InputError, match=message):
        extract(changed(**attributes), "a", PIXELS)


def test_unusable_gain_is_refused():
    class Broken(Pixels):
        def code(self, image, size, send):
            return super().code(image, size, send) * torch.tensor(math.inf)

    with pytest.raises(InputError, match="^'a': the gain of the decoder for latent 'y' is not fin"):
        extract(Broken(), "a", PIXELS, gain=True)

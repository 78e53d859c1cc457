"""Real bytes of any codec: they decode to what was written, or not at all."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from small_models import IMAGE, adapt, bits_of, coding_model, wholes_of

from rdpipe.codecs.bitstream import HEADER, decode, encode
from rdpipe.codecs.compressai import mini_context, mini_mean_scale, mini_scale
from rdpipe.codecs.compressai.checkpoint import ARCHITECTURES
from rdpipe.core.assembly import assemble
from rdpipe.core.errors import InputError
from rdpipe.core.running import decode_image
from rdpipe.core.walk import Walk
from rdpipe.entropy.coder import GRID, SHIFT, Decoder, DecodingError, Encoder
from rdpipe.entropy.coding_walk import CodingWalk
from rdpipe.entropy.precision import in_float64
from rdpipe.entropy.priors import Gaussian, Laplace

OVERHEAD = 9 + 4 + 1 + 4
"""Bytes of the header, of the checksum and the number of edges, and of the end of the coder."""


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_bytes_decode_to_what_the_encoder_has(architecture):
    codec = adapt(coding_model(architecture))
    stream = encode(codec, IMAGE)
    decoded = decode(codec, stream)
    with in_float64(codec) as precise:
        writing, reading, walk = (
            CodingWalk(Encoder()),
            CodingWalk(Decoder(stream[HEADER.size :], stream[: HEADER.size])),
            Walk(),
        )
        np.testing.assert_array_equal(decode_image(precise, writing, IMAGE), decoded)
        np.testing.assert_array_equal(decode_image(precise, reading, size=(70, 130)), decoded)
        reading.coder.finish()
        of_walk = decode_image(precise, walk, IMAGE)
    wholes = (assemble(w.record) for w in (writing, reading, walk))
    for written, read, expected in zip(*(w.values() for w in wholes), strict=True):
        assert torch.equal(written.index, read.index) and read.y.isnan().all()
        # latents are on a grid of 2^-18, which may move pixels that lie between two levels
        assert torch.equal(written.index, expected.index)
        assert (read.offset - expected.offset).abs().max() < 1e-4
    difference = np.abs(decoded.astype(int) - of_walk)
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_bytes_are_as_many_as_the_bits(architecture):
    codec = adapt(coding_model(architecture))
    bits = sum(bits_of(wholes_of(codec)).values())
    assert abs(len(encode(codec, IMAGE)) - bits / 8) < OVERHEAD + 0.01 * bits / 8


DECODER = """
import sys
import numpy as np
from rdpipe.codecs.bitstream import decode
from rdpipe.codecs.compressai import mini_context, mini_mean_scale
for codec in (mini_context, mini_mean_scale):
    stream = open(codec.__name__, "rb").read()
    np.save(codec.__name__, decode(codec(2, "cpu"), stream))
"""


def test_bytes_decode_in_another_process(tmp_path):
    expected = {}
    for make in (mini_context, mini_mean_scale):
        stream = encode(make(2, "cpu"), IMAGE)
        (tmp_path / make.__name__).write_bytes(stream)
        expected[make.__name__] = decode(make(2, "cpu"), stream)
    subprocess.run([sys.executable, "-c", DECODER], check=True, cwd=tmp_path)
    for name, image in expected.items():
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), image)


@pytest.fixture(scope="module")
def codec():
    return mini_mean_scale(2, "cpu")


@pytest.fixture(scope="module")
def stream(codec):
    return encode(codec, IMAGE)


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (3, 200)])
def test_size_of_the_image_is_kept(codec, size):
    image = IMAGE[: size[0], : size[1]]
    image = np.pad(image, ((0, size[0] - image.shape[0]), (0, size[1] - image.shape[1]), (0, 0)))
    stream = encode(codec, image)
    assert HEADER.unpack_from(stream)[1:] == size and decode(codec, stream).shape == image.shape


def test_encoding_is_deterministic(codec, stream):
    assert encode(codec, IMAGE) == stream


def test_changed_byte_is_an_error(codec, stream):
    """It is never another image, also not one of another size. The last bytes may hold nothing."""
    expected = decode(codec, stream)
    for place in (0, 4, 8, *range(HEADER.size, HEADER.size + 9), *range(30, len(stream), 97)):
        damaged = bytearray(stream)
        damaged[place] ^= 16
        try:
            decoded = decode(codec, bytes(damaged))
        except DecodingError:
            continue
        assert place >= len(stream) - 4
        np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 11, 12, 13, 30, 200])
def test_missing_bytes_are_an_error(codec, stream, length):
    with pytest.raises(DecodingError, match="the bytes do not decode to the symbols that were"):
        decode(codec, stream[:length])


def test_stream_of_another_codec_is_an_error(codec, stream):
    for other in (mini_scale(2, "cpu"), mini_context(2, "cpu")):
        with pytest.raises(DecodingError, match="expected the same weights"):
            decode(other, stream)


def test_image_that_the_codec_refuses_is_refused(codec):
    with pytest.raises(InputError, match="the image has dtype float64"):
        encode(codec, IMAGE / 255)


def scales(size):
    """Return standard deviations between 0.05 and 100."""
    return torch.linspace(-3, 4.6, size[0] * size[1] * 3).exp().view(1, 3, *size)


class Shaped:
    """Pixels, with a step, a grid and a density that the test chooses."""

    multiple = 4

    def __init__(self, **arguments):
        self.density = arguments.pop("density", Gaussian)
        self.arguments = arguments

    def code(self, image, size, send):
        scale = scales(size)
        y = None if image is None else 100 * (image - 0.5)
        y_hat = send("y", self.density(scale.flip(3).log(), scale), y, **self.arguments)
        return y_hat / 100 + 0.5


@pytest.mark.parametrize("density", [Gaussian, Laplace])
@pytest.mark.parametrize(
    "arguments",
    [{}, {"offset": 0.25}, {"step": 0.1}, {"step": scales((72, 132)).sqrt(), "offset": 0.0}],
)
def test_elements_of_any_size_decode(density, arguments):
    """Also where the density expects none of them: 50 with a standard deviation of 0.05."""
    codec = Shaped(density=density, **arguments)
    stream, walk = encode(codec, IMAGE), Walk()
    decoded = decode(codec, stream)
    with in_float64(codec) as precise:
        of_walk = decode_image(precise, walk, IMAGE)
    assert np.abs(decoded.astype(int) - of_walk).max() <= 1
    (whole,) = assemble(walk.record).values()
    # an element costs at most about 20 + 2 log2 of its index, whatever its prior
    most = 23 + 2 * whole.index.abs().clamp(min=1).log2()
    bits = torch.minimum(whole.bits, most).sum().item()
    assert 8 * len(stream) < 1.02 * bits + 8 * OVERHEAD


class OnEdges:
    """Means and scales so close to the edges of the grid that a decoder rounds to other ones.

    What is decoded decides about the next part, where it makes a difference of a whole step.

    Parameters
    ----------
    error : float
        What another machine computes differently.
    """

    multiple = 1

    def __init__(self, error):
        self.error = error

    def code(self, image, size, send):
        shape = (1, 3, *size)
        steps = torch.arange(int(np.prod(shape)), dtype=torch.float64).view(shape) % 1000 - 500
        mean = (steps + 1 - SHIFT) / GRID + self.error
        y = None if image is None else image - 0.5
        y_hat = send("y", Gaussian(mean, torch.ones_like(mean)), y)
        amplified = ((y_hat * GRID) % 2 > 0.5).double()  # whether the grid point is odd
        y = None if image is None else 100 * image
        return send("w", Gaussian(50 + 30 * amplified, 3 + 20 * amplified), y) / 100


@pytest.mark.parametrize("of_encoder, of_decoder", [(1e-13, -1e-13), (-1e-13, 1e-13)])
def test_predictions_that_differ_near_an_edge_decode(of_encoder, of_decoder):
    image = IMAGE[:40, :40]
    stream = encode(OnEdges(of_encoder), image)
    with in_float64(OnEdges(of_encoder)) as precise:
        expected = decode_image(precise, CodingWalk(Encoder()), image)
    np.testing.assert_array_equal(decode(OnEdges(of_decoder), stream), expected)


def test_predictions_that_differ_more_are_an_error():
    stream = encode(OnEdges(1e-11), IMAGE[:40, :40])
    with pytest.raises(DecodingError, match="predicts other probabilities here"):
        decode(OnEdges(-1e-11), stream)

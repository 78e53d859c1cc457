"""What a decoder of a cell knows of a latent: its grid, its name and its place, but no elements."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from extracting import extract
from gaussian_latents import make_cell, make_latents, normal

from rdpipe.core.errors import InputError
from rdpipe.core.latent_arrays import as_latents
from rdpipe.entropy.priors import Gaussian
from rdpipe.estimators.base import Mean
from rdpipe.estimators.means import CodecMean, ZeroMean
from rdpipe.estimators.transmitted import ChannelVariance
from rdpipe.estimators.variances import CodecVariance
from rdpipe.evaluation.bitstreams import decode, encode
from rdpipe.quantizers.scalar import DeadZone, Dithered, Rounding

FIELD = (3 * normal((8, 12, 1), 1)).float().numpy()
"""An image in gray levels."""


class Planes:
    """Pixels as they are, in two latents: the even and the odd rows.

    Parameters
    ----------
    mean : float
        Mean of the prior.
    options : dict
        Options of ``send``. A function is called with the shape of the latent.
    """

    multiple = 2

    def __init__(self, mean=0.0, **options):
        self.mean, self.options = mean, options

    def code(self, image, size, send):
        shape = (1, 1, size[0] // 2, size[1])
        scale = torch.full(shape, 3.0)
        options = {
            name: value(shape) if callable(value) else value for name, value in self.options.items()
        }
        prior, decoded = Gaussian(torch.full(shape, self.mean), scale), []
        for i, name in enumerate(("even", "odd")):
            y = None if image is None else image[..., i::2, :]
            decoded.append(send(name, prior, y, **options))
        return torch.stack(decoded, 3).reshape(1, 1, *size)


class Squares:
    """The mean of every square of two pixels by two."""

    multiple = 2

    def code(self, image, size, send):
        y = None if image is None else torch.nn.functional.avg_pool2d(image, 2)
        mean = torch.zeros((1, 1, size[0] // 2, size[1] // 2))
        y_hat = send("squares", Gaussian(mean, mean + 3.0), y)
        return torch.nn.functional.interpolate(y_hat, size)


def planes_of(field):
    """Return the two latents of an image, float64."""
    return [torch.from_numpy(field[i::2, :, 0]).double() for i in range(2)]


def round_trip_of(codec, cells, field=FIELD):
    """Write and read a field; return the bits of the stream, the decoded latents and the image."""
    _, arrays = extract(codec, "image", field)
    latents = [as_latents("image", of_latent) for of_latent in arrays.values()]
    stream, written = encode(codec, cells, latents, field, 0)
    decoded = decode(codec, cells, stream)
    assert all(map(torch.equal, decoded.y_hat, written.y_hat))
    assert np.array_equal(decoded.image, written.image)
    return 8 * len(stream), [y_hat[0] for y_hat in decoded.y_hat], decoded.image


def cells_of_planes(mean, variance, quantizer):
    """Return one cell for both latents."""
    return {name: make_cell(mean, variance, quantizer) for name in ("even", "odd")}


def every_third(shape):
    """Return a mask of every third element."""
    return (torch.arange(shape[2] * shape[3]) % 3 == 0).view(shape)


def test_elements_that_are_not_coded_decode_to_the_grid_without_side_information():
    """The mean is not that of the codec, so nothing of the codec but its grid is known."""
    codec = Planes(mean=0.7, offset=0.25, skip=every_third)
    cells = cells_of_planes(ZeroMean(), ChannelVariance(), Rounding())
    assert not any(cell.includes_side for cell in cells.values())
    _, y_hats, image = round_trip_of(codec, cells)
    for plane, y_hat, rows in zip(planes_of(FIELD), y_hats, (0, 1), strict=True):
        expected = torch.where(every_third((1, 1, *plane.shape))[0, 0], 0.25, plane.round())
        torch.testing.assert_close(y_hat, expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(image[rows::2, :, 0], expected, atol=1e-5)


@pytest.mark.parametrize("mean", [ZeroMean(), CodecMean()])
def test_latents_that_are_not_finite_are_refused(mean):
    """A codec that computes no number for elements that it does not code has no picture either."""
    codec = Planes(mean=0.7, offset=0.0, skip=every_third)
    _, arrays = extract(codec, "image", FIELD)
    latents = [as_latents("image", of_latent) for of_latent in arrays.values()]
    variance = CodecVariance() if mean.is_codec else ChannelVariance()
    cells = cells_of_planes(mean, variance, Rounding())
    stream, _ = encode(codec, cells, latents, FIELD, 0)
    codec.options["offset"] = lambda shape: torch.where(every_third(shape), torch.nan, 0.0)
    message = "decodes to values that are not finite; expected finite numbers"
    with pytest.raises(InputError, match=message):
        decode(codec, cells, stream)
    with pytest.raises(InputError, match=message):
        encode(codec, cells, latents, FIELD, 0)


class KnowingMean(Mean):
    """A mean that depends on something else than the codec's prediction.

    Parameters
    ----------
    predict : callable
        Returns the mean, or a number, from latents.
    """

    information = "decodable"

    def __init__(self, predict):
        self.predict = predict

    def __call__(self, latents):
        return torch.zeros_like(latents.mean) + self.predict(latents)


def step_by_row(shape):
    """Return a step for each row."""
    return (1 + torch.arange(float(shape[2])) / 4).view(1, 1, -1, 1).expand(shape)


@pytest.mark.parametrize(
    "options, predict, expected",
    [
        ({}, lambda x: {"even": 0.3, "odd": -0.2}[x.latent], {"even": 0.3, "odd": -0.2}),
        ({"step": step_by_row}, lambda x: x.step / 3, step_by_row((1, 1, 4, 12))[0, 0] / 3),
        ({"skip": every_third}, lambda x: 0.4 * x.coded, 0.4),
        ({"offset": 0.3}, lambda x: 2 * x.offset, 0.6),
        ({}, lambda x: 0.0 if x.step is None else torch.nan, 0.0),
        ({}, lambda x: x.image_needs_side + x.grid_follows_past + 0.1 * x.with_context, 0.0),
    ],
    ids=["latent", "step", "coded", "offset", "no-step", "structure"],
)
def test_mean_of_a_user_has_the_same_latents_in_the_decoder(options, predict, expected):
    """Decoded elements lie at integer distances from the mean, in units of the step."""
    mean = KnowingMean(predict)
    cells = cells_of_planes(mean, CodecVariance(), Rounding())
    _, y_hats, _ = round_trip_of(Planes(**options), cells)
    for name, plane, y_hat in zip(("even", "odd"), planes_of(FIELD), y_hats, strict=True):
        shape = (1, 1, *plane.shape)
        mu = expected[name] if isinstance(expected, dict) else expected
        step = options["step"](shape)[0, 0].double() if "step" in options else 1.0
        value = step * (mu + (plane / step - mu).round())
        if "skip" in options:
            value = torch.where(every_third(shape)[0, 0], 0.0, value)
        torch.testing.assert_close(y_hat, value, rtol=0, atol=1e-4)


@pytest.mark.parametrize("stride", [None, 2])
def test_mean_of_a_user_has_the_same_stride_in_the_decoder(stride):
    """Rows of the planes are two pixels apart, and columns one pixel; those of squares are two."""
    codec = Planes() if stride is None else Squares()
    names = ("even", "odd") if stride is None else ("squares",)
    mean = KnowingMean(lambda x: 0.3 if x.stride == stride else torch.nan)
    cells = {name: make_cell(mean, CodecVariance(), Rounding()) for name in names}
    _, y_hats, _ = round_trip_of(codec, cells)
    residual = torch.cat([y_hat.flatten() for y_hat in y_hats]) - 0.3
    torch.testing.assert_close(residual, residual.round(), rtol=0, atol=1e-4)


def test_latents_with_too_many_columns_are_refused():
    field = np.zeros((2, 2**16, 1), np.float32)
    codec, cells = Planes(), cells_of_planes(ZeroMean(), CodecVariance(), Rounding())
    latents = [
        replace(make_latents(torch.zeros(1, 1, 2**16)), latent=name) for name in ("even", "odd")
    ]
    message = r"latent 'even' has shape \(1, 1, 65536\); expected at most 65535 a side"
    with pytest.raises(InputError, match=message):
        encode(codec, cells, latents, field, 0)
    narrow = np.ascontiguousarray(field[:, 2:])
    _, y_hats, _ = round_trip_of(codec, cells, narrow)
    assert y_hats[0].shape[1] == 2**16 - 2 and not y_hats[0].any()


@pytest.mark.parametrize("step", [0.9, 1.1])
def test_step_is_the_same_in_the_decoder(step):
    """The header has it in single precision."""
    cells = cells_of_planes(ZeroMean(), CodecVariance(), Rounding(step))
    _, y_hats, _ = round_trip_of(Planes(), cells)
    for plane, y_hat in zip(planes_of(FIELD), y_hats, strict=True):
        expected = step * (plane / step).round()
        torch.testing.assert_close(y_hat, expected, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("quantizer", [Rounding(), DeadZone(), Dithered()])
def test_elements_that_are_not_coded_cost_nothing(quantizer):
    """A mask of all but a few elements: the bytes are those of the few, and of the header."""
    field = (3 * normal((200, 200, 1), 2)).float().numpy()
    cells = cells_of_planes(ZeroMean(), CodecVariance(), quantizer)

    def most(shape):
        mask = torch.ones(shape, dtype=torch.bool)
        mask[0, 0, 0, :50] = False
        return mask

    masked, y_hats, _ = round_trip_of(Planes(offset=0.0, skip=most), cells, field)
    few, _, _ = round_trip_of(Planes(), cells, np.ascontiguousarray(field[:2, :50]))
    assert masked == pytest.approx(few, abs=40)
    assert not any(y_hat.flatten()[50:].any() for y_hat in y_hats)

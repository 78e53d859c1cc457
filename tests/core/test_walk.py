"""Walks: what `send` returns and records, and how parts are put together."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from rdpipe.core.assembly import assemble, own_bits
from rdpipe.core.errors import InputError
from rdpipe.core.running import decode_image, padded_size, run, to_image, to_tensor, visit
from rdpipe.core.walk import Replay, Walk, ZeroWalk
from rdpipe.entropy.priors import Gaussian, Laplace

SHAPE = (1, 4, 6, 5)


def normal(seed, shape=SHAPE):
    """Return normal numbers, float32."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


Y, MEAN, SCALE = 4 * normal(0), normal(1), normal(2).exp()


def prior_at(*at):
    """Return the density of a region."""
    return Gaussian(MEAN[:, *at], SCALE[:, *at])


def rounded(y, mean):
    """Return y, rounded to the nearest point of a grid through the mean."""
    return torch.from_numpy(np.rint(y.double().numpy() - mean.double().numpy())) + mean.double()


def test_elements_are_rounded_to_the_grid_of_the_mean():
    y_hat = Walk()("y", Gaussian(MEAN, SCALE), Y)
    assert y_hat.dtype == torch.float32 and y_hat.shape == SHAPE
    torch.testing.assert_close(y_hat, rounded(Y, MEAN).float())
    assert (y_hat - Y).abs().max() <= 0.5 + 1e-6


@pytest.mark.parametrize("offset", [0.0, 0.25, normal(3)])
@pytest.mark.parametrize("step", [1.0, 2, 0.125, normal(4).exp()])
def test_grid_has_an_offset_and_a_step(offset, step):
    walk = Walk()
    y_hat = walk("y", Gaussian(MEAN, SCALE), Y, offset=offset, step=step)
    index = walk.record[0].index
    torch.testing.assert_close(y_hat, (offset + step * index).float())
    assert ((y_hat - Y).abs() <= step / 2 + 1e-5 + torch.zeros(SHAPE)).all()
    assert torch.equal(index, index.round())


def test_y_hat_has_the_dtype_of_the_mean():
    assert Walk()("y", Gaussian(MEAN.double(), SCALE.double()), Y).dtype == torch.float64


def test_offset_of_few_elements_is_that_of_all():
    walk = Walk()
    by_channel = torch.arange(4.0).view(1, 4, 1, 1)
    walk("y", Gaussian(MEAN, SCALE), Y, offset=by_channel, step=by_channel + 1)
    whole = assemble(walk.record)["y"]
    assert torch.equal(whole.offset, by_channel[0].expand(4, 6, 5).double())
    assert torch.equal(whole.step, (by_channel[0] + 1).expand(4, 6, 5).double())


def test_elements_that_are_not_coded_have_their_offset():
    walk, skip = Walk(), SCALE < 0.7
    y_hat = walk("y", Gaussian(MEAN, SCALE), Y, skip=skip)
    assert torch.equal(y_hat[skip], MEAN[skip]) and not torch.equal(y_hat[~skip], MEAN[~skip])
    whole = assemble(walk.record)["y"]
    assert torch.equal(whole.coded, ~skip[0])
    assert (whole.bits[skip[0]] == 0).all() and (whole.bits[~skip[0]] > 0).all()


def halves():
    """Return the two halves of a checkerboard."""
    row, column = torch.arange(6)[:, None], torch.arange(5)
    first = ((row + column) % 2 == 0).expand(SHAPE)
    return first, ~first


def send_whole(send):
    """Send y at once."""
    return send("y", Gaussian(MEAN, SCALE), Y)


def send_channels(send):
    """Send y a few channels at a time."""
    places = [slice(0, 1), slice(1, 4)]
    return torch.cat([send("y", prior_at(place), Y[:, place]) for place in places], 1)


def send_masks(send):
    """Send y half by half; what is not in a part is 0."""
    parts = [send("y", Gaussian(MEAN, SCALE), Y, at=at) for at in halves()]
    for part, at in zip(parts, halves(), strict=True):
        assert (part[~at] == 0).all()
    return sum(parts)


def send_slices(send):
    """Send y a row at a time, from the last channel on."""
    y_hat = torch.zeros(SHAPE)
    for channel in reversed(range(4)):
        for row in range(6):
            at = slice(channel, channel + 1), slice(row, row + 1), slice(0, 5)
            y_hat[:, *at] = send("y", prior_at(*at), Y[:, *at], at=at)
    return y_hat


PARTS = [send_whole, send_channels, send_masks, send_slices]


@pytest.mark.parametrize("send_parts", PARTS)
def test_latent_is_put_together_from_its_parts(send_parts):
    walk = Walk()
    y_hat = send_parts(walk)
    torch.testing.assert_close(y_hat, rounded(Y, MEAN).float())
    (whole,) = assemble(walk.record).values()
    for value, expected in ((whole.y, Y), (whole.mean, MEAN), (whole.scale, SCALE)):
        assert torch.equal(value, expected[0])
    assert torch.equal(whole.offset, MEAN[0].double()) and (whole.step == 1).all()
    torch.testing.assert_close((whole.offset + whole.index).float(), y_hat[0])
    assert whole.coded is None and whole.gaussian and not whole.side and whole.name == "y"
    cdf = stats.norm(MEAN[0].double(), SCALE[0].double()).cdf
    probability = cdf(y_hat[0].double() + 0.5) - cdf(y_hat[0].double() - 0.5)
    likely = probability > 1e-6
    expected = -np.log2(probability[likely])
    np.testing.assert_allclose(whole.bits.numpy()[likely], expected, rtol=1e-4)


@pytest.mark.parametrize("send_parts", PARTS)
def test_replay_returns_the_given_latent(send_parts):
    latent = normal(9)
    for of_shape in (latent, latent[0], latent.double()):
        replay = Replay({"y": of_shape})
        assert torch.equal(send_parts(replay), latent) and not replay.record


def test_replay_does_not_ask_for_priors_of_slices():
    def prior():
        raise AssertionError("not needed")

    at = slice(1, 2), slice(0, 6), slice(2, 4)
    latent = normal(9)
    assert torch.equal(Replay({"y": latent})("y", prior, at=at), latent[:, *at])


def test_replay_rounds_what_is_not_given():
    replay = Replay({"z": normal(9)})
    torch.testing.assert_close(replay("y", Gaussian(MEAN, SCALE), Y), rounded(Y, MEAN).float())
    assert [coded.part.name for coded in replay.record] == ["y"]


def test_zero_walk_decodes_only_side_information():
    walk = ZeroWalk()
    z_hat = walk("z", Gaussian(MEAN, SCALE), Y, side=True)
    torch.testing.assert_close(z_hat, rounded(Y, MEAN).float())
    assert (walk("y", Gaussian(MEAN, SCALE), Y) == 0).all()
    # without the latent itself, what a decoder has of skipped elements is known
    skip = SCALE < 0.7
    y_hat = walk("y", Gaussian(MEAN, SCALE), None, skip=skip)
    assert torch.equal(y_hat[skip], MEAN[skip]) and (y_hat[~skip] == 0).all()
    assert torch.equal(assemble(walk.record[:2])["y"].mean, MEAN[0])


def test_prior_may_be_a_function():
    lazy = Walk()
    y_hat = lazy("y", lambda: Gaussian(MEAN, SCALE), Y)
    assert torch.equal(y_hat, Walk()("y", Gaussian(MEAN, SCALE), Y))
    assert lazy.record[0].part.prior.is_gaussian


def test_bits_of_parts_with_different_densities_are_their_own():
    walk = Walk()
    walk("y", Gaussian(MEAN, SCALE), Y)
    walk("y", Laplace(MEAN, SCALE), Y, step=0.5)
    together = own_bits(walk.record)
    for bits, coded in zip(together, walk.record, strict=True):
        torch.testing.assert_close(bits, own_bits([coded])[0])
        points = coded.part.point(coded.index)
        torch.testing.assert_close(bits, coded.part.prior.bits(points, coded.part.step))
    assert not assemble(walk.record)["y"].gaussian


def test_order_of_latents_is_that_of_their_first_parts():
    walk = Walk()
    for name in ("b", "a", "b"):
        walk(name, Gaussian(MEAN, SCALE), Y, side=name == "a")
    wholes = assemble(walk.record)
    assert list(wholes) == ["b", "a"] and wholes["a"].side
    assert wholes["b"].y.shape == (8, 6, 5)


def test_parameters_of_few_axes_are_a_latent():
    walk = Walk()
    walk("parameters", Gaussian(torch.zeros(7), torch.ones(7)), torch.arange(7.0))
    whole = assemble(walk.record)["parameters"]
    assert whole.y.shape == (1, 1, 7) and torch.equal(whole.index[0, 0], torch.arange(7.0).double())


def test_latent_of_another_shape_is_refused():
    message = r"send\('y'\) got y of shape \(1, 4, 6\) and a prior of shape \(1, 4, 6, 5\)"
    with pytest.raises(InputError, match=message):
        Walk()("y", Gaussian(MEAN, SCALE), Y[..., 0])


@pytest.mark.parametrize("name", ["a/b", "", "y 1", ".zgroup", "é"])
def test_name_that_is_none_of_a_group_is_refused(name):
    with pytest.raises(InputError, match="expected a name of letters, digits, '_', '-' and '.'"):
        Walk()(name, Gaussian(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)))


def test_encoder_without_elements_is_refused():
    with pytest.raises(InputError, match="latent 'y' has no elements; expected them at an encoder"):
        Walk()("y", Gaussian(MEAN, SCALE))


def test_parts_of_different_kinds_are_refused():
    walk = Walk()
    walk("y", Gaussian(MEAN, SCALE), Y)
    walk("y", Gaussian(MEAN, SCALE), Y, at=halves()[0])
    with pytest.raises(InputError, match="parts with and without `at`; expected the same kind"):
        assemble(walk.record)


def test_latent_that_is_side_information_in_part_is_refused():
    walk = Walk()
    for side in (True, False):
        walk("y", Gaussian(MEAN, SCALE), Y, side=side)
    with pytest.raises(InputError, match=r"send\('y'\) is side information in some calls only"):
        assemble(walk.record)


class Plain:
    """A codec of pixels: one latent, with as many elements as the image."""

    step = 7 / 255

    def code(self, image, size, send):
        self.image, self.size = image, size
        zeros = torch.zeros(1, 3, *size)
        y_hat = send("y", Gaussian(zeros, zeros + 20), None if image is None else image / self.step)
        return y_hat * self.step


class Padded(Plain):
    """It states its multiple and its least side."""

    multiple, least = 10, 35


IMAGE = np.random.default_rng(0).integers(0, 256, (33, 70, 3), dtype=np.uint8)


@pytest.mark.parametrize("codec, size", [(Plain(), (64, 128)), (Padded(), (40, 70))])
def test_image_is_extended_by_its_border(codec, size):
    decoded = decode_image(codec, Walk(), IMAGE)
    assert codec.size == padded_size(codec, 33, 70) == size
    margin = ((0, size[0] - 33), (0, size[1] - 70), (0, 0))
    expected = np.pad(IMAGE, margin, "edge").transpose(2, 0, 1)[None] / 255
    np.testing.assert_allclose(codec.image, expected, rtol=1e-6)
    assert decoded.shape == IMAGE.shape and decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, np.clip(np.rint(IMAGE / 7) * 7, 0, 255))


def test_decoder_has_the_same_image():
    encoder = Walk()
    decoded = decode_image(Plain(), encoder, IMAGE)
    (whole,) = assemble(encoder.record).values()
    codec = Plain()
    again = decode_image(codec, Replay({"y": whole.index}), size=(33, 70))
    assert codec.image is None
    np.testing.assert_array_equal(again, decoded)


def test_decoder_needs_a_size():
    with pytest.raises(InputError, match="a decoder has no size; expected height and width"):
        visit(Plain(), Walk())


class Lazy(Plain):
    """The image is a function, which is called only if it is needed."""

    calls = 0

    def code(self, image, size, send):
        decoded = super().code(image, size, send)

        def synthesize():
            self.calls += 1
            self.gradients = torch.is_grad_enabled()
            return decoded

        return synthesize


class GradientWalk(Walk):
    needs_gradients = True


@pytest.mark.parametrize("walk, gradients", [(Walk, False), (GradientWalk, True)])
def test_lazy_image(walk, gradients):
    codec = Lazy()
    visit(codec, walk(), IMAGE)
    assert codec.calls == 0
    expected = decode_image(Plain(), Walk(), IMAGE)
    np.testing.assert_array_equal(decode_image(codec, walk(), IMAGE), expected)
    assert codec.calls == 1 and codec.gradients is gradients


@pytest.mark.parametrize(
    "returned, message",
    [
        (None, "code of Broken returned a NoneType; expected a tensor of shape .1, 3, height"),
        (torch.zeros(3, 4, 4), r"code of Broken returned a tensor of shape \(3, 4, 4\); expected"),
        (lambda: IMAGE, "code of Broken returned a ndarray; expected a tensor"),
    ],
)
def test_code_that_returns_no_image_is_refused(returned, message):
    class Broken:
        def code(self, image, size, send):
            return returned

    with pytest.raises(InputError, match=message):
        run(Broken(), Walk(), IMAGE)


@pytest.mark.parametrize(
    "image", [IMAGE / 255, IMAGE[..., :1], IMAGE[..., 0], IMAGE.astype(np.float32)]
)
def test_image_of_another_type_is_refused(image):
    with pytest.raises(InputError, match="the image has dtype .* expected uint8 of shape"):
        to_tensor(Plain(), image)


def test_field_keeps_its_gray_levels():
    field = 100 * np.random.default_rng(0).standard_normal((64, 64, 1)).astype(np.float32)
    x = to_tensor(Plain(), field)
    assert x.shape == (1, 1, 64, 64)
    np.testing.assert_array_equal(to_image(x, 60, 50), field[:60, :50])


def test_pixels_are_clipped_and_rounded():
    x = torch.tensor([-0.5, 0.0, 0.4 / 255, 0.6 / 255, 1.0, math.inf]).view(1, 1, 1, 6)
    pixels = to_image(x.expand(1, 3, 1, 6), 1, 6)
    np.testing.assert_array_equal(pixels[0, :, 0], [0, 0, 0, 1, 255, 255])

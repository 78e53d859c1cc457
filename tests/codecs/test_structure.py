"""What of a codec depends on what is found by running it."""

import numpy as np
import pytest
import torch

from rdpipe.codecs.structure import find_structure, random_image
from rdpipe.core.errors import InputError
from rdpipe.core.latents import Structure
from rdpipe.core.running import decodes, padded_size
from rdpipe.entropy.priors import Gaussian


class Halves:
    """Two latents, of the left and the right half of the image."""

    multiple = 16
    colors = 3

    def code(self, image, size, send):
        half = size[1] // 2
        left, right = (None, None) if image is None else (image[..., :half], image[..., half:])
        zeros = torch.zeros(1, self.colors, size[0], half)
        z_hat = self.send_side(send, zeros, left)
        left_hat = send("left", Gaussian(zeros, zeros + 1), left, step=0.1)
        prior, right = self.predict(left_hat, z_hat, right)
        right_hat = self.decode(send("right", prior, right, step=0.1), left_hat, z_hat)
        return torch.cat([left_hat, right_hat], 3)

    def send_side(self, send, zeros, left):
        return zeros

    def predict(self, left_hat, z_hat, right):
        return Gaussian(torch.zeros_like(left_hat), 1 + torch.zeros_like(left_hat)), right

    def decode(self, right_hat, left_hat, z_hat):
        return right_hat


class WithSide(Halves):
    def send_side(self, send, zeros, left):
        mean = None if left is None else left.mean((2, 3), keepdim=True)
        prior = Gaussian(zeros[..., :1, :1], 1 + zeros[..., :1, :1])
        return send("z", prior, mean, step=0.01, side=True)


class SideInPrior(WithSide):
    """Side information, from which only a mean is predicted."""

    def predict(self, left_hat, z_hat, right):
        return Gaussian(0 * left_hat + z_hat, 1 + 0 * left_hat), right


class SideInImage(SideInPrior):
    def decode(self, right_hat, left_hat, z_hat):
        return right_hat + z_hat


class MeanFollows(Halves):
    def predict(self, left_hat, z_hat, right):
        return Gaussian(0.5 * left_hat, 1 + 0 * left_hat), right


class ScaleFollows(Halves):
    def predict(self, left_hat, z_hat, right):
        return Gaussian(0 * left_hat, 1 + left_hat.abs()), right


class LatentFollows(Halves):
    """A residual is coded."""

    def predict(self, left_hat, z_hat, right):
        prior = Gaussian(torch.zeros_like(left_hat), torch.ones_like(left_hat))
        return prior, None if right is None else right - left_hat

    def decode(self, right_hat, left_hat, z_hat):
        return right_hat + left_hat


class StepFollows(Halves):
    def code(self, image, size, send):
        def send_right(name, prior, y, step=1, **options):
            if name == "right":
                step = 0.1 + self.left_hat.abs()
            self.left_hat = send(name, prior, y, step=step, **options)
            return self.left_hat

        return super().code(image, size, send_right)


class SkipFollows(Halves):
    def code(self, image, size, send):
        def send_right(name, prior, y, **options):
            if name == "right":
                options["skip"] = self.left_hat > 0.5
            self.left_hat = send(name, prior, y, **options)
            return self.left_hat

        return super().code(image, size, send_right)


class LateSide(Halves):
    """Side information after a latent, on which it does not depend."""

    def predict(self, left_hat, z_hat, right):
        return Gaussian(0 * left_hat + z_hat, 1 + 0 * left_hat), right

    def code(self, image, size, send):
        def send_left(name, prior, y, **options):
            if name == "right":
                unknown = Gaussian(*torch.tensor([0.5, 1.0]).view(2, 1, 1, 1, 1))
                mean = None if image is None else self.sent(image, self.left_hat)
                shift = send("z", unknown, mean, step=0.01, side=True)
                prior = Gaussian(prior.mean + shift, prior.scale)
            self.left_hat = send(name, prior, y, **options)
            return self.left_hat

        return super().code(image, size, send_left)

    def sent(self, image, left_hat):
        return image.mean((1, 2, 3), keepdim=True)


class LateSideFollows(LateSide):
    def sent(self, image, left_hat):
        return left_hat.mean((1, 2, 3), keepdim=True)


class Gray(MeanFollows):
    colors = 1


@pytest.mark.parametrize(
    "codec, expected",
    [
        (Halves(), Structure(False, False, False)),
        (WithSide(), Structure(False, False, False)),
        (SideInPrior(), Structure(False, False, False)),
        (SideInImage(), Structure(False, False, True)),
        (MeanFollows(), Structure(True, False, False)),
        (ScaleFollows(), Structure(True, False, False)),
        (LatentFollows(), Structure(True, True, False)),
        (StepFollows(), Structure(True, False, False, True)),
        (SkipFollows(), Structure(True, False, False, True)),
        (LateSide(), Structure(False, False, False)),
        (Gray(), Structure(True, False, False)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_structure_is_found(codec, expected):
    assert find_structure(codec, codec.colors) == expected


def test_side_information_that_depends_on_latents_is_refused():
    """Cells decode side information first: a cell with other latents could not have it."""
    with pytest.raises(InputError, match=r"side information \('z'\) depends on latents that are"):
        find_structure(LateSideFollows())


def test_structure_of_one_latent_needs_no_second_walk():
    class Pixels:
        calls = 0

        def code(self, image, size, send):
            self.calls += 1
            return send("y", Gaussian(0 * image, 1 + 0 * image), image)

    codec = Pixels()
    assert find_structure(codec) == Structure() and codec.calls == 1


def test_structure_does_not_change_random_numbers_of_the_caller():
    before = torch.get_rng_state()
    find_structure(SideInImage())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("colors, dtype", [(3, np.uint8), (1, np.float32)])
def test_random_image_has_the_size_of_the_codec(colors, dtype):
    class Large:
        multiple, least = 48, 200

    image = random_image(Large(), colors)
    assert image.shape == (240, 240, colors) and image.dtype == dtype
    assert padded_size(Large(), 240, 240) == (240, 240)
    assert image.std() > 10
    np.testing.assert_array_equal(image, random_image(Large(), colors))


def test_codec_decodes_unless_it_states_otherwise():
    class Encoder:
        can_decode = False

    assert decodes(object()) and not decodes(Encoder())

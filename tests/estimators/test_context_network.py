"""The context network: what it learns, what it sees, and when it changes nothing."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussian_latents import make_cell, make_latents, normal

from rdpipe.core.errors import InputError
from rdpipe.estimators.context_network import NetworkMean
from rdpipe.estimators.means import CodecMean
from rdpipe.estimators.variances import CodecVariance, ElementVariance
from rdpipe.quantizers.scalar import Rounding

WHITE = torch.arange(32)[:, None].add(torch.arange(32)) % 2 == 1
"""White positions of a checkerboard."""
SETTINGS = {"groups": 1, "width": 8, "steps": 150}


def checkerboard_field(seed):
    """Return latents whose white positions are the mean of their independent black neighbors."""
    y = 20 * normal((2, 32, 32), seed)
    around = torch.nn.functional.pad(y, (1, 1, 1, 1))
    mean_of_four = (
        around[:, :-2, 1:-1] + around[:, 2:, 1:-1] + around[:, 1:-1, :-2] + around[:, 1:-1, 2:]
    ) / 4
    return make_latents(torch.where(WHITE, mean_of_four, y), scale=20.0)


def independent_field(seed, shape=(4, 16, 16)):
    """Return latents that no context predicts, with a mean that is not an integer."""
    return make_latents(3 * normal(shape, seed), scale=3.0, mean=0.3)


def code(mean, image):
    """Return an image coded by rounding, with the codec's variance."""
    cell = make_cell(mean, CodecVariance(), Rounding())
    return cell.code(cell.prepare(image), 1.0)


def residual_of(mean, image):
    """Return the residuals of a mean whose past is what rounding leaves."""
    return make_cell(mean, ElementVariance(), Rounding()).prepare(image).residual


def changes_nothing(mean, image):
    """Return whether an image is coded exactly as with the codec's own mean."""
    first, second = code(mean, image), code(CodecMean(), image)
    same_bits = math.isclose(first.bits, second.bits, rel_tol=1e-12)  # summed in another order
    return same_bits and torch.equal(first.y_hat, second.y_hat)


@pytest.fixture(scope="module")
def trained():
    """Return a network that is trained on checkerboard fields."""
    state = NetworkMean(**SETTINGS).fit([checkerboard_field(seed) for seed in range(5)]).state()
    return NetworkMean(**SETTINGS).load_state(state)


def test_network_learns_the_dependence_on_neighbors(trained):
    image = checkerboard_field(99)
    residual = residual_of(trained, image)
    before, after = (values[:, WHITE].square().mean().item() for values in (image.y, residual))
    assert before == pytest.approx(100, rel=0.2) and after < 0.05 * before
    torch.testing.assert_close(residual[:, ~WHITE], image.y[:, ~WHITE], atol=3.0, rtol=0)


def test_network_learns_the_dependence_on_channels():
    """y_1 = 0.8 y_0 + e has the second moment 68; a perfect predictor leaves 4, that of e."""

    def draw(seed):
        first, e = 10 * normal((1, 24, 24), seed), 2 * normal((1, 24, 24), seed + 50)
        return make_latents(torch.cat([first, 0.8 * first + e]), scale=8.0)

    mean = NetworkMean(**(SETTINGS | {"groups": 2})).fit([draw(seed) for seed in range(8)])
    residual = residual_of(mean, draw(99))
    assert residual[0].square().mean().item() == pytest.approx(100, rel=0.15)
    assert 3.3 < residual[1].square().mean().item() < 8


def test_network_saves_bits_on_other_images(trained):
    image = checkerboard_field(99)
    saved = code(CodecMean(), image).bits - code(trained, image).bits
    assert saved / image.y.numel() > 0.05


def test_network_sees_only_decoded_elements(trained):
    y = checkerboard_field(5).y
    changed = y.clone()
    changed[:, 3, 4] += 50  # white, decoded last
    first, second = (code(trained, make_latents(values)).y_hat for values in (y, changed))
    different = (first != second).nonzero()
    assert set(map(tuple, different.tolist())) == {(0, 3, 4), (1, 3, 4)}


@pytest.mark.parametrize("count, shape", [(6, (4, 16, 16)), (2, (2, 5, 6)), (1, (4, 16, 16))])
def test_network_changes_nothing_if_nothing_can_be_predicted(count, shape):
    images = [independent_field(seed, shape) for seed in range(count)]
    fitted = NetworkMean(groups=2, width=8, steps=150).fit(images)
    restored = NetworkMean(groups=2, width=8).load_state(fitted.state())
    for mean in (fitted, restored):
        assert not mean.corrects and changes_nothing(mean, independent_field(99))


def test_images_held_out_decide():
    """What helps on the images trained on, but not on those held out, is not learned."""
    dependent = [checkerboard_field(seed) for seed in range(1, 5)]
    independent = make_latents(20 * normal((2, 32, 32), 7), scale=20.0)
    mean = NetworkMean(**SETTINGS).fit([independent, *dependent])
    assert not mean.corrects and changes_nothing(mean, dependent[0])
    assert NetworkMean(**SETTINGS).fit([checkerboard_field(0), *dependent]).corrects


@pytest.mark.parametrize("seed", range(3))
def test_weighted_errors_of_images_held_out_fall(seed):
    """A dependence on horizontal neighbors, and elements of different scales."""
    images = []
    for number in range(5):
        noise = normal((3, 32, 32), 10 * seed + number)
        scale = 1 + 3 * torch.rand(noise.shape, generator=torch.Generator().manual_seed(number))
        y = noise + 0.6 * noise.roll(1, 2) + 0.6 * noise.roll(-1, 2)
        images.append(replace(make_latents(scale * y), scale=scale))
    mean = NetworkMean(groups=1, width=8, steps=100, seed=seed).fit(images)
    weight = 1 / (images[0].scale.square() + 1 / 12)
    loss, codec = (
        (weight * residual_of(part, images[0]).square()).sum().item()
        for part in (mean, CodecMean())
    )
    assert mean.corrects and loss < codec


def test_half_of_a_single_image_is_held_out():
    image = checkerboard_field(0)
    mean = NetworkMean(**SETTINGS).fit([image])
    assert code(mean, checkerboard_field(99)).bits < code(CodecMean(), checkerboard_field(99)).bits
    independent = 20 * normal((2, 32, 32), 7)
    y = torch.cat([independent[:, :16], image.y[:, 16:]], 1)
    assert not NetworkMean(**SETTINGS).fit([make_latents(y, scale=20.0)]).corrects


def test_a_single_element_changes_nothing():
    image = independent_field(0, (2, 1, 1))
    assert changes_nothing(NetworkMean(groups=1, width=4).fit([image]), image)


def test_training_is_reproducible():
    images = [checkerboard_field(seed) for seed in range(3)]
    fit = lambda seed: NetworkMean(groups=2, width=4, steps=60, seed=seed).fit(images).state()
    first, second, other = fit(0), fit(0), fit(1)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("setting", ["groups", "width", "steps"])
def test_settings_must_be_positive_integers(setting):
    with pytest.raises(InputError, match=f"network: {setting} is 0; expected 1, 2, 3, ..."):
        NetworkMean(**{setting: 0})

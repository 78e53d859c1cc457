"""The coder of models on a card has the bytes and the numbers of CompressAI's methods."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from pretended_cuda import counting
from small_models import IMAGE, QUALITY, RASTER_SCAN, VARIABLE_RATE, coding_model

from rdpipe.codecs.compressai import adapt_model, card_coder
from rdpipe.codecs.compressai.checkpoint import ARCHITECTURES

# isort: split
from compressai.entropy_models import GaussianConditional
from compressai.models import MeanScaleHyperprior

PIXELS = IMAGE[:64, :64]
X = torch.tensor(PIXELS / 255, dtype=torch.float32).permute(2, 0, 1)[None]
OPTIONS = {name: {"stage": 2, "s": QUALITY - 1} for name in VARIABLE_RATE}


def prepared(architecture):
    """Return a model of CompressAI with its tables."""
    model = coding_model(architecture).requires_grad_(False)
    if architecture in VARIABLE_RATE:
        model.update(force=True, scale=model.Gain[QUALITY - 1].abs())
    return model


def strings_of(model, options):
    """Return the strings of an encoder, and the shape that its decoder asks for."""
    coded = model.compress(X, **options)
    return card_coder.to_bytes([string[0] for string in coded["strings"]]), coded["shape"]


def results(model, architecture, shape=None):
    """Return bytes, decoded image and output of the forward pass."""
    options = OPTIONS.get(architecture, {})
    with torch.no_grad():
        strings, shape = strings_of(model, options)
        decoded = model.decompress([[string] for string in strings], shape, **options)["x_hat"]
        output = model(X, **options)
    return strings, decoded, output["x_hat"], *output["likelihoods"].values()


def assert_same(ours, theirs):
    assert ours[0] == theirs[0]
    assert all(map(torch.equal, ours[1:], theirs[1:]))


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_bytes_and_numbers_are_those_of_compressai(architecture):
    model = prepared(architecture)
    ours = deepcopy(model)
    with card_coder.deferred(ours):
        assert_same(results(ours, architecture), results(model, architecture))
    assert isinstance(ours.compress(X, **OPTIONS.get(architecture, {}))["strings"][0][0], bytes)


@pytest.mark.parametrize("architecture", sorted(RASTER_SCAN))
def test_a_raster_scan_on_the_host_has_the_transforms_of_the_card(architecture, pretend_cuda):
    model = prepared(architecture)
    expected = results(model, architecture)
    on_card = deepcopy(model).to("cuda")
    on_host = card_coder.on_host(on_card, torch.device("cuda:0"))
    assert {weight.device.type for weight in on_host.state_dict().values()} == {"cpu"}
    assert not any(name.startswith("g_") for name in on_host.state_dict())
    with counting() as counts:
        strings, decoded, x_hat, *likelihoods = results(on_host, architecture)
    assert counts.syncs == 4, counts.where  # y and z, twice
    assert decoded.device.type == x_hat.device.type == "cuda"
    assert_same((strings, decoded.cpu(), x_hat.cpu(), *likelihoods), expected)


class CountingModel(MeanScaleHyperprior):
    """A model of a user, which looks at its strings."""

    def compress(self, x):
        coded = super().compress(x)
        assert sum(len(string[0]) for string in coded["strings"]) > 0
        return coded


class CheckingConditional(GaussianConditional):
    """An entropy model of a user with one method of its own."""

    def decompress(self, strings, indexes, dtype=torch.float, means=None):
        assert all(isinstance(string, bytes) for string in strings)
        return super().decompress(strings, indexes, dtype, means)


def model_with_own_coder():
    model = coding_model("mbt2018-checkerboard")
    for module in model.modules():
        if type(module) is GaussianConditional:
            module.__class__ = CheckingConditional
    return model


@pytest.mark.parametrize("make", [lambda: CountingModel(32, 48), model_with_own_coder])
def test_strings_are_not_deferred_in_code_of_users(make, pretend_cuda):
    torch.manual_seed(0)
    model = make()
    expected = adapt_model(model, QUALITY, "cpu").compress(PIXELS)
    codec = adapt_model(model, QUALITY, "cuda")
    assert codec.compress(PIXELS) == expected
    assert codec.decompress(expected).shape == PIXELS.shape


def test_public_model_has_the_methods_of_compressai(pretend_cuda):
    codec = adapt_model(coding_model("mbt2018-mean"), QUALITY, "cuda")
    codec.compress(PIXELS)
    strings = codec.model.compress(X.to("cuda"))["strings"]
    assert all(isinstance(string[0], bytes) for string in strings)


def test_copy_on_the_host_has_gradients_after_inference():
    """On a card, the first call may be one without gradients."""
    model = prepared("mbt2018")
    with torch.inference_mode():
        on_host = card_coder.on_host(model, torch.device("cpu"))
    assert not any(weight.is_inference() for weight in on_host.state_dict().values())


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_bytes_follow_a_network_that_is_changed(device, pretend_cuda):
    """In place, as a training does; with a scale table of the caller, which stays."""
    model = coding_model("mbt2018")
    model.gaussian_conditional.update_scale_table([0.2, 1.0, 4.0, 16.0], force=True)
    codec, other = (adapt_model(model, QUALITY, device) for _ in range(2))
    before = codec.compress(PIXELS)
    with torch.no_grad():
        for weight in codec.network.entropy_parameters.parameters():
            weight.mul_(1.1)
    other.load_checkpoint(codec.checkpoint())
    after = codec.compress(PIXELS)
    assert after == other.compress(PIXELS) != before
    assert codec.model.gaussian_conditional.scale_table.numel() == 4


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("architecture", ["mbt2018-checkerboard", "mbt2018"])
def test_bytes_follow_weights_that_are_loaded(architecture, device, pretend_cuda):
    codec = adapt_model(coding_model(architecture), QUALITY, device)
    before = codec.compress(PIXELS)
    weights = {name: 1.1 * weight for name, weight in codec.checkpoint().items()}
    codec.load_checkpoint(weights)
    other = adapt_model(coding_model(architecture), QUALITY, device)
    other.load_checkpoint(weights)
    after = codec.compress(PIXELS)
    assert after == other.compress(PIXELS) != before
    assert np.array_equal(codec.decompress(after), other.decompress(after))

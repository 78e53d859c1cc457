"""The coder of models on a card has the bytes and the numbers of CompressAI's methods."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from pretended_cuda import counting
from small_models import IMAGE, QUALITY, RASTER_SCAN, VARIABLE_RATE, coding_model

from rdpipe.codecs.compressai import adapt_model, card_coder
from rdpipe.codecs.compressai.checkpoint import ARCHITECTURES

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
    card_coder.use_card(ours)
    assert_same(results(ours, architecture), results(model, architecture))
    assert_same(results(deepcopy(ours), architecture), results(model, architecture))


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


def test_a_subclass_keeps_its_methods():
    from compressai.entropy_models import EntropyBottleneck

    class Mine(EntropyBottleneck):
        def compress(self, x):
            return [b"mine"]

    model = Mine(2)
    model.update()
    card_coder.use_card(model)
    assert model.compress(torch.zeros(1, 2, 1, 1)) == [b"mine"]
    assert "decompress" in vars(model)


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

"""The networks: every family trains, and folds into a plain model of its rate."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from skimage import data
from small_training import FILES, SPEC

from rdpipe.core.axes import TRAINED_LEVEL
from rdpipe.quantizers.test_channel import TestChannel as Channel
from rdpipe.training import model as trainable
from rdpipe.codecs.compressai.checkpoint import fold, load_model
from rdpipe.codecs.compressai.adapter import from_gained
from rdpipe.training.model import Gained
from rdpipe.core.errors import InputError
from rdpipe.training.trainer import train


@pytest.mark.parametrize("distance", [0.0, 3.0, 1e3, 1e15])
def test_an_outlier_feels_a_gradient_that_is_not_too_large(distance):
    means = torch.full((1, 1, 1, 1), distance, requires_grad=True)
    noise = torch.full_like(means, 0.3)
    bits, _ = trainable.rounding(-means, torch.full((1, 1, 1, 1), 0.04), noise)
    bits.sum().backward()
    assert bits.item() < 23 + 2 * np.log2(1 + distance)
    assert abs(means.grad.item()) < 60 and (distance == 0 or means.grad.item() > 0)


def test_the_test_channel_in_training_is_the_one_of_the_array():
    torch.manual_seed(0)
    scales = torch.rand(4, 8, 50, 50) * 4 + 0.3
    r = scales * torch.randn(4, 8, 50, 50).clamp(-3, 3)
    bits, r_hat = trainable.test_channel(r, scales.square(), torch.randn_like(r))
    known = Channel().code(r.double(), scales.double().square(), TRAINED_LEVEL)
    assert torch.allclose(bits.double(), known.bits, atol=0.01)  # but for escapes
    noise = (r_hat - known.residual) / (TRAINED_LEVEL * (1 - TRAINED_LEVEL / scales**2)).sqrt()
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02
    # below the level the expected variance is the level's, and nothing is sent
    bits, r_hat = trainable.test_channel(0.01 * r, 1e-4 * scales.square(), torch.randn_like(r))
    assert bits.mean() < 1e-3 and r_hat.std() < 0.02


def test_the_channels_variance_feels_a_gradient_at_the_level():
    """An element that is not sent can come back: where sending would lower the distortion."""
    v = torch.full((1, 1, 100, 100), 0.01, requires_grad=True)
    r = torch.full_like(v, 0.9)
    bits, r_hat = trainable.test_channel(r, v, torch.randn_like(r))
    (bits.sum() + 50 * (r - r_hat).square().sum()).backward()
    assert v.grad.isfinite().all() and v.grad.mean() < 0


@pytest.mark.parametrize("quantizer", trainable.QUANTIZERS)
@pytest.mark.parametrize("mean, variance", trainable.FAMILIES)
def test_every_combination_trains_and_folds(tmp_path, mean, variance, quantizer):
    axes = {"mean": mean, "variance": variance, "quantizer": quantizer}
    spec = {**SPEC, "steps": 3, **axes}
    if (variance, quantizer) == ("factorized", "test-channel"):
        with pytest.raises(InputError, match="test channel is Gaussian; variance 'factorized'"):
            train(spec, FILES, tmp_path)
        return
    save_file(train(spec, FILES, tmp_path), tmp_path / "net.safetensors")
    codec = from_gained(1, str(tmp_path / "net.safetensors"))
    image = data.astronaut()[:130, :140]
    latents = codec.analyse("a", image).latents
    assert (latents.hyper is not None) == (mean == "checkerboard")
    if hasattr(codec.model, "h_s"):
        assert (latents.mean == 0).all() == (mean == "zero")
    assert codec.decompress(codec.compress(image)).shape == image.shape


@pytest.mark.parametrize(
    "axes, message",
    [
        ({"mean": "hyper", "variance": "factorized"}, "mean 'hyper' with variance 'factorized'"),
        ({"mean": "left"}, "mean 'left' with .* allowed are zero with factorized, zero with"),
        ({"quantizer": "lattice"}, "quantizer 'lattice'; allowed are ste, noise, test-channel"),
    ],
)
def test_choices_that_do_not_go_together_are_refused(axes, message):
    with pytest.raises(InputError, match=message):
        Gained(8, 8, [0.01], **axes)


@pytest.mark.parametrize(
    "mean, variance", [pair for pair in trainable.FAMILIES if pair[1] != "window-5"]
)
def test_each_rate_folds_into_a_plain_model(tmp_path, mean, variance):
    """The likelihoods of CompressAI's own classes are the independent answer."""
    torch.manual_seed(0)
    model = Gained(8, 12, [0.01, 0.04], mean, variance).eval()
    with torch.no_grad():
        model.log_gain += 1.5 + 0.1 * torch.randn_like(model.log_gain)
        if mean == "hyper":
            model.log_gain -= 1.5
            model.h_s[4].bias[:12] += torch.randn(12)  # scales of both signs
        elif variance == "hyperprior":
            last = model.entropy_parameters[2] if mean == "checkerboard" else model.h_s[4]
            last.bias[:12] += 1 + 0.1 * torch.randn(12)  # residuals within ten sigma
    model.settle()
    torch.save(dict(model.named_parameters()), tmp_path / "net.pt")
    x = torch.rand(1, 3, 64, 64)
    for rate in (0, 1):
        plain = from_gained(rate + 1, str(tmp_path / "net.pt")).model
        assert isinstance(plain, trainable.FAMILIES[mean, variance])
        with torch.no_grad():
            gained, folded = model(x, torch.tensor([rate])), plain(x)
        bits = -sum(l.log2().sum() for l in folded["likelihoods"].values())
        assert bits.item() == pytest.approx(gained["bits"].item(), rel=1e-4)
        assert torch.allclose(folded["x_hat"], gained["x_hat"], atol=1e-4)
    with pytest.raises(InputError, match="no quality 3; it has 1 to 2"):
        from_gained(3, str(tmp_path / "net.pt"))
    with pytest.raises(IndexError, match="rates 0 to 1"):
        fold(model.state_dict(), 2)


def test_a_learned_density_is_as_wide_as_the_gain_of_its_rate(tmp_path):
    """CompressAI's model of each rate has the bits that the network was trained for, on the same grid."""
    torch.manual_seed(0)
    network = Gained(8, 12, [0.001, 0.1], "zero", "factorized").eval()
    with torch.no_grad():
        network.log_gain += 2 + 0.1 * torch.randn_like(network.log_gain)
        for bias in (p for n, p in network.entropy_bottleneck.named_parameters() if "biases" in n):
            bias += torch.randn_like(bias)
        network.settle()
        x = torch.rand(1, 3, 64, 64)
        bits = []
        for rate in (0, 1):
            model = load_model("bmshj2018-factorized", fold(network.state_dict(), rate), "here").eval()
            likelihoods = model(x)["likelihoods"]["y"]
            assert likelihoods.min() > 1e-6  # CompressAI's own limit has no part in this
            bits.append(-likelihoods.log2().sum().item())
            assert network(x, torch.tensor([rate]))["bits"].item() == pytest.approx(bits[-1], rel=1e-4)
    assert bits[1] > 1.2 * bits[0]

"""The networks: every family trains, and folds into a plain model of each rate."""

import numpy as np
import pytest
import torch
from extracting import extract
from safetensors.torch import save_file
from skimage import data
from small_training import train_small

from rdpipe.codecs.compressai import from_training
from rdpipe.codecs.compressai.checkpoint import fold, load_model
from rdpipe.core.axes import TRAINING_THETA
from rdpipe.core.errors import InputError
from rdpipe.core.latent_arrays import as_latents
from rdpipe.quantizers.test_channel import TestChannel as Channel
from rdpipe.training.model import (
    FAMILIES,
    QUANTIZERS,
    VariableRateModel,
    code_rounding,
    code_test_channel,
)


@pytest.mark.parametrize("distance", [0.0, 3.0, 1e3, 1e15])
def test_gradient_of_an_outlier_is_bounded(distance):
    means = torch.full((1, 1, 1, 1), distance, requires_grad=True)
    noise = torch.full_like(means, 0.3)
    bits, _ = code_rounding(-means, torch.full((1, 1, 1, 1), 0.04), noise)
    bits.sum().backward()
    assert bits.item() < 23 + 2 * np.log2(1 + distance)
    assert abs(means.grad.item()) < 60 and (distance == 0 or means.grad.item() > 0)


def test_channel_in_training_equals_that_of_the_array():
    torch.manual_seed(0)
    scales = torch.rand(4, 8, 50, 50) * 4 + 0.3
    r = scales * torch.randn(4, 8, 50, 50).clamp(-3, 3)
    bits, r_hat = code_test_channel(r, scales.square(), torch.randn_like(r))
    expected = Channel().code(r.double(), scales.double().square(), TRAINING_THETA)
    assert torch.allclose(bits.double(), expected.bits, atol=0.01)  # except for escapes
    noise_scale = (TRAINING_THETA * (1 - TRAINING_THETA / scales**2)).sqrt()
    noise = (r_hat - expected.residual) / noise_scale
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02
    # below the water level the variance is raised to it, and nothing is transmitted
    bits, r_hat = code_test_channel(0.01 * r, 1e-4 * scales.square(), torch.randn_like(r))
    assert bits.mean() < 1e-3 and r_hat.std() < 0.02


def test_variance_at_the_water_level_has_a_gradient():
    """An element that is not transmitted can become one that is, to lower the distortion."""
    v = torch.full((1, 1, 100, 100), 0.01, requires_grad=True)
    r = torch.full_like(v, 0.9)
    bits, r_hat = code_test_channel(r, v, torch.randn_like(r))
    (bits.sum() + 50 * (r - r_hat).square().sum()).backward()
    assert v.grad.isfinite().all() and v.grad.mean() < 0


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("mean, variance", FAMILIES)
def test_every_combination_trains_and_folds(tmp_path, mean, variance, quantizer):
    axes = {"mean": mean, "variance": variance, "quantizer": quantizer}
    if (variance, quantizer) == ("factorized", "test-channel"):
        with pytest.raises(InputError, match="test channel is Gaussian; variance 'factorized'"):
            train_small(tmp_path, steps=3, **axes)
        return
    save_file(train_small(tmp_path, steps=3, **axes), tmp_path / "net.safetensors")
    codec = from_training(1, str(tmp_path / "net.safetensors"))
    image = data.astronaut()[:130, :140]
    latents = as_latents("a", extract(codec, "a", image)[1]["y"])
    assert (latents.hyper is not None) == (mean == "checkerboard")
    if codec.has_hyperprior:
        assert (latents.mean == 0).all() == (mean == "zero")
    assert codec.decompress(codec.compress(image)).shape == image.shape


@pytest.mark.parametrize("mean, variance", FAMILIES)
def test_network_is_one_graph_for_the_compiler(mean, variance):
    quantizer = "ste" if variance == "factorized" else "test-channel"
    torch.compiler.reset()
    model = VariableRateModel(8, 8, [0.01, 0.04], mean, variance, quantizer)
    graphs = torch._dynamo.explain(model)(torch.rand(2, 3, 64, 64), torch.tensor([0, 1]))
    assert (graphs.graph_count, graphs.graph_break_count) == (1, 0), graphs.break_reasons


@pytest.mark.parametrize(
    "axes, message",
    [
        ({"mean": "hyper", "variance": "factorized"}, "mean 'hyper' with variance 'factorized'"),
        (
            {"mean": "left"},
            "mean 'left' with .* expected one of: zero with factorized, zero with",
        ),
        (
            {"quantizer": "lattice"},
            "'lattice' is not a quantizer; expected one of: ste, noise, test-channel",
        ),
    ],
)
def test_unknown_combinations_are_refused(axes, message):
    with pytest.raises(InputError, match=message):
        VariableRateModel(8, 8, [0.01], **axes)


@pytest.mark.parametrize("mean, variance", [pair for pair in FAMILIES if pair[1] != "window-5"])
def test_each_rate_folds_into_a_plain_model(tmp_path, mean, variance):
    """The likelihoods of CompressAI's own classes are the independent answer."""
    torch.manual_seed(0)
    model = VariableRateModel(8, 12, [0.01, 0.04], mean, variance).eval()
    with torch.no_grad():
        model.log_gain += 1.5 + 0.1 * torch.randn_like(model.log_gain)
        if mean == "hyper":
            model.log_gain -= 1.5
            model.h_s[4].bias[:12] += torch.randn(12)  # scales of both signs
        elif variance == "hyperprior":
            last = model.entropy_parameters[2] if mean == "checkerboard" else model.h_s[4]
            last.bias[:12] += 1 + 0.1 * torch.randn(12)  # residuals within ten sigma
    model.solve_quantiles()
    torch.save(dict(model.named_parameters()), tmp_path / "net.pt")
    x = torch.rand(1, 3, 64, 64)
    for rate in (0, 1):
        plain = from_training(rate + 1, str(tmp_path / "net.pt")).model
        assert isinstance(plain, FAMILIES[mean, variance])
        with torch.no_grad():
            output, folded = model(x, torch.tensor([rate])), plain(x)
        bits = -sum(p.log2().sum() for p in folded["likelihoods"].values())
        assert bits.item() == pytest.approx(output["bits"].item(), rel=1e-4)
        assert torch.allclose(folded["x_hat"], output["x_hat"], atol=1e-4)
    with pytest.raises(InputError, match="quality 3 does not exist; expected 1 to 2"):
        from_training(3, str(tmp_path / "net.pt"))


def test_learned_density_has_the_width_of_the_gain_of_its_rate():
    """CompressAI's model of each rate has the bits of the network, on the same grid."""
    torch.manual_seed(0)
    network = VariableRateModel(8, 12, [0.001, 0.1], "zero", "factorized").eval()
    with torch.no_grad():
        network.log_gain += 2 + 0.1 * torch.randn_like(network.log_gain)
        for bias in (p for n, p in network.entropy_bottleneck.named_parameters() if "biases" in n):
            bias += torch.randn_like(bias)
        network.solve_quantiles()
        x = torch.rand(1, 3, 64, 64)
        bits = []
        for rate in (0, 1):
            folded = fold(network.state_dict(), rate)
            model = load_model("bmshj2018-factorized", folded, "here").eval()
            likelihoods = model(x)["likelihoods"]["y"]
            assert likelihoods.min() > 1e-6  # CompressAI's bound has no effect
            bits.append(-likelihoods.log2().sum().item())
            output = network(x, torch.tensor([rate]))
            assert output["bits"].item() == pytest.approx(bits[-1], rel=1e-4)
    assert bits[1] > 1.2 * bits[0]


def test_initial_densities_have_the_width_of_the_latents():
    torch.manual_seed(0)
    network = VariableRateModel(8, 12, [0.01], "zero", "factorized").eval()
    x = torch.rand(2, 3, 64, 64)
    before = network(x, torch.tensor([0, 0]))["bits"]
    network.initialize_densities(x)
    assert (network(x, torch.tensor([0, 0]))["bits"] < before).all()

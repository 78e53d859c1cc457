"""Means against their definitions, plain loops, and fields with known coefficients."""

import math

import numpy as np
import pytest
import torch
from gaussian_latents import autoregressive_field, make_cell, make_latents, normal

from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents
from rdpipe.estimators.means import (
    AccuracyMean,
    CodecMean,
    HyperMean,
    LinearCausalMean,
    ZeroMean,
)
from rdpipe.estimators.variances import CodecVariance
from rdpipe.evaluation import evaluate
from rdpipe.quantizers.scalar import Rounding

Y = 3 * torch.randn((2, 300, 300), generator=torch.Generator().manual_seed(0)).double()
LATENTS = Latents("a", Y, Y + 1, torch.ones_like(Y))


def test_zero_and_codec_match_their_definitions():
    assert (ZeroMean()(LATENTS) == 0).all()
    assert CodecMean()(LATENTS) is LATENTS.mean


def test_hyper_is_the_mean_without_context_if_the_codec_has_a_context_model():
    y = normal((1, 4, 4))
    assert torch.equal(HyperMean()(make_latents(y, mean=2.0)), torch.full_like(y, 2.0))
    with_context = Latents("a", y, y + 1, y.exp(), hyper=y + 2)
    assert torch.equal(HyperMean()(with_context), y + 2)


def test_subclass_is_the_codec_mean_unless_it_changes_the_estimate():
    class Same(CodecMean):
        pass

    class Half(CodecMean):
        def __call__(self, latents):
            return latents.mean / 2

    assert CodecMean().is_codec and Same().is_codec
    assert not Half().is_codec and not HyperMean().is_codec and not LinearCausalMean().is_codec


@pytest.mark.parametrize("percent", [0, 30, 90, 99])
def test_accuracy_is_the_correlation_and_the_error_is_uncorrelated(percent):
    mu, rho = AccuracyMean(percent)(LATENTS), percent / 100
    error = (Y - mu).square().mean() / Y.square().mean()
    assert error.item() == pytest.approx(1 - rho**2, abs=0.01)
    assert (mu * (Y - mu)).mean().item() == pytest.approx(0, abs=0.05)
    if percent:
        correlation = torch.corrcoef(torch.stack([mu.flatten(), Y.flatten()]))[0, 1].item()
        assert correlation == pytest.approx(rho, abs=0.01)
        assert math.isclose(mu.var().item(), rho**2 * Y.var().item(), rel_tol=0.03)


def test_accuracy_depends_on_the_image_only():
    assert (AccuracyMean(50)(LATENTS) == AccuracyMean(50)(LATENTS)).all()
    other_image = Latents("b", Y, Y, Y)
    assert (AccuracyMean(50)(other_image) != AccuracyMean(50)(LATENTS)).any()


def test_accuracy_of_100_percent_is_refused():
    with pytest.raises(InputError, match="accuracy: percent is 100; expected 0 to 99"):
        AccuracyMean(100)


@pytest.mark.parametrize("a, b", [(0.9, 0.8), (0.5, 0.0), (-0.6, 0.7)])
def test_linear_causal_recovers_the_coefficients_of_a_field_and_saves_the_expected_bits(a, b):
    """Known answer: 1/2 log2(E y^2 / E e^2) per element at high rate."""
    draw = lambda seed: make_latents(autoregressive_field(a, b, 300, 300, seed, 60.0)[None])
    estimator = LinearCausalMean(groups=1, ridge=0.0).fit([draw(1), draw(2)])
    state = estimator.state()
    weights = dict(zip(estimator.neighbors, state["space"][0], strict=True))
    expected = {(0, -1): a, (-1, 0): b, (-1, -1): -a * b}
    for offset, weight in weights.items():
        assert weight == pytest.approx(expected.get(offset, 0.0), abs=0.03)
    means = {"zero": {}, "linear-causal": {"args": {"groups": 1}}}
    fits = {("mean", "linear-causal"): {"y": state}}
    array = evaluate(draw(3), means, ["channel"], ["rounding"], fits=fits)
    bits = array["bits"].squeeze() / 300**2
    saved = (bits.sel(mean="zero") - bits.sel(mean="linear-causal")).item()
    # of this sample, whose second moment is uncertain by a few per cent; borders cost 0.01
    moment = draw(3).y.square().mean().item()
    assert saved == pytest.approx(
        0.5 * math.log2(moment / (60**2 * (1 - a * a) * (1 - b * b))), abs=0.02
    )


def test_linear_causal_recovers_dependence_between_channels():
    first = normal((1, 60, 60), 1) * 40
    second = 0.7 * first + normal((1, 60, 60), 2) * 10
    images = [make_latents(torch.cat([first, second]))]
    state = LinearCausalMean(groups=2, ridge=0.0).fit(images).state()
    assert state["channel"][1, 0] == pytest.approx(0.7, abs=0.02)
    assert state["channel"][0].tolist() == [0, 0]
    assert np.abs(state["space"]).max() < 0.05


def test_linear_causal_matches_a_plain_loop():
    y, m = 5 * normal((4, 5, 6), 3), normal((4, 5, 6), 4)
    image = Latents("a", y, m, torch.ones_like(y))
    estimator = LinearCausalMean(groups=2, ridge=0.1).fit([image])
    cell = make_cell(estimator, CodecVariance(), Rounding())
    y_hat = cell.code(cell.prepare(image), 1.0).y_hat
    space, channel = estimator.weights["space"], estimator.weights["channel"]
    expected = torch.zeros_like(y)
    for group in (0, 2):
        for i in range(5):
            for j in range(6):
                for c in (group, group + 1):
                    mu = m[c, i, j].clone()
                    for k, (di, dj) in enumerate(estimator.neighbors):
                        if 0 <= i + di < 5 and 0 <= j + dj < 6:
                            mu += space[c, k] * (expected - m)[c, i + di, j + dj]
                    mu += channel[c, :group] @ (expected - m)[:group, i, j]
                    expected[c, i, j] = mu + (y[c, i, j] - mu).round()
    torch.testing.assert_close(y_hat, expected)


def test_state_of_linear_causal_is_loaded_again():
    fitted = LinearCausalMean(groups=2).fit([make_latents(normal((4, 6, 6)))])
    loaded = LinearCausalMean(groups=2).load_state(fitted.state())
    assert set(loaded.weights) == {"space", "channel"}
    assert all(torch.equal(loaded.weights[name], fitted.weights[name]) for name in loaded.weights)


def test_linear_causal_needs_a_positive_number_of_groups():
    with pytest.raises(InputError, match="linear-causal: groups is 0; expected 1, 2, 3, ..."):
        LinearCausalMean(groups=0)

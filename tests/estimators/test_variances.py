"""Variances against plain loops, numpy, and fields with known variances."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussian_latents import autoregressive_field, make_cell, make_latents, normal
from scipy.ndimage import uniform_filter

from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents
from rdpipe.entropy.escape import NO_ESCAPE_BITS
from rdpipe.estimators.means import CodecMean, LinearCausalMean, ZeroMean
from rdpipe.estimators.transmitted import ChannelVariance
from rdpipe.estimators.variances import (
    CalibratedVariance,
    CausalWindowVariance,
    CodecVariance,
    ElementVariance,
    HyperVariance,
    RelativeWindowVariance,
    WindowVariance,
)
from rdpipe.evaluation import evaluate
from rdpipe.quantizers.scalar import Rounding
from rdpipe.quantizers.test_channel import TestChannel
from rdpipe.theory import gaussian_rate, rounding_rate

R = torch.randn((3, 17, 13), generator=torch.Generator().manual_seed(0)).double()


def test_window_is_the_mean_of_squares_around_each_element():
    variance, bits = WindowVariance(5)(None, R)
    # the window is cut at the border: sums and counts with zeros outside
    square, ones = R.numpy() ** 2, np.ones(R.shape[1:])
    mean = lambda x: uniform_filter(x, 5, mode="constant")
    expected = np.stack([mean(channel) / mean(ones) for channel in square])
    np.testing.assert_allclose(variance, expected, rtol=1e-12)
    assert bits == 0


def test_element_is_the_square():
    torch.testing.assert_close(ElementVariance()(None, R)[0], R.square())


def test_subclass_is_the_codec_variance_unless_it_changes_the_estimate():
    class Same(CodecVariance):
        pass

    class Double(CodecVariance):
        def __call__(self, latents, residual):
            return 2 * latents.scale.square(), 0.0

    assert CodecVariance().is_codec and Same().is_codec
    assert not Double().is_codec and not ElementVariance().is_codec


def test_hyper_is_the_variance_without_context_if_the_codec_has_a_context_model():
    y = normal((1, 4, 4))
    assert torch.equal(HyperVariance()(make_latents(y, scale=3.0), y)[0], torch.full_like(y, 9.0))
    with_context = Latents("a", y, y, y.exp(), hyper=y, hyper_scale=2 * y.exp())
    variance, bits = HyperVariance()(with_context, y)
    torch.testing.assert_close(variance, 4 * (2 * y).exp())
    assert bits == 0 and not HyperVariance().is_codec
    with pytest.raises(InputError, match="image 'a' has hyper but no hyper_scale"):
        HyperVariance()(replace(with_context, hyper_scale=None), y)


def test_causal_window_matches_a_plain_loop():
    y = 3 * normal((2, 5, 6), 3)
    image, estimator = make_latents(y), CausalWindowVariance(3, weight=2.0)
    cell = make_cell(ZeroMean(), estimator, Rounding())
    initial, _ = ChannelVariance()(image, y)
    bits = 16.0 + 60 * NO_ESCAPE_BITS
    for c in range(2):
        for i in range(5):
            for j in range(6):
                past = [(i - 1, j - 1), (i - 1, j), (i - 1, j + 1), (i, j - 1)]
                noise = min(1 / 12, initial[c, 0, 0].item())
                energies = [
                    y[c, p, q].round() ** 2 + noise for p, q in past if p >= 0 and 0 <= q < 6
                ]
                v = (2 * initial[c, i, j] + sum(energies)) / (2 + len(energies))
                bits += Rounding().code(y[c, i, j], v, 1.0).bits.item()
    assert cell.code(cell.prepare(image), 1.0).bits == pytest.approx(bits, rel=1e-12)


def test_causal_window_follows_a_variance_that_changes():
    strength = torch.where(torch.arange(64) < 32, 1.0, 12.0).double()
    image = make_latents(normal((2, 64, 64), 6) * strength[:, None])
    array = evaluate(image, ["zero"], ["channel", "causal-window"], ["rounding"])
    bits = array["bits"].squeeze()
    # the exact variance would save 0.8 bit per element
    assert (bits.sel(variance="channel") - bits.sel(variance="causal-window")).item() / 8192 > 0.4


@pytest.mark.parametrize("theta", [0.02, 0.25, 0.4])
def test_causal_window_of_the_test_channel_is_a_second_moment(theta):
    """r_hat has the variance v - theta: without the correction the estimate collapses."""
    y = normal((1, 160, 160), 11)
    image = make_latents(y)
    cell = make_cell(ZeroMean(), CausalWindowVariance(towards="codec"), TestChannel())
    output = cell.code(cell.prepare(image, 1), theta)
    assert output.distortion / y.numel() == pytest.approx(theta, rel=0.1)
    excess = output.bits / y.numel() - gaussian_rate(1.0, output.distortion / y.numel())
    assert 0 < excess < 0.06  # the cost of estimating a known variance from 16 elements


def test_causal_window_inherits_what_its_initial_variance_uses():
    channel, codec = CausalWindowVariance(), CausalWindowVariance(towards="codec")
    assert channel.transmitter is not None and codec.transmitter is None
    assert not channel.uses_side and not channel.uses_context
    assert codec.uses_side and codec.uses_context


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 2.0])
def test_calibrated_removes_the_cost_of_a_misstated_scale(factor):
    """Known answer: the whole gap (c^-2 - 1)/(2 ln 2) + log2 c is removed."""
    sigma = 2 ** (
        2 + 3 * torch.rand((4, 80, 80), generator=torch.Generator().manual_seed(1)).double()
    )
    draw = lambda seed, c: Latents("a", sigma * normal(sigma.shape, seed), 0 * sigma, c * sigma)
    calibration = [draw(2, factor), draw(3, factor)]
    state = CalibratedVariance().fit(calibration, {"zero": ZeroMean()}).state()
    wrong, true = draw(4, factor), draw(4, 1.0)
    fits = {("variance", "calibrated"): {"y": state}}
    array = evaluate(wrong, ["zero"], ["codec", "calibrated"], ["rounding"], fits=fits)
    bits = array["bits"].squeeze() / sigma.numel()
    known = evaluate(true, ["zero"], ["codec"], ["rounding"])["bits"].item() / sigma.numel()
    gap = (factor**-2 - 1) / (2 * math.log(2)) + math.log2(factor)
    assert bits.sel(variance="codec").item() - known == pytest.approx(gap, abs=0.02)
    assert abs(bits.sel(variance="calibrated").item() - known) < 0.005


def test_calibrated_is_monotone_in_sigma():
    scale = 2 ** (
        6 * torch.rand((1, 60, 60), generator=torch.Generator().manual_seed(1)).double() - 3
    )
    image = Latents("a", normal(scale.shape), 0 * scale, scale)
    state = CalibratedVariance().fit([image], {"codec": CodecMean()}).state()
    log_scale, log_ratio = state["codec"]
    moment = log_ratio + 2 * log_scale
    assert (np.diff(moment) >= -1e-12).all() and (np.diff(log_scale) > 0).all()


def test_calibrated_is_fitted_to_the_residuals_of_each_mean():
    """A mean with an error of 2 sigma leaves 5 sigma^2; the variance adds no loss."""
    sigma = torch.full((2, 150, 150), 4.0).double()

    def draw(seed):
        mean = 8 * normal(sigma.shape, seed)
        return Latents("a", mean + 4 * normal(sigma.shape, seed + 9), mean, sigma)

    means = {"zero": ZeroMean(), "codec": CodecMean()}
    state = CalibratedVariance().fit([draw(1)], means).state()
    fits = {("variance", "calibrated"): {"y": state}}
    array = evaluate(draw(2), list(means), ["calibrated"], ["rounding"], fits=fits)
    bits = array["bits"].squeeze() / sigma.numel()
    assert bits.sel(mean="codec").item() == pytest.approx(rounding_rate(4.0), abs=0.02)
    assert bits.sel(mean="zero").item() == pytest.approx(rounding_rate(math.sqrt(80)), abs=0.02)
    message = "not fitted to the mean 'hyper'; expected one of: codec, zero"
    with pytest.raises(InputError, match=message):
        evaluate(draw(2), ["hyper"], ["calibrated"], ["rounding"], fits=fits)


def test_calibrated_is_fitted_to_the_residuals_of_a_causal_mean():
    y, later = (autoregressive_field(0.9, 0.8, 200, 200, seed, 20.0)[None] for seed in (1, 2))
    mean = LinearCausalMean(groups=1).fit([make_latents(y)])
    variance = CalibratedVariance().fit([make_latents(y)], {"linear-causal": mean})
    fits = {
        ("variance", "calibrated"): {"y": variance.state()},
        ("mean", "linear-causal"): {"y": mean.state()},
    }
    entries = {"linear-causal": {"args": {"groups": 1}}}
    array = evaluate(make_latents(later), entries, ["calibrated"], ["rounding"], fits=fits)
    residual_variance = 20**2 * (1 - 0.9**2) * (1 - 0.8**2)
    expected = rounding_rate(math.sqrt(residual_variance))
    assert array["bits"].item() / y.numel() == pytest.approx(expected, abs=0.03)


def test_fit_refuses_a_mean_of_another_shape():
    class Scalar:
        def __call__(self, latents):
            return torch.zeros(1)

    message = r"mean 'm' returned a tensor of shape \(1,\); expected \(1, 4, 4\)"
    with pytest.raises(InputError, match=message):
        CalibratedVariance().fit([make_latents(normal((1, 4, 4)))], {"m": Scalar()})


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: CausalWindowVariance(4), "causal-window: size is 4; expected 3, 5, 7, ..."),
        (lambda: CausalWindowVariance(weight=0), "weight is 0; expected a positive number"),
        (
            lambda: CausalWindowVariance(towards="image"),
            "towards is 'image'; expected one of: channel, codec",
        ),
        (lambda: WindowVariance(4), "window: size is 4; expected 1, 3, 5, ..."),
    ],
)
def test_invalid_settings_are_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_relative_window_is_the_second_moment_of_normalized_residuals():
    """Against a direct sum over each window."""
    r, scale = 3 * normal((2, 7, 6)), normal((2, 7, 6), 1).abs() + 0.2
    latents = replace(make_latents(r), scale=scale)
    variance, bits = RelativeWindowVariance(3)(latents, r)
    relative = (r / scale).square().numpy()
    for c, i, j in np.ndindex(2, 7, 6):
        window = relative[c, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
        expected = scale[c, i, j].item() ** 2 * window.mean()
        assert variance[c, i, j].item() == pytest.approx(expected, rel=1e-9)
    assert bits == 0


def test_relative_window_of_a_constant_scale_is_the_window():
    r = 3 * normal((2, 7, 6))
    latents = make_latents(r, scale=1.7)
    torch.testing.assert_close(
        RelativeWindowVariance(5)(latents, r)[0], WindowVariance(5)(latents, r)[0]
    )
    with pytest.raises(InputError, match="size is 4; expected 1, 3, 5"):
        RelativeWindowVariance(4)

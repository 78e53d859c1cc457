"""The test channel whose distortion is weighted with the decoder's gain, against closed forms."""

import math

import numpy as np
import pytest
import torch
from gaussian_latents import make_cell, make_latents, normal

from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents
from rdpipe.entropy.escape import NO_ESCAPE_BITS
from rdpipe.estimators.means import ZeroMean
from rdpipe.estimators.variances import CodecVariance
from rdpipe.evaluation import evaluate
from rdpipe.quantizers.test_channel import WeightedTestChannel


def test_equal_weights_change_nothing():
    image = make_latents(normal((3, 20, 20)) * 3, scale=3.0)
    fits = {("quantizer", "weighted-test-channel"): {"y": {"weights": np.ones(3)}}}
    quantizers = ["test-channel", "weighted-test-channel"]
    bits = evaluate(image, ["zero"], ["codec"], quantizers, fits=fits)["bits"].values.ravel()
    np.testing.assert_allclose(bits[0], bits[1], rtol=1e-12)


def test_nothing_is_sent_where_errors_have_no_weight():
    quantizer, y = WeightedTestChannel(), 3 * normal((2, 30, 30), 9)
    cell = make_cell(ZeroMean(), CodecVariance(), quantizer)
    levels = []
    for weight in (0.0, 1e-30):
        quantizer.load_state({"weights": np.array([2.0, weight])})
        cell.weights = quantizer.weights
        prepared = cell.prepare(make_latents(y, scale=3.0))
        levels.append(cell.matched_level([prepared]))
        output = cell.code(prepared, levels[-1])
        assert math.isfinite(output.distortion) and (output.y_hat[1] == 0).all()
    assert levels[0] == pytest.approx(levels[1], rel=1e-9)


def test_rate_with_weights_is_that_of_reverse_water_filling():
    """Closed form: theta_c = theta / w_c, and the rate is sum 1/2 log2(v_c / theta_c)."""
    v, w = torch.tensor([4.0, 9.0, 25.0]).double(), torch.tensor([0.5, 1.0, 1.5]).double()
    y = normal((3, 200, 200), 8)
    y = y / y.square().mean((1, 2), keepdim=True).sqrt() * v.sqrt()[:, None, None]
    quantizer = WeightedTestChannel().load_state({"weights": w.numpy()})
    image = Latents("a", y, 0 * y, v.sqrt()[:, None, None].expand_as(y))
    cell = make_cell(ZeroMean(), CodecVariance(), quantizer)
    prepared = cell.prepare(image)
    output = cell.code(prepared, 0.1)
    expected = (0.5 * (v * w / 0.1).log2()).sum().item() + 3 * NO_ESCAPE_BITS
    assert output.bits / 40000 == pytest.approx(expected, rel=1e-9)
    assert output.weighted_distortion / 40000 == pytest.approx(3 * 0.1, rel=1e-9)
    level = cell.matched_level([prepared])
    rounded = (w[:, None, None] * (y - y.round()).square()).sum().item()
    assert cell.code(prepared, level).weighted_distortion == pytest.approx(rounded, rel=1e-9)


def test_gain_is_averaged_over_calibration_images():
    images = [
        Latents("a", torch.zeros(2, 1, 1), None, None, gain=torch.tensor(gain))
        for gain in ([1.0, 3.0], [3.0, 9.0])
    ]
    assert WeightedTestChannel().fit(images).state()["weights"].tolist() == [0.5, 1.5]
    with pytest.raises(InputError, match="latents without the decoder's gain"):
        WeightedTestChannel().fit([make_latents(normal((1, 2, 2)))])
    constant = Latents("a", torch.zeros(2, 1, 1), None, None, gain=torch.zeros(2))
    with pytest.raises(InputError, match="the decoder's gain is 0 for every channel"):
        WeightedTestChannel().fit([constant])

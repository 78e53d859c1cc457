"""Fitted reconstructions, against closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from rdpipe.codecs.extraction import Extractor
from rdpipe.entropy.priors import Gaussian
from rdpipe.evaluation.reconstruction_fit import fit_reconstruction
from rdpipe.evaluation.simulation import CodedImage
from rdpipe.quantizers.reconstruction import CalibratedReconstruction

ENTRIES = {
    "means": {"codec": {}},
    "variances": {"codec": {}},
    "quantizers": {"test-channel": {}, "dithered-wiener": {}, "rounding": {}},
}
DEVIATIONS = (0.4, 0.6, 1.0, 2.5)
"""Standard deviations of the four phases of pixels, in steps."""


class Phases:
    """The four phases of 2 x 2 pixels as channels, an orthonormal transform.

    Parameters
    ----------
    fitted_on_midpoints : bool
        Whether the decoder is the best linear one for rounded latents, as a trained decoder is;
        otherwise it is the inverse of the transform.
    """

    multiple = 2

    def __init__(self, fitted_on_midpoints):
        slopes = [midpoint_slope(s) if fitted_on_midpoints else 1.0 for s in DEVIATIONS]
        self.slopes = torch.tensor(slopes).view(1, 4, 1, 1)
        self.scales = torch.tensor(DEVIATIONS).view(1, 4, 1, 1)

    def code(self, image, size, send):
        y = None if image is None else torch.nn.functional.pixel_unshuffle(image, 2)
        scale = self.scales.expand(1, 4, size[0] // 2, size[1] // 2).contiguous()
        y_hat = send("y", Gaussian(0 * scale, scale), y)
        return torch.nn.functional.pixel_shuffle(self.slopes.to(y_hat) * y_hat, 2)


def midpoint_slope(s):
    """E[k r] / E[k^2] of N(0, s^2) that is rounded to integers k."""
    k = np.arange(-60, 61)
    low, high = (k - 0.5) / s, (k + 0.5) / s
    mass = stats.norm.cdf(high) - stats.norm.cdf(low)
    first = s * (stats.norm.pdf(low) - stats.norm.pdf(high))  # the integral of r
    return (k * first).sum() / (k * k * mass).sum()


def coded_images(codec, count=3, side=256):
    """Fields whose phases have the standard deviations of the codec."""
    extractor, images = Extractor(codec), []
    for seed in range(count):
        noise = torch.randn(
            (1, 4, side // 2, side // 2), generator=torch.Generator().manual_seed(seed)
        )
        field = torch.nn.functional.pixel_shuffle(
            noise * torch.tensor(DEVIATIONS).view(1, 4, 1, 1), 2
        )
        pixels = field[0].permute(1, 2, 0).contiguous().numpy()
        images.append(CodedImage(extractor.latents(str(seed), pixels), pixels))
    return images


def gains_at(state, t):
    """Gains of the four channels."""
    v = torch.tensor(DEVIATIONS, dtype=torch.float64).square()
    return CalibratedReconstruction.from_state(state)(torch.ones(4).double(), v, t).numpy()


@pytest.mark.parametrize("quantizer", ["test-channel", "dithered-wiener"])
def test_decoder_fitted_on_midpoints_wants_the_inverse_of_their_slope(quantizer):
    """Its input must be r_hat over the slope E[k r] / E[k^2], so that it returns r_hat itself."""
    codec = Phases(fitted_on_midpoints=True)
    images = coded_images(codec)
    state = fit_reconstruction(codec, quantizer, ENTRIES, images)["y"]
    expected = [1 / midpoint_slope(s) for s in DEVIATIONS]
    assert expected[0] > 1.3 and expected[-1] == pytest.approx(1, abs=0.02)
    t = 0.07 if quantizer == "test-channel" else 1 / 12
    np.testing.assert_allclose(gains_at(state, t), expected, rtol=0.04)
    assert state["mse"][1] < state["mse"][0]


@pytest.mark.parametrize("quantizer", ["test-channel", "dithered-wiener"])
def test_orthonormal_decoder_wants_the_identity(quantizer):
    codec = Phases(fitted_on_midpoints=False)
    state = fit_reconstruction(codec, quantizer, ENTRIES, coded_images(codec))["y"]
    np.testing.assert_allclose(gains_at(state, 0.08)[1:], 1, atol=0.02)
    assert state["mse"][1] == pytest.approx(state["mse"][0], rel=1e-3)


def test_midpoints_of_a_decoder_fitted_on_them_stay():
    codec = Phases(fitted_on_midpoints=True)
    state = fit_reconstruction(codec, "rounding", ENTRIES, coded_images(codec))["y"]
    np.testing.assert_allclose(gains_at(state, 1 / 12), 1, atol=0.03)


def test_fit_is_reproducible():
    codec = Phases(fitted_on_midpoints=True)
    first, second = (
        fit_reconstruction(codec, "test-channel", ENTRIES, coded_images(codec, 1, 64)) for _ in "ab"
    )
    assert np.array_equal(first["y"]["gain"], second["y"]["gain"])


def test_slope_of_midpoints_is_that_of_a_sample():
    r = 0.6 * np.random.default_rng(0).standard_normal(400_000)
    k = np.round(r)
    assert (k * r).mean() / (k * k).mean() == pytest.approx(midpoint_slope(0.6), rel=0.01)
    assert math.isclose(midpoint_slope(20.0), 1, rel_tol=1e-3)

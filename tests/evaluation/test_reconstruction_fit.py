"""Fitted reconstructions, against closed forms."""

import math

import numpy as np
import pytest
import torch
from gaussian_fields import SIDE, coded_fields
from scipy import stats

from rdpipe.codecs.extraction import Extractor
from rdpipe.core.axes import CellId
from rdpipe.entropy.priors import Gaussian
from rdpipe.evaluation.reconstruction_fit import NormalEquations, fit_reconstruction
from rdpipe.evaluation.simulation import CodedImage, Simulation
from rdpipe.quantizers.reconstruction import CalibratedReconstruction

ENTRIES = {
    "means": {"codec": {}},
    "variances": {"codec": {}},
    "quantizers": {"test-channel": {}, "dithered-wiener": {}, "rounding": {}},
}
DEVIATIONS = np.array([0.4, 0.6, 1.0, 2.5])
"""Standard deviations of the four coefficients of 2 x 2 pixels, in steps."""
ORTHONORMAL = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
OBLIQUE = np.array([[1, 0.6, 0, 0.2], [0, 1, 0.5, 0], [0.3, 0, 1, 0.4], [0, -0.5, 0.2, 1]])
"""Basis images of 2 x 2 pixels, one per column; those of the second are not orthogonal."""


class Blocks:
    """A linear transform of blocks of 2 x 2 pixels.

    Parameters
    ----------
    basis : array of shape (4, 4)
        The pixels of a block are ``basis @ coefficients``.
    fitted_on_midpoints : bool
        Whether the decoder is the best linear one for rounded latents, as a trained decoder is;
        otherwise it is the inverse of the transform.
    """

    multiple = 2

    def __init__(self, basis, fitted_on_midpoints):
        slopes = [midpoint_slope(s) if fitted_on_midpoints else 1.0 for s in DEVIATIONS]
        self.basis = torch.from_numpy(basis)
        self.inverse, self.decoder = torch.linalg.inv(self.basis), self.basis * torch.tensor(slopes)
        self.scales = torch.from_numpy(DEVIATIONS).view(1, 4, 1, 1)

    def code(self, image, size, send):
        y = None
        if image is not None:
            y = mix(self.inverse, torch.nn.functional.pixel_unshuffle(image, 2).double())
        scale = self.scales.expand(1, 4, size[0] // 2, size[1] // 2).contiguous()
        y_hat = send("y", Gaussian(0 * scale, scale), y)
        return torch.nn.functional.pixel_shuffle(mix(self.decoder, y_hat), 2)


def mix(matrix, coefficients):
    """Return the matrix times the four channels."""
    return torch.einsum("ij,bjhw->bihw", matrix, coefficients)


def midpoint_slope(s):
    """E[k r] / E[k^2] of N(0, s^2) that is rounded to integers k."""
    k = np.arange(-60, 61)
    low, high = (k - 0.5) / s, (k + 0.5) / s
    mass = stats.norm.cdf(high) - stats.norm.cdf(low)
    first = s * (stats.norm.pdf(low) - stats.norm.pdf(high))  # the integral of r
    return (k * first).sum() / (k * k * mass).sum()


def coded_blocks(codec, count=3, side=SIDE // 2):
    """Fields whose coefficients are independent, with the standard deviations of the codec."""
    extractor, images = Extractor(codec), []
    for seed in range(count):
        noise = torch.randn(
            (1, 4, side // 2, side // 2), generator=torch.Generator().manual_seed(seed)
        )
        field = torch.nn.functional.pixel_shuffle(mix(codec.basis, noise * codec.scales), 2)
        pixels = field[0].permute(1, 2, 0).float().contiguous().numpy()
        images.append(CodedImage(extractor.latents(str(seed), pixels), pixels))
    return images


def gains_at(state, v, t):
    """Return the gains of residuals with some variances."""
    ones = torch.ones(len(v), dtype=torch.float64)
    reconstruction = CalibratedReconstruction.from_state(state)
    return reconstruction(ones, torch.tensor(v), t).numpy()


def noise_variance(codec, quantizer, images):
    """Return theta, or step^2 / 12, at the level of equal pictures without a map."""
    cells = {"plain": CellId("codec", "codec", quantizer)}
    results = Simulation(codec, cells, ENTRIES, {}, images[0].latents).run(images)
    level = results["level"].values[0, 0]
    return level if quantizer == "test-channel" else level**2 / 12


@pytest.mark.parametrize("quantizer", ["test-channel", "dithered-wiener"])
@pytest.mark.parametrize(
    "basis, fitted_on_midpoints",
    [(ORTHONORMAL, False), (ORTHONORMAL, True), (OBLIQUE, True)],
    ids=["inverse", "orthonormal", "oblique"],
)
def test_map_is_the_inverse_of_the_slope_of_the_decoder(basis, quantizer, fitted_on_midpoints):
    """Known answer: g_c = E[k^2] / E[k r] if the decoder is fitted on midpoints k, otherwise 1.

    The decoder multiplies coefficient c by its slope s_c = E[k r] / E[k^2] and adds up columns of
    the basis B. The squared error E |B (r - s g r_hat)|^2 has the derivative 0 where, for all c,
    sum_d (B'B)_cd E[r_hat_c (r_d - s_d g_d r_hat_d)] = 0. Coefficients are independent with mean 0,
    so only d = c remains, whatever the basis, and E[r_hat r] = E[r_hat^2] of an estimate that is
    the best linear one. Hence s_c g_c = 1.

    No fit to n coefficients is better than its standard error, sqrt(t / (n (v - t))) of the gain
    for an error t of the channel; a basis that is not orthogonal adds the errors of the others.
    With n = 49152 it is 0.4 % for the smallest variance and 0.05 % for the largest.
    """
    codec = Blocks(basis, fitted_on_midpoints)
    images = coded_blocks(codec)
    state = fit_reconstruction(codec, quantizer, ENTRIES, images)["y"]
    v, t = DEVIATIONS**2, noise_variance(codec, quantizer, images)
    slopes = np.array([midpoint_slope(s) if fitted_on_midpoints else 1.0 for s in DEVIATIONS])
    assert slopes[0] < 0.7 or not fitted_on_midpoints
    leaked = np.square(basis.T @ basis).sum(1) / np.square(np.square(basis).sum(0))
    error = np.sqrt(leaked * t / (len(images) * SIDE**2 / 16 * (v - t)))
    assert (np.abs(slopes * gains_at(state, v, t) - 1) < 3 * error).all()
    gained = 1 - state["mse"][1] / state["mse"][0]
    assert gained > 0.05 if fitted_on_midpoints else gained == 0
    if not fitted_on_midpoints:  # nothing to gain: no gain that the noise of these images favors
        assert (state["gain"] == 1).all()


@pytest.mark.parametrize(
    "quantizer, step, count",
    [
        ("test-channel", 100.0, 2),
        ("test-channel", 20.0, 4),
        ("test-channel", 6.0, 2),
        ("dithered-wiener", 20.0, 2),
    ],
)
def test_map_of_klt_is_the_identity(quantizer, step, count):
    """To 1 %, or as well as the fields determine it just above the water level.

    The gain of n coefficients of variance v has the standard error sqrt(t / (n (v - t))): r_hat has
    the variance v - t, which vanishes at the water level t, and the error t. The few gains between
    v = t and 1.5 t may therefore be off by more than 1 %.
    """
    codec, images = coded_fields(step, count)
    v = codec.variances / step**2
    state = fit_reconstruction(codec, quantizer, ENTRIES, images)["y"]
    t = noise_variance(codec, quantizer, images)
    v = v[v > t]  # what is sent
    error = np.abs(gains_at(state, v, t) - 1)
    assert (v > 1.5 * t).sum() >= max(8, len(v) - 5) and (error[v > 1.5 * t] < 0.01).all()
    assert (error < 3 * np.sqrt(t / (count * SIDE**2 / len(codec.variances) * (v - t)))).all()
    assert state["mse"][1] == pytest.approx(state["mse"][0], rel=1e-4)


def test_map_of_midpoints_of_klt_is_their_regression():
    """Its decoder takes midpoints as they are, so the map is E[k r] / E[k^2] of rounded ones.

    It is linear between knots, which is within 1 % of the closed form; the noise is less where the
    variance is at least twice that of the rounding error.
    """
    codec, images = coded_fields(20.0, 2)
    v = codec.variances / 20.0**2
    state = fit_reconstruction(codec, "rounding", ENTRIES, images)["y"]
    sent = v > 2 / 12
    expected = np.array([midpoint_slope(s) for s in np.sqrt(v[sent])])
    assert expected.min() < 0.8 and sent.sum() > 20
    np.testing.assert_allclose(gains_at(state, v[sent], 1 / 12), expected, rtol=0.012)


def test_midpoints_of_a_decoder_fitted_on_them_stay():
    codec = Blocks(ORTHONORMAL, fitted_on_midpoints=True)
    state = fit_reconstruction(codec, "rounding", ENTRIES, coded_blocks(codec))["y"]
    np.testing.assert_allclose(gains_at(state, DEVIATIONS**2, 1 / 12), 1, atol=0.01)


def equations(derivatives, residuals):
    """Return the normal equations of linear decoders, one for each image."""
    count = len(residuals[0])
    return NormalEquations(
        torch.stack([a.T @ a for a in derivatives]) / count,
        torch.stack([a.T @ r for a, r in zip(derivatives, residuals, strict=True)]) / count,
        torch.stack([r.square().mean() for r in residuals]),
    )


def random_problem(seed, gain, images=5, pixels=200):
    """Return derivatives and residuals: gains times derivatives, and noise of variance 1."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    derivatives = [draw(pixels, 3) for _ in range(images)]
    return derivatives, [gain * a.sum(1) + draw(pixels) for a in derivatives]


def test_changes_of_held_out_images_are_those_of_a_fit_without_them():
    derivatives, residuals = random_problem(0, 0.2)
    changes = equations(derivatives, residuals).held_out_changes()
    for index in range(5):
        others = [i for i in range(5) if i != index]
        fitted, *_ = np.linalg.lstsq(
            torch.cat([derivatives[i] for i in others]),
            torch.cat([residuals[i] for i in others]),
            rcond=None,
        )
        remainder = residuals[index] - derivatives[index] @ torch.from_numpy(fitted)
        direct = (remainder.square().mean() / residuals[index].square().mean() - 1).item()
        assert changes[index].item() == pytest.approx(direct, rel=1e-3)  # but for the ridge


@pytest.mark.parametrize("gain, least, most", [(0.0, 0.0, 0.05), (0.2, 0.99, 1.0)])
def test_gains_are_kept_if_they_help_beyond_the_noise(gain, least, most):
    """Without anything to gain, a fit must look good in at most 5 % of the cases."""
    decisions = [equations(*random_problem(seed, gain)).help_other_images() for seed in range(300)]
    assert least <= np.mean(decisions) <= most


def test_fit_is_reproducible():
    codec = Blocks(ORTHONORMAL, fitted_on_midpoints=True)
    first, second = (
        fit_reconstruction(codec, "test-channel", ENTRIES, coded_blocks(codec, 1, 64)) for _ in "ab"
    )
    assert np.array_equal(first["y"]["gain"], second["y"]["gain"])


def test_slope_of_midpoints_is_that_of_a_sample():
    r = 0.6 * np.random.default_rng(0).standard_normal(400_000)
    k = np.round(r)
    assert (k * r).mean() / (k * k).mean() == pytest.approx(midpoint_slope(0.6), rel=0.01)
    assert math.isclose(midpoint_slope(20.0), 1, rel_tol=1e-3)

"""Estimators and fits see only the elements that are coded."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussian_latents import make_latents, normal

from rdpipe.core.axes import CellId
from rdpipe.estimators.causal import with_typical
from rdpipe.estimators.context_network import NetworkMean
from rdpipe.estimators.means import CodecMean, LinearCausalMean
from rdpipe.estimators.transmitted import BlockVariance, ChannelVariance
from rdpipe.estimators.variances import CalibratedVariance, WindowVariance
from rdpipe.evaluation.cell import Cell
from rdpipe.quantizers.scalar import Rounding

CODED = torch.rand((2, 24, 24), generator=torch.Generator().manual_seed(7)) < 0.25
SIGMA = 5.0


def masked(seed=0):
    """Return latents of which a quarter is coded; the others are far from their mean."""
    y = torch.where(CODED, SIGMA * normal(CODED.shape, seed), 1e3)
    return replace(make_latents(y, scale=SIGMA), coded=CODED)


@pytest.mark.parametrize("variance", [ChannelVariance(), BlockVariance(8), WindowVariance(9)])
def test_second_moment_is_that_of_coded_elements(variance):
    latents = masked()
    cell = Cell(CellId("codec", "variance", "rounding"), CodecMean(), variance, Rounding())
    estimate = cell.prepare(latents).initial_variance[CODED]
    moment = np.mean(np.square(latents.y[CODED].numpy()))
    assert estimate.mean().item() == pytest.approx(moment, rel=0.25)  # indices are half octaves


def test_typical_residuals_have_the_second_moment_of_coded_ones():
    r = torch.where(CODED, masked().y, 0.0)
    typical = with_typical(r, CODED)
    for c in range(2):
        expected = np.mean(np.square(r[c][CODED[c]].numpy()))
        assert typical[c].square().mean().item() == pytest.approx(expected)
    assert torch.equal(typical[CODED], r[CODED])
    zeros = torch.zeros_like(r)
    assert torch.equal(with_typical(zeros, torch.zeros_like(CODED)), zeros)


def test_calibration_ignores_what_is_not_coded():
    latents = [masked(seed) for seed in range(4)]
    fitted = CalibratedVariance().fit(latents, {"codec": CodecMean()}).for_mean("codec")
    variance, _ = fitted(latents[0], latents[0].y)
    moment = np.mean([np.mean(np.square(image.y[CODED].numpy())) for image in latents])
    assert variance.mean().item() == pytest.approx(moment, rel=1e-6)


def test_linear_prediction_ignores_what_is_not_coded():
    """The weights are those of least squares over coded targets, with neighbors of 0 elsewhere."""
    latents = masked()
    fitted = LinearCausalMean(groups=1, ridge=1e-9).fit([latents])
    decoded = np.where(CODED, latents.y.numpy().round(), 0.0)
    padded = np.pad(decoded, ((0, 0), (2, 2), (2, 2)))
    for c in range(2):
        rows, columns = np.nonzero(CODED[c].numpy())
        features = np.stack(
            [padded[c, rows + 2 + i, columns + 2 + j] for i, j in LinearCausalMean.neighbors], 1
        )
        weights = np.linalg.lstsq(features, latents.y[c].numpy()[rows, columns], rcond=None)[0]
        np.testing.assert_allclose(fitted.state()["space"][c], weights, atol=1e-6)


def test_network_is_normalized_by_coded_elements():
    state = NetworkMean(width=4, steps=1).fit([masked()]).state()
    moment = [np.mean(np.square(masked().y[c][CODED[c]].numpy())) for c in range(2)]
    np.testing.assert_allclose(state["sigma"], np.sqrt(moment), rtol=1e-5)

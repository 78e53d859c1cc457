"""Statistics of the latents against explicit sums."""

import numpy as np
import pytest
import torch

from rdpipe.evaluation import statistics


@pytest.fixture
def sample():
    """Return scales and residuals of shape (channel, row, column)."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.exp(torch.randn(5, 6, 7, generator=generator, dtype=torch.float64))
    return scale, scale * torch.randn(5, 6, 7, generator=generator, dtype=torch.float64)


def test_moments_are_means_over_a_channel(sample):
    scale, r = sample
    coded = torch.ones_like(r, dtype=torch.bool)
    coded[1], coded[2, :3] = False, False
    second_moment, predicted = statistics.moments(scale, r, coded)
    assert second_moment[3] == pytest.approx(float((r[3] ** 2).mean()))
    assert np.isnan(second_moment[1]) and np.isnan(predicted[1])
    assert second_moment[2] == pytest.approx(float((r[2, 3:] ** 2).mean()))
    assert predicted[4] == pytest.approx(float((scale[4] ** 2).mean()))


def test_moments_ignore_what_is_predicted_of_other_elements(sample):
    scale, r = sample
    coded = torch.ones_like(r, dtype=torch.bool)
    coded[0, 0, 0] = False
    expected = float((r[0].flatten()[1:] ** 2).mean()), float((scale[0].flatten()[1:] ** 2).mean())
    scale[0, 0, 0], r[0, 0, 0] = torch.inf, torch.nan
    assert [moment[0] for moment in statistics.moments(scale, r, coded)] == pytest.approx(expected)


def test_calibration_counts_every_element_in_its_bin(sample):
    scale, r = sample
    count, r2, sigma2 = statistics.calibration(scale, r)
    assert count.sum() == r.numel() and r2.sum() == pytest.approx(float(r.square().sum()))
    low, high = statistics.SCALE_EDGES[20:22]
    inside = ((scale >= low) & (scale < high)).numpy()
    assert count[20] == inside.sum()
    assert sigma2[20] == pytest.approx((scale.numpy()[inside] ** 2).sum())
    outside = statistics.calibration(torch.full((1, 1, 2), 1e-9), torch.ones(1, 1, 2))
    assert outside[0][0] == 2  # the outermost bins are open


def test_histograms_count_the_residuals_of_each_class(sample):
    scale, r = sample
    counts = statistics.residual_histograms(scale, r)
    inside = ((scale >= 0.5) & (scale < 1.0)).numpy()
    u = (r / scale).numpy()[inside]
    assert counts[2] == pytest.approx(np.histogram(u, statistics.RESIDUAL_EDGES)[0])
    assert counts.sum() == r.numel()


def test_residual_of_an_element_that_is_predicted_exactly_is_zero():
    """Of a predicted scale of 0; a residual that is not 0 is a tail."""
    r = torch.tensor([0.0, 0.0, 1.0, -1.0])
    counts = statistics.residual_histograms(torch.zeros(4), r)[0]
    assert {int(i): int(counts[i]) for i in np.flatnonzero(counts)} == {0: 1, 64: 2, 127: 1}

"""Statistics of the latents, against sums written out."""

import numpy as np
import pytest
import torch

from rdpipe.core.axes import cell_name
from rdpipe.evaluation import statistics
from rdpipe.evaluation.cell import Cell, build
from rdpipe.core.latents import Latents


@pytest.fixture
def sample():
    generator = torch.Generator().manual_seed(0)
    scale = torch.exp(torch.randn(5, 6, 7, generator=generator, dtype=torch.float64))
    return scale, scale * torch.randn(5, 6, 7, generator=generator, dtype=torch.float64)


def test_moments_are_means_over_a_channel(sample):
    scale, r = sample
    second, predicted = statistics.moments(scale, r)
    assert second[2] == pytest.approx(float((r[2] ** 2).mean()))
    assert predicted[4] == pytest.approx(float((scale[4] ** 2).mean()))


def test_calibration_counts_every_element_in_its_bin(sample):
    scale, r = sample
    count, r2, sigma2 = statistics.calibration(scale, r)
    assert count.sum() == r.numel() and r2.sum() == pytest.approx(float(r.square().sum()))
    low, high = statistics.SCALE_EDGES[20:22]
    inside = ((scale >= low) & (scale < high)).numpy()
    assert count[20] == inside.sum() and sigma2[20] == pytest.approx((scale.numpy()[inside] ** 2).sum())
    outside = statistics.calibration(torch.full((1, 1, 2), 1e-9), torch.ones(1, 1, 2))
    assert outside[0][0] == 2  # the outermost bins are open


def test_histograms_are_those_of_each_class(sample):
    scale, r = sample
    counts = statistics.residual_histograms(scale, r)
    inside = ((scale >= 0.5) & (scale < 1.0)).numpy()
    u = (r / scale).numpy()[inside]
    assert counts[2] == pytest.approx(np.histogram(u, statistics.RESIDUAL_EDGES)[0])
    assert counts.sum() == r.numel()


@pytest.mark.parametrize("quantizer", ["rounding", "deadzone", "lattice-e8", "trellis", "test-channel"])
@pytest.mark.parametrize("variance", ["codec", "causal-window"])
def test_bits_of_the_elements_are_those_of_the_image(sample, quantizer, variance):
    scale, r = sample
    parts = {"mean": "codec", "variance": variance, "quantizer": quantizer}
    cell = Cell(*(build(axis, name, {}, {}) for axis, name in parts.items()))
    prepared = cell.prepare(Latents(cell_name(parts), r, torch.zeros_like(r), scale))
    sent = cell.send(prepared, 1.0 if quantizer != "test-channel" else 0.1)
    assert sent.element_bits.shape == r.shape
    assert sent.element_bits.sum() + prepared.bits == pytest.approx(sent.bits, rel=1e-12)

"""Variance estimators against plain numpy."""

import numpy as np
import torch
from scipy.ndimage import uniform_filter

from rdpipe.estimators.variances import Channel, Element, Window

R = torch.randn((3, 17, 13), generator=torch.Generator().manual_seed(0)).double()


def test_window_is_the_mean_of_squares_around_each_element():
    got, bits = Window(5)(None, R)
    # a cut window: sums and counts with zeros outside
    square, ones = R.numpy() ** 2, np.ones(R.shape[1:])
    mean = lambda x: uniform_filter(x, 5, mode="constant")
    expected = np.stack([mean(channel) / mean(ones) for channel in square])
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    assert bits == 0


def test_element_is_the_square():
    torch.testing.assert_close(Element()(None, R)[0], R.square())


def test_channel_is_the_second_moment_to_an_eighth_of_an_octave_and_pays_for_it():
    r = R * torch.tensor([0.01, 1, 300]).view(3, 1, 1)
    got, bits = Channel()(None, r)
    octaves = np.log2(got[:, 0, 0].numpy() / (r.numpy() ** 2).mean((1, 2)))
    assert (np.abs(octaves) <= 0.125 + 1e-9).all()
    assert bits == 3 * 8
    # what is sent takes no more than 8 bits: whole quarter octaves, 256 of them
    index = 4 * np.log2(got[:, 0, 0].numpy())
    np.testing.assert_allclose(index, index.round(), atol=1e-9)
    assert ((index >= -64) & (index <= 191)).all()

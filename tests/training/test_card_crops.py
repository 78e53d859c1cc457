"""Crops that a card makes are those that Pillow makes on the CPU."""

import numpy as np
import pytest
import torch
from PIL import Image
from pretended_cuda import counting
from small_training import FILES

from rdpipe.training.card_crops import CardCrops, lanczos_weights, resample, saturate
from rdpipe.training.crops import Crops

CPU = torch.device("cpu")


def test_crops_are_those_of_the_cpu():
    crops = Crops(FILES, 64, 5)
    on_card = CardCrops.load(crops, CPU)
    expected = np.stack([crops[i] for i in range(60)])
    for first in range(0, 60, 12):
        batch = on_card.batch(range(first, first + 12))
        assert batch.dtype == torch.uint8
        assert np.array_equal(batch.numpy(), expected[first : first + 12])


@pytest.mark.parametrize("side", [*range(43, 97, 3), 64])
def test_resampling_is_that_of_pillow(side):
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(pixels).resize((64, 64), Image.Resampling.LANCZOS))
    square = torch.zeros(1, 3, 96, 96, dtype=torch.float64)
    square[0, :, :side, :side] = torch.from_numpy(pixels).permute(2, 0, 1)
    sides = torch.full((1, 1, 1, 1), side, dtype=torch.float64)
    resampled = resample(square, lanczos_weights(sides, 64, 96))
    assert np.array_equal(resampled[0].permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("factor", [0.5, 0.73, 1.0, 1.4, 2.0])
def test_saturation_is_that_of_pillow(factor):
    from PIL import ImageEnhance

    pixels = np.random.default_rng(1).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    expected = np.asarray(ImageEnhance.Color(Image.fromarray(pixels)).enhance(factor))
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None].double()
    changed = saturate(planes, torch.full((1, 1, 1, 1), factor, dtype=torch.float64))
    assert np.array_equal(changed[0].permute(1, 2, 0).numpy(), expected)


def test_host_does_not_wait_for_a_batch(pretend_cuda):
    on_card = CardCrops.load(Crops(FILES, 64, 5), torch.device("cuda", 0))
    with counting() as counts:
        batch = on_card.batch(range(4))
    assert counts.syncs == 0, counts.where
    assert batch.device.type == "cuda" and batch.shape == (4, 3, 64, 64)


def test_images_that_do_not_fit_stay_on_the_host(monkeypatch):
    monkeypatch.setattr("rdpipe.training.crops.MOST_BYTES", 1000)
    assert CardCrops.load(Crops(FILES, 64, 5), CPU) is None

"""Crops that a card makes from images in its memory, with the numbers of Pillow.

.. code-block:: none

    host    crop i -> file, square, factors (a row of numbers)
    card    packed images -> squares -> Lanczos resampling -> mirror -> saturation -> uint8

Pillow resamples along rows and then along columns, with integer weights of 22 bits, and rounds
after each. In float64 these sums are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Self

import numpy as np
import torch
from torch import Tensor

from rdpipe.core.running import copy_to
from rdpipe.datasets.image import read_image
from rdpipe.training import crops as host_crops
from rdpipe.training.crops import Crops, Pixels, draw_cut

ONE = 2.0**22
"""The weight 1 in Pillow's resampling."""
LOBES = 3
"""Zeros of the Lanczos kernel on either side."""
LUMA = (19595.0, 38470.0, 7471.0)
"""Weights of red, green and blue in Pillow's gray, in units of 2^-16."""


class CardCrops:
    """The crops of :class:`rdpipe.training.crops.Crops`, made on a card.

    Parameters
    ----------
    crops : Crops
        The sequence of crops.
    images : sequence of array of uint8, of shape (height, width, 3)
        All its images, which are copied to the card once.
    device : device
    """

    def __init__(self, crops: Crops, images: Sequence[Pixels], device: torch.device):
        self.crops, self.device = crops, device
        self._shapes = [image.shape for image in images]
        pixels = [image.reshape(-1, 3) for image in images]
        self._starts = np.cumsum([0, *map(len, pixels)]).tolist()
        shape = (self._starts[-1], 3)
        self._pixels = torch.empty(shape, dtype=torch.uint8, device=device)  # once in its memory
        for of_image, (start, end) in zip(pixels, pairwise(self._starts), strict=True):
            self._pixels[start:end] = copy_to(torch.tensor(of_image), device)

    @classmethod
    def load(cls, crops: Crops, device: torch.device) -> Self | None:
        """Return the crops of a card.

        None if the images need more than ``MOST_BYTES``, or are Gaussian fields.
        """
        images, size = list[Pixels](), 0
        for file in crops.files:
            image = read_image(str(file), max_pixels=None)[0]
            size += image.nbytes
            if size > host_crops.MOST_BYTES or image.dtype != np.uint8:
                return None
            images.append(image)
        return cls(crops, images, device)

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Return crops as uint8 of shape (n, 3, size, size) on the card."""
        rows = torch.tensor([self._row(index) for index in indices], dtype=torch.float64)
        columns = copy_to(rows, self.device)[:, :, None, None, None].unbind(1)
        start, width, top, left, side, mirrored, saturation = columns
        size = self.crops.size
        place = torch.arange(round(1.5 * size), device=self.device).minimum(side - 1)
        corner = start + top * width + left
        squares = self._pixels[(corner + place.mT * width + place)[:, 0].long()]
        weights = lanczos_weights(side, size, round(1.5 * size))
        pixels = resample(squares.permute(0, 3, 1, 2).double(), weights)
        pixels = torch.where(mirrored > 0, pixels.flip(3), pixels)
        return saturate(pixels, saturation).byte()

    def _row(self, index: int) -> tuple[float, ...]:
        """Return where a crop is in the packed images, and how it is changed."""
        rng, number = self.crops.draw(index)
        shape = self._shapes[number]
        return self._starts[number], shape[1], *draw_cut(shape, self.crops.size, rng)


def lanczos_weights(side: Tensor, size: int, most: int) -> Tensor:
    """Return the weights with which Pillow resamples squares, in units of 2^-22.

    Parameters
    ----------
    side : Tensor of float64, of shape (n, 1, 1, 1)
        Sides of the squares, pixels.
    size : int
        Side of the result.
    most : int
        Largest side of a square. Pixels beyond ``side`` have no weight.

    Returns
    -------
    Tensor of shape (n, 1, size, most)
    """
    scale = side / size
    shrinkage = scale.clamp(min=1)
    pixel = torch.arange(most, dtype=side.dtype, device=side.device)
    center = (torch.arange(size, dtype=side.dtype, device=side.device)[:, None] + 0.5) * scale
    first = (center - LOBES * shrinkage + 0.5).floor().clamp(min=0)
    end = (center + LOBES * shrinkage + 0.5).floor().minimum(side)
    t = (pixel - center + 0.5) / shrinkage
    kernel = torch.sinc(t) * torch.sinc(t / LOBES)
    weights = torch.where((pixel >= first) & (pixel < end) & (t.abs() < LOBES), kernel, 0.0)
    weights = weights / weights.sum(-1, keepdim=True) * ONE
    resampled = (weights + 0.5 * weights.sign()).trunc()
    return torch.where(side == size, ONE * (pixel == (center - 0.5).round()), resampled)


def resample(pixels: Tensor, weights: Tensor) -> Tensor:
    """Return squares that are resampled along their rows, and then along their columns."""
    return _round(weights @ _round(pixels @ weights.mT))


def _round(sums: Tensor) -> Tensor:
    return (sums / ONE + 0.5).floor().clamp(0, 255)


def saturate(pixels: Tensor, factor: Tensor) -> Tensor:
    """Return pixels whose distance from gray is multiplied by a factor, as Pillow's ``Color``."""
    red, green, blue = (
        weight * channel for weight, channel in zip(LUMA, pixels.unbind(1), strict=True)
    )
    gray = ((red + green + blue + 2**15) / 2**16).floor()[:, None].float()
    return (gray + factor.float() * (pixels.float() - gray)).clamp(0, 255).trunc()

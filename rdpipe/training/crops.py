"""Crops of photographs for training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from torch.utils.data import Dataset, get_worker_info

from rdpipe.datasets.image import read_image

Pixels = NDArray[Any]
"""An image of uint8 of shape (height, width, 3), or a Gaussian field of (height, width, 1)."""

MOST_BYTES = 2 << 30
"""Memory for decoded images, of all workers. Those that do not fit are decoded at every use."""


class Crops(Dataset[Pixels]):
    """Random square crops with random mirroring, zoom and saturation.

    Crop ``i`` is a pure function of (seed, i). Those of Gaussian fields are not changed, so that
    they have the distribution of the source.  Half of the crops are resampled by a factor of up to
    3/2 in either direction, for other textures, and fewer artifacts of the JPEG files that most
    training sets consist of. Half have their saturation changed by a factor of up to 2 in either
    direction: a hyperprior that has not seen saturated colors predicts means far from them.

    Parameters
    ----------
    files : sequence of Path
        Training images, of at least ``size`` pixels on each side. From images below ``1.5 * size``
        fewer crops are shrunk.
    size : int
        Side of a crop, pixels.
    seed : int
        Seed of the sequence of crops.

    Attributes
    ----------
    kept_bytes : int
        Memory of the decoded images that are kept.
    """

    def __init__(self, files: Sequence[Path], size: int, seed: int):
        self.files, self.size, self.seed = files, size, seed
        self._decoded: dict[Path, Pixels] = {}
        self.kept_bytes = 0

    def __getitem__(self, index: int) -> Pixels:
        """Return a crop, of shape (3, size, size)."""
        rng, file = self._draw(index)
        image = self._image(file)
        if image.dtype != np.uint8:
            field = random_window(image, self.size, rng)
            return np.ascontiguousarray(field.transpose(2, 0, 1))
        crop = random_zoom(image, self.size, rng)
        if rng.integers(2):
            crop = crop[:, ::-1]
        return np.ascontiguousarray(random_saturation(crop, rng).transpose(2, 0, 1))

    def _image(self, file: Path) -> Pixels:
        """Return a decoded image, which is kept if there is space."""
        if file in self._decoded:
            return self._decoded[file]
        image = read_image(str(file), max_pixels=None)[0]
        worker = get_worker_info()
        share = MOST_BYTES // (worker.num_workers if worker else 1)
        if self.kept_bytes + image.nbytes <= share:
            self._decoded[file] = image
            self.kept_bytes += image.nbytes
        return image

    def _draw(self, index: int) -> tuple[np.random.Generator, Path]:
        rng = np.random.default_rng([self.seed, index])
        return rng, self.files[rng.integers(len(self.files))]

    def sources(self, indices: Iterable[int]) -> str:
        """Return the names of the files that some crops come from."""
        return ", ".join(sorted({self._draw(index)[1].name for index in indices}))


def random_zoom(image: Pixels, size: int, rng: np.random.Generator) -> Pixels:
    """Return a crop of ``size``, with original pixels or resampled from another size."""
    side = round(size * 1.5 ** rng.uniform(-1, 1)) if rng.integers(2) else size
    side = min(side, *image.shape[:2])
    crop = random_window(image, side, rng)
    if side != size:
        crop = np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.LANCZOS))
    return crop


def random_window(image: Pixels, side: int, rng: np.random.Generator) -> Pixels:
    """Return a square of the pixels of an image."""
    top, left = (rng.integers(length - side + 1) for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def random_saturation(crop: Pixels, rng: np.random.Generator) -> Pixels:
    """Return the crop, or a crop whose distance from gray is multiplied by a random factor."""
    if rng.integers(2):
        return crop
    return np.asarray(ImageEnhance.Color(Image.fromarray(crop)).enhance(2 ** rng.uniform(-1, 1)))

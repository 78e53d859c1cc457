"""Crops of photographs for training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from torch.utils.data import Dataset, get_worker_info

from rdpipe.datasets.image import read_image

Pixels = NDArray[Any]
"""An image of uint8 of shape (height, width, 3), or a Gaussian field of (height, width, 1)."""

MOST_BYTES = 2 << 30
"""Memory for decoded images, of all workers or on a card.

Those that do not fit into that of the workers are decoded at every use.
"""


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
        rng, number = self.draw(index)
        image = self._image(self.files[number])
        if image.dtype != np.uint8:
            field = random_window(image, self.size, rng)
            return np.ascontiguousarray(field.transpose(2, 0, 1))
        crop = cut(image, self.size, draw_cut(image.shape, self.size, rng))
        return np.ascontiguousarray(crop.transpose(2, 0, 1))

    def draw(self, index: int) -> tuple[np.random.Generator, int]:
        """Return the generator of a crop, and the number of its file."""
        rng = np.random.default_rng([self.seed, index])
        return rng, int(rng.integers(len(self.files)))

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

    def sources(self, indices: Iterable[int]) -> str:
        """Return the names of the files that some crops come from."""
        return ", ".join(sorted({self.files[self.draw(index)[1]].name for index in indices}))


class Cut(NamedTuple):
    """Where a crop is cut from an image, and how it is changed.

    Parameters
    ----------
    top, left, side : int
        The square of the image, pixels.
    mirrored : bool
    saturation : float
        Factor of the distance of each pixel from gray.
    """

    top: int
    left: int
    side: int
    mirrored: bool
    saturation: float


def draw_cut(shape: Sequence[int], size: int, rng: np.random.Generator) -> Cut:
    """Draw a crop of an image of some shape, with its own pixels or resampled from another size."""
    side = round(size * 1.5 ** rng.uniform(-1, 1)) if rng.integers(2) else size
    side = min(side, *shape[:2])
    top, left = _draw_corner(shape, side, rng)
    mirrored = bool(rng.integers(2))
    saturation = 1.0 if rng.integers(2) else 2 ** rng.uniform(-1, 1)
    return Cut(top, left, side, mirrored, saturation)


def cut(image: Pixels, size: int, where: Cut) -> Pixels:
    """Return a crop of shape (size, size, 3)."""
    crop = image[where.top : where.top + where.side, where.left : where.left + where.side]
    if where.side != size:
        crop = np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.LANCZOS))
    if where.mirrored:
        crop = crop[:, ::-1]
    if where.saturation != 1:
        crop = np.asarray(ImageEnhance.Color(Image.fromarray(crop)).enhance(where.saturation))
    return crop


def random_window(image: Pixels, side: int, rng: np.random.Generator) -> Pixels:
    """Return a square of the pixels of an image."""
    top, left = _draw_corner(image.shape, side, rng)
    return image[top : top + side, left : left + side]


def _draw_corner(shape: Sequence[int], side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Draw the corner of a square in an image of some shape."""
    top, left = (int(rng.integers(length - side + 1)) for length in shape[:2])
    return top, left

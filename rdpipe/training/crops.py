"""Crops of photographs to train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance
from torch.utils.data import Dataset

from rdpipe.datasets.image import read


class Crops(Dataset):
    """Random square crops, mirrored, zoomed and coloured at random; crop ``i`` is a pure function of
    (seed, i).

    Half of them are resampled, by up to 3/2 either way: other textures, and fewer artefacts of the
    JPEG files that most training sets are. Half have their saturation changed, by up to 2 either way:
    a hyperprior that has not seen saturated colours predicts means far out for them.

    Parameters
    ----------
    files : list of Path
        Training images, each at least ``size`` pixels on a side; of one below ``1.5 * size`` fewer crops are shrunk.
    size : int
        Side of a crop, pixels.
    seed : int
        Another seed gives another sequence.
    """

    def __init__(self, files: list[Path], size: int, seed: int):
        self.files, self.size, self.seed = files, size, seed
        self.decoded: dict[Path, np.ndarray] = {}

    def __getitem__(self, index: int) -> np.ndarray:
        rng, file = self._draw(index)
        if file not in self.decoded:
            self.decoded[file] = read(str(file))[0]
        crop = zoomed(self.decoded[file], self.size, rng)
        if rng.integers(2):
            crop = crop[:, ::-1]
        return np.ascontiguousarray(saturated(crop, rng).transpose(2, 0, 1))

    def _draw(self, index: int) -> tuple[np.random.Generator, Path]:
        rng = np.random.default_rng([self.seed, index])
        return rng, self.files[rng.integers(len(self.files))]

    def sources(self, indices) -> str:
        """Names of the files that some crops are from."""
        return ", ".join(sorted({self._draw(index)[1].name for index in indices}))


def zoomed(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A crop of ``size``, of pixels as they are or resampled from a smaller or larger one."""
    side = round(size * 1.5 ** rng.uniform(-1, 1)) if rng.integers(2) else size
    side = min(side, *image.shape[:2])
    top, left = (rng.integers(length - side + 1) for length in image.shape[:2])
    crop = image[top : top + side, left : left + side]
    if side != size:
        crop = np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.LANCZOS))
    return crop


def saturated(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The crop as it is, or with its distance from grey multiplied."""
    if rng.integers(2):
        return crop
    return np.asarray(ImageEnhance.Color(Image.fromarray(crop)).enhance(2 ** rng.uniform(-1, 1)))

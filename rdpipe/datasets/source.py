"""The images of a dataset, before they are read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rdpipe.datasets.formats import MAX_PIXELS


@dataclass(frozen=True)
class Source:
    """An image of a dataset.

    Parameters
    ----------
    name : str
        Unique in the dataset.
    file : str or path
        Path of the image file, or the description of a Gaussian field
        (:mod:`rdpipe.datasets.gaussian_field`).
    max_pixels : int
        Largest accepted number of pixels.
    """

    name: str
    file: str
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        object.__setattr__(self, "file", os.fspath(self.file))


class Sources(list[Source]):
    """The images of a dataset, and the files beside them that were left out.

    Parameters
    ----------
    images : iterable of Source
    other_files : mapping of str to int
        Number of files that were left out, by suffix.
    """

    def __init__(self, images: Iterable[Source], other_files: Mapping[str, int]):
        super().__init__(images)
        self.other_files = dict(other_files)

"""The images of a dataset, before they are read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """An image of a dataset.

    Parameters
    ----------
    name : str
        Unique in the dataset.
    file : str
        Path of the image file, or the description of a Gaussian field
        (:mod:`rdpipe.datasets.gaussian_field`).
    """

    name: str
    file: str

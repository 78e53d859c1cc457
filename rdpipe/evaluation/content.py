"""Content of each part of an image: smooth, texture or edge, and what is spent on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from rdpipe.core.metrics import pooled

CONTENT = ("smooth", "texture", "edges")
"""Classes of content."""
SMOOTH = 3.0
"""Root mean square of the gradient below which a square is smooth, 8-bit levels per pixel."""
COHERENT = 0.6
"""Coherence of the gradients of a square from which they belong to edges."""


def content_classes(image: NDArray[np.uint8], side: int) -> NDArray[np.intp]:
    """Return the class of content of each square of ``side`` pixels, an index in :data:`CONTENT`.

    It follows from the structure tensor, the mean of the outer products of the gradients in a
    square. Its trace is their mean square; a square with a small one is smooth. The difference of
    its eigenvalues over their sum is the coherence: 1 if all gradients are parallel, 0 if they have
    no direction. Squares with a large one have edges, or lines in one direction; all others have
    texture.

    Parameters
    ----------
    image : array of shape (height, width, channel)
        8-bit levels; the gradients are those of the mean over channels, smoothed by a Gaussian with
        a standard deviation of one pixel.
    side : int
        Squares at the border are cut.

    Returns
    -------
    array of shape (row, column)

    References
    ----------
    J. Bigun and G. H. Granlund, "Optimal orientation detection of linear symmetry", ICCV 1987.
    """
    gray = image.astype(np.float64).mean(2)
    down, across = (gaussian_filter(gray, 1, order) for order in ((1, 0), (0, 1)))
    rows, mixed, columns = (pooled(x, side) for x in (down * down, down * across, across * across))
    energy = rows + columns
    difference = np.hypot(rows - columns, 2 * mixed)
    classes = np.where(difference >= COHERENT * energy, CONTENT.index("edges"), 1)
    return np.where(energy < SMOOTH**2, CONTENT.index("smooth"), classes)


def content_sums(
    image: NDArray[Any], bits: NDArray[np.floating[Any]], mse: NDArray[np.floating[Any]], side: int
) -> dict[str, NDArray[np.float64]]:
    """Return pixels, bits and squared error of each class of content.

    Parameters
    ----------
    image : array of shape (height, width, channel)
        Of uint8; another image, such as a Gaussian field, is no photograph and has no classes: all
        sums are 0.
    bits : array of shape (cell, row, column)
        Of each square of ``side`` pixels; those in the padding belong to no class.
    mse : array of shape (row, column)
        Mean squared error of each square within the image, squared 8-bit levels.
    side : int
        Pixels.

    Returns
    -------
    dict
        ``content_pixels`` and ``content_error``, the sum of the squared errors (a mean over
        channels), of shape (class,), and ``content_bits`` of shape (cell, class).
    """
    height, width = image.shape[:2]
    area = np.outer(*(_sides(length, side) for length in (height, width)))
    if image.dtype == np.uint8:
        members = content_classes(image, side) == np.arange(len(CONTENT))[:, None, None]
    else:
        members = np.zeros((len(CONTENT), *area.shape), bool)
    within = bits[:, : area.shape[0], : area.shape[1]].astype(np.float64)
    return {
        "content_pixels": np.einsum("krc,rc->k", members, area),
        "content_error": np.einsum("krc,rc->k", members, area * mse),
        "content_bits": np.einsum("krc,nrc->nk", members, within),
    }


def _sides(length: int, side: int) -> NDArray[np.float64]:
    """Return the lengths of the parts of a side of an image; the last one may be cut."""
    starts = np.arange(0, length, side)
    return np.minimum(side, length - starts).astype(np.float64)
